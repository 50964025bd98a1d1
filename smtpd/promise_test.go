package smtpd_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// failing fails at one stage with an error that nobody has classified.
type failing struct{ stage string }

var errUnclassified = errors.New("password of the database is 12345")

func (f failing) at(stage string) error {
	if f.stage == stage {
		return errUnclassified
	}
	return nil
}

func (f failing) BeginSession(context.Context, *sqmail.Peer) (smtpd.Policy, error) {
	return f, f.at("session")
}
func (f failing) CheckConnect(context.Context, *sqmail.Peer) error { return f.at("connect") }
func (f failing) CheckHello(context.Context, *sqmail.Peer) error   { return f.at("hello") }
func (f failing) CheckReversePath(context.Context, *sqmail.Peer, *sqmail.Envelope) error {
	return f.at("reverse-path")
}
func (f failing) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return f.at("recipient")
}
func (f failing) CheckData(context.Context, *sqmail.Peer, *sqmail.Envelope) error {
	return f.at("data")
}
func (f failing) FilterBody(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, body io.Reader) io.Reader {
	if f.stage == "body" {
		return io.MultiReader(body, failingReader{})
	}
	return body
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errUnclassified }

// TestUnknownErrorIsADeferral: wherever it comes from, an error that nobody
// classified is a 4yz, and its text is not for the client.
func TestUnknownErrorIsADeferral(t *testing.T) {
	steps := []struct{ stage, command string }{
		{"peer", ""}, {"session", ""}, {"connect", ""},
		{"hello", "EHLO c"}, {"verifier", "AUTH PLAIN AGpvZQBzZWNyZXQ="}, {"reverse-path", "MAIL FROM:<a@example.org>"},
		{"recipient", "RCPT TO:<b@example.test>"}, {"data", "DATA"}, {"body", "."}, {"receiver", "."},
	}
	for _, failed := range steps {
		t.Run(failed.stage, func(t *testing.T) {
			f := failing{failed.stage}
			server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) {
				s.Policy = f
				s.ForPeer = func(context.Context, *sqmail.Peer) (*smtpd.Server, error) { return nil, f.at("peer") }
				s.Verifier = auth.VerifierFunc(func(context.Context, *auth.Credentials) (auth.Identity, error) {
					return auth.Identity{}, f.at("verifier")
				})
				s.Receiver = sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
					if _, err := io.Copy(io.Discard, body); err != nil {
						return sqmail.Receipt{}, err
					}
					return sqmail.Receipt{}, f.at("receiver")
				})
			})
			c := server.Connect(t)
			r := c.Reply()
			for _, step := range steps {
				if step.command == "" {
					continue
				}
				if r[0] != '2' && r[0] != '3' {
					break
				}
				c.Send(step.command + "\r\n")
				r = c.Reply()
				if step.command == failed.command {
					break
				}
			}
			if r[0] != '4' || strings.Contains(r, "12345") {
				t.Errorf("the client hears %q", r)
			}
		})
	}
}

// endings are octets that are not CRLF . CRLF, but that some server takes for
// it. The first two rows of each group are the attacks known as smuggling.
var endings = []string{
	"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n",
	"\n.\r", "\r\n\x00.\r\n", "\r\r\n.\r\n", "\r\n.\r\r\n", "\n\n.\r\n", "\r\n.\x00\r\n",
}

// TestNoOtherEndOfMessage: none of them ends a message, or makes a command of
// what follows, whatever is said about bare LF.
func TestNoOtherEndOfMessage(t *testing.T) {
	const smuggled = "MAIL FROM:<x@evil.test>\r\nRCPT TO:<y@example.test>\r\nDATA\r\nsmuggled\r\n.\r\n"
	for _, bare := range []smtpd.BareLF{smtpd.RefuseBareLF, smtpd.RepairBareLF, smtpd.PassBareLF} {
		for _, ending := range endings {
			var r smtpdtest.Recorder
			server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) { s.BareLF = bare })
			c := server.Dial(t)
			c.Do("EHLO c", 250)
			c.Do("MAIL FROM:<a@example.org>", 250)
			c.Do("RCPT TO:<b@example.test>", 250)
			c.Do("DATA", 354)
			c.Send("text" + ending + smuggled)
			reply := c.Reply()
			if strings.HasPrefix(reply, "250") {
				c.Do("QUIT", 221) // one message, one reply
			}
			c.ExpectEnd()
			server.Close()
			for _, m := range r.Messages() {
				if m.Envelope.ReversePath.Domain != "example.org" || !strings.Contains(m.Body, "smuggled") {
					t.Errorf("%v %q: smuggled: %+v", bare, ending, m)
				}
			}
			if bare == smtpd.RefuseBareLF && strings.ContainsAny(strings.ReplaceAll(ending, "\r\n", ""), "\r\n") != strings.HasPrefix(reply, "550") {
				t.Errorf("%q: %s", ending, reply)
			}
		}
	}
}

// TestRepliesHaveUTF8OnlyWhereItIsAskedFor: in a transaction with SMTPUTF8 (RFC
// 6531, 3.7.4), and not in the next one.
func TestRepliesHaveUTF8OnlyWhereItIsAskedFor(t *testing.T) {
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) {
		s.Receiver = &smtpdtest.Recorder{}
		s.Policy = smtpd.PolicyFunc(func(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
			return reject(550, "unbekannte Empf\u00e4nger")
		})
	})
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	for _, test := range []struct{ params, want string }{
		{"", "550 5.7.1 unbekannte Empf??nger"},
		{" SMTPUTF8", "550 5.7.1 unbekannte Empf\u00e4nger"},
		{"", "550 5.7.1 unbekannte Empf??nger"},
	} {
		c.Do("MAIL FROM:<a@example.org>"+test.params, 250)
		if r := c.Do("RCPT TO:<b@example.test>", 550); r != test.want {
			t.Errorf("%q: %q, want %q", test.params, r, test.want)
		}
		c.Do("RSET", 250)
	}
}

// TestReceiverThatTakesTheRefusedIsTold: the log has who takes what the client
// hears to be refused, and will send again.
func TestReceiverThatTakesTheRefusedIsTold(t *testing.T) {
	for _, lmtp := range []bool{false, true} {
		var out lockedBuffer
		server := smtpdtest.NewServer(t, carelessReceiver, func(s *smtpd.Server) {
			s.LMTP, s.Log = lmtp, slog.New(rawHandler{out: &out})
		})
		c := server.Dial(t)
		c.Do(map[bool]string{false: "EHLO c", true: "LHLO c"}[lmtp], 250)
		c.Do("MAIL FROM:<a@example.org>", 250)
		c.Do("RCPT TO:<b@example.test>", 250)
		c.Do("DATA", 354)
		c.Send("text\n")
		c.Expect(550)
		c.ExpectEnd()
		server.Close()
		if n := strings.Count(out.b.String(), "receiver took a message that is refused"); n != 1 {
			t.Errorf("LMTP %v: told %d times:\n%s", lmtp, n, out.b.String())
		}
	}
}

// TestReplyBelongsToReceiver: the client hears 250 when the Receiver has said
// nil, and not before.
func TestReplyBelongsToReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begun(t, accepting(sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
			io.Copy(io.Discard, body)
			time.Sleep(time.Minute / 2)
			return sqmail.Receipt{}, nil
		})))
		start := time.Now()
		c.Do(".", 250)
		if took := time.Since(start); took != time.Minute/2 {
			t.Errorf("250 after %v", took)
		}
	})
}

// TestLostClientIsNoMessage: a message that is cut off is taken by nobody.
func TestLostClientIsNoMessage(t *testing.T) {
	got := make(chan error)
	server := smtpdtest.NewServer(t, sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		_, err := io.Copy(io.Discard, body)
		got <- err
		return sqmail.Receipt{}, nil
	}))
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.Do("RCPT TO:<b@example.test>", 250)
	c.Do("DATA", 354)
	c.Send("text\r\n.\r")
	c.Close()
	if err := <-got; err == nil {
		t.Error("the Receiver was told that the message is whole")
	}
}

// TestOnePanicHarmsNobodyElse.
func TestOnePanicHarmsNobodyElse(t *testing.T) {
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) {
		s.Policy = smtpd.PolicyFunc(func(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
			if to.Path.Local == "panic" {
				panic("a bug")
			}
			return nil
		})
	})
	other := server.Dial(t)
	other.Do("EHLO c", 250)
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.Do("RCPT TO:<panic@example.test>", 421)
	c.ExpectEnd()
	if r := other.Mail("a@example.org", "b@example.test", "text\n"); r[0] != '2' {
		t.Error(r)
	}
}
