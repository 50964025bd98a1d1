package filter

import (
	"context"

	"github.com/sqmail/sqmail"
)

// ConnectionRule is the rule by which a client may connect or not: the one of a
// rules file that its address or name matches. Whoever chooses the Chain by
// that rule knows it before there is a Chain: see [ConnectionRule.Verdict]. In
// an explanation it stands first in the Chain.
type ConnectionRule struct {
	// Rule is the address in the rule, and where that stands. The zero Rule:
	// the client matches none.
	Rule Rule

	// Deny turns the client away.
	Deny bool
}

// Name returns "rules".
func (f *ConnectionRule) Name() string { return "rules" }

var noService = sqmail.Reply{
	Code: 554, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "no service for you here",
}

// Connect turns the client away, or tells of the rule.
func (f *ConnectionRule) Connect(_ context.Context, s *Session) (sqmail.Verdict, error) {
	return f.Verdict(s.Peer), nil
}

// Verdict is what the rule says of a client, for whoever does not get as far as
// asking a Chain. It is to be added to the client's Trace, and its Err, if it is
// not nil, is what the client is answered.
func (f *ConnectionRule) Verdict(peer *sqmail.Peer) sqmail.Verdict {
	v := sqmail.Verdict{Stage: sqmail.StageConnect, Filter: f.Name()}
	if v.File, v.Line = f.Rule.File, f.Rule.Line; v.File != "" {
		v.Rule, v.Input = f.Rule.Text, peer.Remote.Addr().String()
		if v.Rule == "" {
			v.Rule = "everybody"
		}
	}
	if f.Deny {
		v.Action, v.Reply = sqmail.ActionDrop, noService
	}
	return v
}
