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

// Recipient appends the suffix. The verdict tells of every relay client, and why
// it is one.
func (f RelaySuffix) Recipient(_ context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	if !s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	v := sqmail.Verdict{Rule: s.relayedBy(), Input: to.Path.String()}
	if f != "" {
		to.Path = sqmail.PathOf(to.Path.Unquoted() + string(f))
		v.Rule += ", " + string(f)
	}
	return v, nil
}

// relayedBy says what makes a session a relay client.
func (s *Session) relayedBy() string {
	switch {
	case s.Peer.User != "":
		return "authenticated"
	case s.Relayed:
		return "RELAYCLIENT"
	}
	return "certificate"
}
