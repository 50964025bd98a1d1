package filter

import (
	"context"

	"github.com/sqmail/sqmail"
)

// RelaySuffix is appended to each recipient of a relay client, so that another
// rule of routing applies to its mail. Spec: smtpd.md, 3.2, RELAYCLIENT.
type RelaySuffix string

// Name returns "relayclient".
func (RelaySuffix) Name() string { return "relayclient" }

// Recipient appends the suffix.
func (f RelaySuffix) Recipient(_ context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	if f == "" || !s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	input := to.Path.String()
	to.Path = sqmail.PathOf(to.Path.Unquoted() + string(f))
	return sqmail.Verdict{Rule: string(f), Input: input}, nil
}
