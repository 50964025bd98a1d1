package smtpd_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// tarpit waits at one stage, for an hour or until its context ends.
type tarpit struct {
	stage string
	ended chan error
}

func (p tarpit) at(ctx context.Context, stage string) error {
	if p.stage != stage {
		return nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Hour):
	}
	p.ended <- ctx.Err()
	return ctx.Err()
}

func (p tarpit) CheckConnect(ctx context.Context, _ *sqmail.Peer) error { return p.at(ctx, "connect") }
func (p tarpit) CheckHello(ctx context.Context, _ *sqmail.Peer) error   { return p.at(ctx, "EHLO c") }
func (p tarpit) CheckReversePath(ctx context.Context, _ *sqmail.Peer, _ *sqmail.Envelope) error {
	return p.at(ctx, "MAIL FROM:<a@example.org>")
}
func (p tarpit) CheckRecipient(ctx context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, _ *sqmail.Recipient) error {
	return p.at(ctx, "RCPT TO:<b@example.test>")
}
func (p tarpit) CheckData(ctx context.Context, _ *sqmail.Peer, _ *sqmail.Envelope) error {
	return p.at(ctx, "DATA")
}

func (p tarpit) Receive(ctx context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	if _, err := io.Copy(io.Discard, body); err != nil {
		return sqmail.Receipt{}, err
	}
	return sqmail.Receipt{}, p.at(ctx, ".")
}

func (p tarpit) Verify(ctx context.Context, c *auth.Credentials) (auth.Identity, error) {
	return auth.Identity{}, p.at(ctx, "AUTH PLAIN AGpvZQBzZWNyZXQ=")
}

func (p tarpit) server() *smtpd.Server {
	return &smtpd.Server{Policy: p, Receiver: p, Verifier: p, CleartextAuth: true}
}

var wholeSession = []string{
	"connect", "EHLO c", "AUTH PLAIN AGpvZQBzZWNyZXQ=", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.test>", "DATA", ".",
}

// TestContextEndsWhenTheClientLeaves: at every stage.
func TestContextEndsWhenTheClientLeaves(t *testing.T) {
	for _, stage := range wholeSession {
		t.Run(stage, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := tarpit{stage, make(chan error, 1)}
				c := inMemory(t, p.server())
				for _, command := range wholeSession {
					if command != "connect" {
						c.Send(command + "\r\n")
					}
					if command == stage {
						break
					}
					c.Reply()
				}
				begin := time.Now()
				time.Sleep(10 * time.Second)
				c.Close()
				if err := <-p.ended; err == nil || time.Since(begin) > 10*time.Second {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		})
	}
}

// TestPauseEndsWhenTheClientLeaves: nobody waits for a client that is gone.
func TestPauseEndsWhenTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smtpd.Server{Verifier: users, CleartextAuth: true, AuthFailureDelay: time.Hour}
		c := inMemory(t, server)
		c.Expect(220)
		c.Do("EHLO c", 250)
		c.Send("AUTH PLAIN AGpvZQB3cm9uZw==\r\n")
		begin := time.Now()
		time.Sleep(10 * time.Second)
		c.Close()
		server.Shutdown(t.Context())
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("the session ended after %v", took)
		}
	})
}

// TestCommandsDuringALongCheckAreRun: none is lost while the client is
// watched.
func TestCommandsDuringALongCheckAreRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r smtpdtest.Recorder
		server := accepting(&r)
		server.Policy = smtpd.PolicyFunc(func(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		c := inMemory(t, server)
		c.Expect(220)
		c.Do("EHLO c", 250)
		c.Do("MAIL FROM:<a@example.org>", 250)
		c.Send("RCPT TO:<b@example.test>\r\n")
		time.Sleep(2 * time.Second)
		go c.Send("RCPT TO:<c@example.test>\r\nDATA\r\n")
		c.Expect(250)
		c.Expect(250)
		c.Expect(354)
		c.Send("hello\r\n.\r\n")
		c.Expect(250)
		if m := r.Messages(); len(m) != 1 || len(m[0].Envelope.Recipients) != 2 {
			t.Errorf("%d messages", len(m))
		}
	})
}
