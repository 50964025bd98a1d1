package smtpdtest_test

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// This is what a test of a program that sends mail may look like.
func TestRecorderKeepsMessages(t *testing.T) {
	var mail smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &mail)

	c := server.Dial(t) // in place of the program
	c.StartTLS()
	c.Do("EHLO client.example.test", 250)
	if r := c.Mail("ann@example.org", "joe@example.test", "Subject: x\n\n.dot\n"); !strings.HasPrefix(r, "250") {
		t.Fatal(r)
	}

	all := mail.Messages()
	if len(all) != 1 || all[0].Body != "Subject: x\n\n.dot\n" || all[0].Envelope.Recipients[0].Path.String() != "joe@example.test" ||
		all[0].Envelope.Peer.Protocol != "ESMTPS" {
		t.Errorf("%+v", all)
	}
}

// submission is what a program under test makes.
func submission(r sqmail.Receiver) *smtpd.Server {
	return &smtpd.Server{HelloName: "mail.example.org", Receiver: r, StartTLS: smtpd.Required}
}

func TestServeOfYours(t *testing.T) {
	var mail smtpdtest.Recorder
	server := smtpdtest.Serve(t, submission(&mail))
	c := server.Connect(t)
	if r := c.Expect(220); r != "220 mail.example.org ESMTP" {
		t.Error(r)
	}
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<ann@example.org>", 530)
	c.StartTLS()
	c.Do("EHLO c", 250)
	c.Mail("ann@example.org", "joe@example.net", "\n")
	if n := len(mail.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestImplicitTLS(t *testing.T) {
	server := smtpdtest.NewTLSServer(t, nil)
	c := server.Connect(t)
	c.Handshake()
	c.Expect(220)
}

func TestTalkPlaysDialogues(t *testing.T) {
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) { s.Greeting = "hello" })
	server.Talk(t, `
# a comment
S: 220 mx.example.test hello
C: EHLO c
S: 250-mx.example.test
S: 250...
C: STARTTLS
S: 220*
TLS
C: "EHLO c\r\nQUIT\r\n"
S: 250...
S: 221*
END
`)
}

// failure is a test that may fail without failing this one.
type failure struct {
	testing.TB
	failed bool
}

func (f *failure) Helper()               {}
func (f *failure) Cleanup(func())        {}
func (f *failure) Fatal(...any)          { f.failed = true; panic(f) }
func (f *failure) Fatalf(string, ...any) { f.failed = true; panic(f) }

func TestTalkFindsDifferences(t *testing.T) {
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{})
	for _, script := range []string{
		"S: 220 other.example.test ESMTP",
		"S: 220*\nC: NOOP\nS: 500...",
		"S: 220*\nC: NOOP\nEND",
		"S: 220*\nC: NOOP",
		"S: 220*\nC: EHLO c\nS: 250-mx.example.test",
		"S: 220*\nC: QUIT\nS: 221*\nS: 221*",
		"S: 220*\nX: what",
		"S: 220*\nC: \"no end",
	} {
		f := &failure{TB: t}
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(f) {
					panic(p)
				}
			}()
			server.Talk(f, script)
		}()
		if !f.failed {
			t.Errorf("no failure: %q", script)
		}
	}
}
