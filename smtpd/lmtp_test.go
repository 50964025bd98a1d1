package smtpd_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// mailboxes is an LMTPReceiver for whom recipients are full whose local-part
// says so.
type mailboxes struct{ smtpdtest.Recorder }

func (m *mailboxes) ReceiveEach(ctx context.Context, env *sqmail.Envelope, body io.Reader, outcome func(int, error)) (sqmail.Receipt, error) {
	for i, to := range env.Recipients {
		if strings.HasPrefix(to.Path.Local, "full") {
			outcome(i, nil)
			outcome(i, reject(552, "mailbox full"))
			outcome(i, nil) // told twice, the error counts
		}
	}
	receipt, err := m.Receive(ctx, env, body)
	if env.ReversePath.Local == "late" {
		err = reject(554, "too late")
	}
	return receipt, err
}

// dropsFirst is a Policy that takes the first of several recipients out of the
// envelope, and adds one if there is one only.
type dropsFirst struct{}

func (dropsFirst) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return nil
}

func (dropsFirst) CheckData(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope) error {
	if len(env.Recipients) > 1 {
		env.Recipients = env.Recipients[1:]
	} else {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf("full-copy@example.test")})
	}
	return nil
}

// TestRestHearsTheReceiversError: of whom it has told nothing.
func TestRestHearsTheReceiversError(t *testing.T) {
	server := smtpdtest.NewServer(t, &mailboxes{}, func(s *smtpd.Server) { s.LMTP = true })
	server.Talk(t, "S: 220*\nC: LHLO c\nS: 250...\nC: MAIL FROM:<late@example.org>\nS: 250*\n"+
		"C: RCPT TO:<full-b@example.test>\nS: 250*\nC: RCPT TO:<c@example.test>\nS: 250*\nC: DATA\nS: 354*\nC: .\n"+
		"S: 552 5.7.1 mailbox full\nS: 554 5.7.1 too late\n")
}

// TestEachRecipientHearsItsOwn: and nobody hears 250 for another. What becomes of
// recipients that the Policy adds is in the log alone.
func TestEachRecipientHearsItsOwn(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy smtpd.Policy
		to     string
		want   string // codes
		failed bool   // somebody, which the log must tell
	}{
		{"as accepted", smtpd.AcceptAll, "b full-c d", "250 552 250", true},
		{"all", smtpd.AcceptAll, "full-b full-c", "552 552", true},
		{"one taken out, nothing failed", dropsFirst{}, "b c", "250 250", false},
		{"one taken out, another failed", dropsFirst{}, "b full-c d", "552 552 552", true},
		{"one added, which failed", dropsFirst{}, "b", "250", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out lockedBuffer
			server := smtpdtest.NewServer(t, &mailboxes{}, func(s *smtpd.Server) {
				s.LMTP, s.Policy, s.Log = true, test.policy, slog.New(rawHandler{out: &out})
			})
			c := server.Dial(t)
			c.Do("LHLO c", 250)
			c.Do("MAIL FROM:<a@example.org>", 250)
			for to := range strings.FieldsSeq(test.to) {
				c.Do("RCPT TO:<"+to+"@example.test>", 250)
			}
			c.Do("DATA", 354)
			c.Send("text\r\n.\r\nNOOP\r\n")
			for code := range strings.FieldsSeq(test.want + " 250") {
				if reply := c.Reply(); !strings.HasPrefix(reply, code) {
					t.Errorf("%q, want %s", reply, code)
				}
			}
			server.Close()
			if failed := strings.Contains(out.b.String(), "full"); failed != test.failed {
				t.Errorf("a failure is told: %v\n%s", failed, out.b.String())
			}
		})
	}
}
