package smtpd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// stories keeps what is logged of transactions.
type stories struct {
	slog.Handler
	mu   sync.Mutex
	list []*sqmail.Trace
}

func (h *stories) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if t, ok := a.Value.Any().(*sqmail.Trace); ok && r.Message == "transaction" {
			h.list = append(h.list, t)
		}
		return true
	})
	return nil
}

// brief puts a story into a line: its end, and its steps.
func brief(t *sqmail.Trace) string {
	line := fmt.Sprintf("%s %d:", t.Outcome, t.Reply.Code)
	for _, s := range t.Steps {
		line += fmt.Sprintf(" %s=%d", s.Stage, s.Reply.Code)
		if v := s.Decided(); s.Refused() {
			line += fmt.Sprintf("(%s %s)", v.Filter, v.Action)
		}
	}
	return line
}

// storyPolicy refuses at the stage that it is told to.
type storyPolicy struct{ at string }

func (p storyPolicy) refuse(stage string) error {
	if stage != strings.TrimSuffix(p.at, "!") {
		return nil
	}
	return &sqmail.Error{Op: "test", Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 550, Text: "no"}, Close: strings.HasSuffix(p.at, "!"), Err: errors.New("cause")}
}
func (p storyPolicy) CheckConnect(context.Context, *sqmail.Peer) error { return p.refuse("connect") }
func (p storyPolicy) CheckHello(context.Context, *sqmail.Peer) error   { return p.refuse("hello") }
func (p storyPolicy) CheckReversePath(context.Context, *sqmail.Peer, *sqmail.Envelope) error {
	return p.refuse("reverse-path")
}
func (p storyPolicy) CheckRecipient(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
	if to.Path.Local == "good" {
		return nil
	}
	return p.refuse("recipient")
}
func (p storyPolicy) CheckData(context.Context, *sqmail.Peer, *sqmail.Envelope) error {
	return p.refuse("data")
}
func (p storyPolicy) FilterBody(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, body io.Reader) io.Reader {
	if err := p.refuse("body"); err != nil {
		return io.MultiReader(body, errReader{err})
	}
	return body
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestStories(t *testing.T) {
	const greeted = "connect=250 hello=250"
	mail := []string{"EHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "DATA", "hi\r\n."}
	for _, test := range []struct {
		name   string
		at     string // where the policy refuses
		server func(*smtpd.Server)
		say    []string
		want   []string
	}{
		{name: "accepted", say: mail, want: []string{"accepted 250: " + greeted + " reverse-path=250 recipient=250 data=250 body=250"}},
		{name: "two", say: slices.Concat(mail, mail[1:]), want: []string{
			"accepted 250: " + greeted + " reverse-path=250 recipient=250 data=250 body=250",
			"accepted 250: " + greeted + " reverse-path=250 recipient=250 data=250 body=250"}},
		{name: "connect", at: "connect", want: []string{"refused 554: connect=554(test reject)"}},
		{name: "hello", at: "hello", say: mail[:1], want: []string{"refused 550: connect=250 hello=550(test reject)"}},
		{name: "mail", at: "reverse-path", say: mail[:2], want: []string{"refused 550: " + greeted + " reverse-path=550(test reject)"}},
		{name: "all recipients", at: "recipient", say: mail[:3], want: []string{"refused 550: " + greeted + " reverse-path=250 recipient=550(test reject)"}},
		{name: "one recipient", at: "recipient", say: []string{mail[0], mail[1], mail[2], "RCPT TO:<good@y.test>", "DATA", "."},
			want: []string{"accepted 250: " + greeted + " reverse-path=250 recipient=550(test reject) recipient=250 data=250 body=250"}},
		{name: "dropped", at: "recipient!", say: mail[:3], want: []string{"dropped 550: " + greeted + " reverse-path=250 recipient=550(test drop)"}},
		{name: "data", at: "data", say: mail[:4], want: []string{"refused 550: " + greeted + " reverse-path=250 recipient=250 data=550(test reject)"}},
		{name: "body", at: "body", say: mail, want: []string{"refused 550: " + greeted + " reverse-path=250 recipient=250 data=250 body=550(test reject)"}},
		{name: "left", say: mail[:3], want: []string{"left 250: " + greeted + " reverse-path=250 recipient=250"}},
		{name: "left in the message", say: append(slices.Clone(mail[:4]), "hi"), want: []string{"left 250: " + greeted + " reverse-path=250 recipient=250 data=250"}},
		{name: "reset", say: []string{mail[0], mail[1], "RSET"}, want: []string{"left 250: " + greeted + " reverse-path=250"}},
		{name: "nothing begun", say: mail[:1]},
		{name: "TLS", say: mail[:2], server: func(s *smtpd.Server) { s.StartTLS = smtpd.Required },
			want: []string{"refused 530: " + greeted + " reverse-path=530(starttls reject)"}},
		{name: "AUTH", say: mail[:2], server: func(s *smtpd.Server) { s.Verifier, s.Authentication = users, smtpd.Required },
			want: []string{"refused 530: " + greeted + " reverse-path=530(auth reject)"}},
		{name: "announced size", say: []string{mail[0], "MAIL FROM:<> SIZE=99"}, server: func(s *smtpd.Server) { s.MaxMessageBytes = 9 },
			want: []string{"refused 552: " + greeted + " reverse-path=552(databytes reject)"}},
		{name: "size", say: append(slices.Clone(mail[:4]), "more than that\r\n."), server: func(s *smtpd.Server) { s.MaxMessageBytes = 9 },
			want: []string{"refused 552: " + greeted + " reverse-path=250 recipient=250 data=250 body=552(databytes reject)"}},
		{name: "recipients", say: []string{mail[0], mail[1], mail[2], mail[2]}, server: func(s *smtpd.Server) { s.MaxRecipients = 1 },
			want: []string{"left 452: " + greeted + " reverse-path=250 recipient=250 recipient=452(maxrecipients defer)"}},
		{name: "bare LF", say: append(slices.Clone(mail[:4]), "a\nb\r\n."),
			want: []string{"dropped 550: " + greeted + " reverse-path=250 recipient=250 data=250 body=550(smtpd drop)"}},
		{name: "receiver", say: mail, server: func(s *smtpd.Server) {
			s.Receiver = sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
				io.Copy(io.Discard, body)
				return sqmail.Receipt{}, errors.New("disk full")
			})
		}, want: []string{"refused 451: " + greeted + " reverse-path=250 recipient=250 data=250 body=250 end=451(receiver defer)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &stories{Handler: slog.DiscardHandler}
			server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) {
				s.Log, s.Policy = slog.New(&infoUp{log}), storyPolicy{test.at}
				if test.server != nil {
					test.server(s)
				}
			})
			c := server.Connect(t)
			c.Reply()
			for _, line := range test.say {
				c.Send(line + "\r\n")
				if line != "hi" {
					c.Reply()
				}
			}
			c.Close()
			server.Close()
			log.mu.Lock()
			defer log.mu.Unlock()
			var got []string
			for _, s := range log.list {
				got = append(got, brief(s))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			for _, s := range log.list {
				if strings.HasPrefix(test.at, "r") && s.Outcome != sqmail.EndedAccepted && s.Err != "cause" || test.name == "receiver" && s.Err != "disk full" {
					t.Errorf("cause %q", s.Err)
				}
			}
		})
	}
}

// infoUp is a handler that is enabled from LevelInfo on.
type infoUp struct{ *stories }

func (infoUp) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// A Policy that knows nothing of stories leaves its verdicts in the envelope.
func TestStoryFollowsTheEnvelope(t *testing.T) {
	log := &stories{Handler: slog.DiscardHandler}
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) {
		s.Log = slog.New(&infoUp{log})
		s.Policy = smtpd.PolicyFunc(func(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error {
			env.Verdicts = append(env.Verdicts, sqmail.Verdict{Stage: "recipient", Filter: "mine", Rule: to.Path.Local})
			return nil
		})
	})
	c := server.Dial(t)
	c.Do("EHLO c.test", 250)
	c.Do("MAIL FROM:<>", 250)
	c.Do("RCPT TO:<a@b.test>", 250)
	c.Do("RCPT TO:<c@b.test>", 250)
	c.Do("DATA", 354)
	c.Do(".", 250)
	server.Close()
	for i, want := range []string{"a", "c"} {
		if s := log.list[0].Steps[3+i]; len(s.Verdicts) != 1 || s.Verdicts[0].Rule != want {
			t.Errorf("%+v", s)
		}
	}
}

// Without a log there is nobody to tell.
func TestNoStoryWithoutLog(t *testing.T) {
	asked := false
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) {
		s.Policy = smtpd.PolicyFunc(func(_ context.Context, peer *sqmail.Peer, _ *sqmail.Envelope, _ *sqmail.Recipient) error {
			asked = peer.Trace == nil
			return nil
		})
	})
	c := server.Dial(t)
	c.Do("EHLO c.test", 250)
	c.Do("MAIL FROM:<>", 250)
	c.Do("RCPT TO:<a@b.test>", 250)
	if !asked {
		t.Error("somebody keeps a story that nobody reads")
	}
}
