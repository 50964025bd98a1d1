package policy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// Postgrey defers the recipients of strangers that a policy server wants to be
// deferred. It comes last, behind all filters that look at recipients. If the
// server cannot be asked, or does not say that it wants a delay, mail is let in;
// the log is told.
type Postgrey struct {
	// Client asks the server.
	Client *Client

	// Reject also rejects what the server rejects (REJECT, 5yz). Otherwise that
	// is let in: a greylist has no say in it.
	Reject bool

	// Text is added to the reply.
	Text string

	// Log gets what goes wrong. Nil: discarded.
	Log *slog.Logger
}

var _ filter.RecipientFilter = (*Postgrey)(nil)

// ParsePostgrey reads a value of POSTGREY, an address with an interface and a
// port as far as they are needed: "127.0.0.1", "fe80::1%eth0;60001". The port
// is 60000 if there is none.
func ParsePostgrey(value string) (address string, err error) {
	host, port, found := strings.Cut(value, ";")
	if !found {
		port = "60000"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "", fmt.Errorf("%.60q is no address", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%.20q is no port", port)
	}
	return net.JoinHostPort(addr.String(), port), nil
}

// Close closes the Client.
func (f *Postgrey) Close() error { return f.Client.Close() }

// Name returns "postgrey".
func (f *Postgrey) Name() string { return "postgrey" }

// Asks names the server, for strangers.
func (f *Postgrey) Asks(s *filter.Session) string {
	if s.RelayClient() || !s.Peer.Remote.Addr().IsValid() {
		return ""
	}
	return "the policy server " + f.Client.Address
}

// Recipient asks the server about a recipient; not in a dry run, for the server
// would remember.
func (f *Postgrey) Recipient(ctx context.Context, s *filter.Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	addr := s.Peer.Remote.Addr()
	if s.RelayClient() || !addr.IsValid() {
		return sqmail.Verdict{}, nil
	}
	if s.DryRun() {
		return filter.WouldAsk(f.Asks(s)), nil
	}
	action, err := f.Client.Ask(ctx, question(s, to.Path))
	switch {
	case ctx.Err() != nil:
		return sqmail.Verdict{}, ctx.Err()
	case err != nil:
		if f.Log != nil {
			f.Log.WarnContext(ctx, "greylisting is out of order", "session", s.Peer.Session, "err", err)
		}
		action = "out of order"
	}
	v := sqmail.Verdict{Rule: fmt.Sprintf("%.100q", action), Input: to.Path.Unquoted()}
	switch word, _, _ := strings.Cut(action, " "); {
	case defers(word):
		v.Action = sqmail.ActionDefer
		v.Reply = sqmail.Reply{Code: 450, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "greylisted, please try again later"}
	case f.Reject && (strings.EqualFold(word, "REJECT") || isCode(word, '5')):
		v.Action = sqmail.ActionReject
		v.Reply = sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "refused by policy"}
	}
	if f.Text != "" && v.Reply.Code != 0 {
		v.Reply.Text += "; " + f.Text
	}
	return v, nil
}

// question is the request about a recipient.
func question(s *filter.Session, to sqmail.Path) []Attribute {
	name := s.Peer.Name
	if name == "" {
		name = "unknown"
	}
	return []Attribute{
		{"request", "smtpd_access_policy"},
		{"protocol_state", "RCPT"},
		{"protocol_name", "ESMTP"},
		{"client_address", s.Peer.Remote.Addr().Unmap().WithZone("").String()},
		{"client_name", name},
		{"sender", s.Envelope.ReversePath.Unquoted()},
		{"recipient", to.Unquoted()},
	}
}

// defers reports whether an action is one that asks for another attempt.
func defers(word string) bool {
	switch strings.ToUpper(word) {
	case "DEFER", "DEFER_IF_PERMIT", "DEFER_IF_REJECT":
		return true
	}
	return isCode(word, '4')
}

// isCode reports whether a word is a reply code of a class.
func isCode(word string, class byte) bool {
	return len(word) == 3 && word[0] == class && strings.Trim(word, "0123456789") == ""
}
