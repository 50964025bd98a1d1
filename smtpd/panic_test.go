package smtpd_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// bug is all that an embedder can be, and panics at one place.
type bug struct{ place string }

func (b bug) at(place string) error {
	if b.place == place {
		panic("a bug: " + place)
	}
	return nil
}

func (b bug) BeginSession(context.Context, *sqmail.Peer) (smtpd.Policy, error) {
	return b, b.at("session")
}
func (b bug) CheckConnect(context.Context, *sqmail.Peer) error { return b.at("connect") }
func (b bug) CheckHello(context.Context, *sqmail.Peer) error   { return b.at("hello") }
func (b bug) CheckReversePath(context.Context, *sqmail.Peer, *sqmail.Envelope) error {
	return b.at("reverse-path")
}
func (b bug) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return b.at("recipient")
}
func (b bug) CheckData(context.Context, *sqmail.Peer, *sqmail.Envelope) error { return b.at("data") }
func (b bug) FilterBody(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, body io.Reader) io.Reader {
	b.at("body")
	return bugReader{body, b}
}
func (b bug) EndTransaction(*sqmail.Peer, *sqmail.Envelope) { b.at("end of transaction") }
func (b bug) EndSession(*sqmail.Peer)                       { b.at("end of session") }
func (b bug) Verify(context.Context, *auth.Credentials) (auth.Identity, error) {
	return auth.Identity{Name: "joe"}, b.at("verifier")
}
func (b bug) Receive(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	b.at("receiver")
	if _, err := io.Copy(io.Discard, body); err != nil {
		return sqmail.Receipt{}, err
	}
	return sqmail.Receipt{}, b.at("receiver at the end")
}

type bugReader struct {
	io.Reader
	bug bug
}

func (r bugReader) Read(p []byte) (int, error) {
	r.bug.at("reader")
	return r.Reader.Read(p)
}

func (r bugReader) Close() error { return r.bug.at("close") }

// TestPanicAnywhereEndsOneSession: wherever it is, the client hears 421, the
// log the place, and the next client is served.
func TestPanicAnywhereEndsOneSession(t *testing.T) {
	for _, place := range []string{
		"peer", "session", "connect", "hello", "verifier", "reverse-path", "recipient", "data", "body", "reader",
		"receiver", "receiver at the end", "close", "end of transaction", "end of session",
	} {
		t.Run(place, func(t *testing.T) {
			var out lockedBuffer
			b := bug{place}
			server := smtpdtest.NewServer(t, b, func(s *smtpd.Server) {
				s.Policy, s.Verifier, s.Log = b, b, slog.New(rawHandler{out: &out})
				s.ForPeer = func(context.Context, *sqmail.Peer) (*smtpd.Server, error) { return nil, b.at("peer") }
			})
			for range 2 {
				c := server.Connect(t)
				heard := c.Reply()
				for _, command := range []string{"EHLO c", "AUTH PLAIN AGpvZQBzZWNyZXQ=", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.test>", "DATA", "text\r\n."} {
					if heard[0] == '4' {
						break
					}
					c.Send(command + "\r\n")
					heard = c.Reply()
				}
				if heard[0] != '4' { // it is yet to come
					c.Send("QUIT\r\n")
					for r := heard; r != ""; r = c.Reply() {
						heard = r
					}
				}
				if !strings.HasPrefix(heard, "421 4.3.0") {
					t.Errorf("the last that the client hears is %q", heard)
				}
				c.Close()
			}
			server.Close()
			if n := strings.Count(out.b.String(), "panic=a bug: "+place); n != 2 {
				t.Errorf("told %d times:\n%s", n, out.b.String())
			}
		})
	}
}
