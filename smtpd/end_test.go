package smtpd_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// ends is a Policy that notes beginnings and ends.
type ends struct{ heard string }

func (e *ends) BeginSession(context.Context, *sqmail.Peer) (smtpd.Policy, error) {
	e.heard += "["
	return e, nil
}

func (e *ends) CheckReversePath(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope) error {
	e.heard += "("
	return rules{}.decide(env.ReversePath.Local)
}

func (e *ends) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return nil
}

func (e *ends) EndTransaction(*sqmail.Peer, *sqmail.Envelope) { e.heard += ")" }
func (e *ends) EndSession(*sqmail.Peer)                       { e.heard += "]" }

// TestEachBeginningHasItsEnd: once, however it comes.
func TestEachBeginningHasItsEnd(t *testing.T) {
	const message = "C: MAIL FROM:<a@example.org>\nS: 250*\nC: RCPT TO:<b@example.test>\nS: 250*\nC: DATA\nS: 354*\n"
	for _, test := range []struct{ name, script, want string }{
		{"quit", "", "[]"},
		{"message", message + "C: .\nS: 250*\n", "[()]"},
		{"RSET", "C: MAIL FROM:<a@example.org>\nS: 250*\nC: RSET\nS: 250*\nC: RSET\nS: 250*\n", "[()]"},
		{"hello", "C: MAIL FROM:<a@example.org>\nS: 250*\nC: HELO c\nS: 250*\n", "[()]"},
		{"refused", "C: MAIL FROM:<reject@example.org>\nS: 550*\nC: MAIL FROM:<a@example.org>\nS: 250*\n", "[()()]"},
		{"never begun", "C: MAIL FROM:<a>\nS: 501*\n", "[]"},
		{"STARTTLS", "C: MAIL FROM:<a@example.org>\nS: 250*\nC: STARTTLS\nS: 220*\nTLS\n", "[()]"},
		{"bare LF", message + "C: \"\\n\"\nS: 550*\nEND\n", "[()]"},
		{"broken chunks", "C: MAIL FROM:<a@example.org>\nS: 250*\nC: RCPT TO:<b@example.test>\nS: 250*\nC: \"BDAT 1\\r\\nxRSET\\r\\n\"\nS: 250*\nS: 250*\n", "[()]"},
		{"XCLIENT", "C: MAIL FROM:<a@example.org>\nS: 250*\nC: RSET\nS: 250*\nC: XCLIENT ADDR=192.0.2.7\nS: 220*\n", "[()][]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := new(ends)
			server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) {
				s.Policy, s.XCLIENTFrom = e, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			})
			server.Talk(t, "S: 220*\nC: EHLO c\nS: 250...\n"+test.script)
			server.Close()
			if e.heard != test.want {
				t.Errorf("%s, want %s", e.heard, test.want)
			}
		})
	}
}

// refusesSessions is ends, but lets nobody in.
type refusesSessions struct{ ends }

func (r *refusesSessions) BeginSession(context.Context, *sqmail.Peer) (smtpd.Policy, error) {
	return nil, reject(550, "no")
}

func TestSessionThatWasRefusedHasNoEnd(t *testing.T) {
	r := new(refusesSessions)
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) { s.Policy = r })
	server.Talk(t, "S: 554*\nEND\n")
	server.Close()
	if r.heard != "" {
		t.Error(r.heard)
	}
}
