package filter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sqmail/sqmail"
)

// DeliverTo sends a copy of every message to further recipients (DELIVERTO of
// control.md, 7). They are added when the client is about to send the message,
// unless they are among its recipients already. Other filters do not see
// them, so it is for whoever sets them to know that mail for them is ours to
// deliver; see [ParseDeliverTo].
//
// The sender, who knows nothing of a copy, hears nothing of it either: it is
// asked for with NOTIFY=NEVER (RFC 3461, 4.1). The queue logs its failure.
type DeliverTo []sqmail.Path

var errNotOurs = errors.New("not in a domain of ours")

// ParseDeliverTo parses addresses that blanks separate. Each must be a path
// with a domain; its domain must be one that hosts takes mail for, unless hosts
// is nil. The error names the address.
func ParseDeliverTo(ctx context.Context, text string, hosts *RcptHosts) (DeliverTo, error) {
	var list DeliverTo
	for address := range strings.FieldsSeq(text) {
		path, err := sqmail.ParsePath(address)
		if err == nil && path.Domain == "" {
			err = sqmail.ErrPathNoDomain
		}
		if err == nil && hosts != nil {
			err = hosts.ours(ctx, path.Domain)
		}
		if err != nil {
			return nil, fmt.Errorf("%.100q: %w", address, err)
		}
		list = append(list, path)
	}
	return list, nil
}

// ours returns an error unless a domain is listed.
func (f *RcptHosts) ours(ctx context.Context, domain string) error {
	_, found, err := f.find(ctx, domain)
	if err == nil && !found {
		err = errNotOurs
	}
	return err
}

// Name returns "deliverto".
func (DeliverTo) Name() string { return "deliverto" }

// Data adds the recipients. It never refuses.
func (f DeliverTo) Data(_ context.Context, s *Session) (sqmail.Verdict, error) {
	var added []string
	for _, path := range f {
		if slices.ContainsFunc(s.Envelope.Recipients, func(r sqmail.Recipient) bool { return r.Path.Equal(path) }) {
			continue
		}
		s.Envelope.Recipients = append(s.Envelope.Recipients, sqmail.Recipient{Path: path, Notify: sqmail.NotifyNever})
		added = append(added, path.String())
	}
	return sqmail.Verdict{Rule: strings.Join(added, " ")}, nil
}
