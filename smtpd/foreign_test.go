package smtpd_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// TestForeignClient: a client that we did not write finds everything in order.
func TestForeignClient(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) { s.Verifier = users })
	for _, test := range []struct {
		name     string
		auth     sasl.Client
		protocol string
	}{
		{"no AUTH", nil, "ESMTPS"},
		{"PLAIN", sasl.NewPlainClient("", "joe", "secret"), "ESMTPSA"},
		{"LOGIN", sasl.NewLoginClient("joe", "secret"), "ESMTPSA"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := gosmtp.DialStartTLS(server.Addr, server.ClientTLS)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if test.auth != nil {
				if err := c.Auth(test.auth); err != nil {
					t.Fatal(err)
				}
			}
			message := "Subject: x\r\n\r\n.dot\r\n..\r\n" + strings.Repeat("line\r\n", 10_000)
			if err := c.SendMail("a@example.org", []string{"b@example.test", "c@example.test"}, strings.NewReader(message)); err != nil {
				t.Fatal(err)
			}
			if err := c.Quit(); err != nil {
				t.Error(err)
			}
			all := r.Messages()
			m := all[len(all)-1]
			if want := strings.ReplaceAll(message, "\r\n", "\n"); m.Body != want {
				t.Errorf("the message differs: %.80q", m.Body)
			}
			if len(m.Envelope.Recipients) != 2 || m.Envelope.Peer.Protocol != test.protocol || m.Envelope.Body != sqmail.Body8Bit {
				t.Errorf("%+v %+v", m.Envelope, m.Envelope.Peer)
			}
		})
	}
}

// TestForeignClientHearsReplies: codes and enhanced codes arrive as such.
func TestForeignClientHearsReplies(t *testing.T) {
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) { s.Policy, s.Verifier = rules{}, users })
	c, err := gosmtp.Dial(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := func(err error, code int, enhanced gosmtp.EnhancedCode) {
		t.Helper()
		e, ok := err.(*gosmtp.SMTPError)
		if !ok || e.Code != code || e.EnhancedCode != enhanced {
			t.Errorf("%#v, want %d %v", err, code, enhanced)
		}
	}
	want(c.Auth(sasl.NewPlainClient("", "ann", "x")), 454, gosmtp.EnhancedCode{4, 7, 0})
	want(c.Mail("reject@example.org", nil), 550, gosmtp.EnhancedCode{5, 7, 1})
	if err := c.Mail("a@example.org", &gosmtp.MailOptions{Size: 1 << 20, Body: gosmtp.Body8BitMIME, UTF8: true}); err != nil {
		t.Fatal(err)
	}
	want(c.Rcpt("vague@example.test", nil), 451, gosmtp.EnhancedCode{4, 3, 0})
	if err := c.Rcpt("b@example.test", &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifyNever}}); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write(bytes.Repeat([]byte("x\r\n"), 5000))
	w.Write([]byte("reject\r\n"))
	want(w.Close(), 550, gosmtp.EnhancedCode{5, 7, 1})
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
}

// TestForeignClientOverLMTP.
func TestForeignClientOverLMTP(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) { s.LMTP = true })
	c := gosmtp.NewClientLMTP(server.Connect(t))
	defer c.Close()
	if err := c.Mail("a@example.org", nil); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"b@example.test", "c@example.test"} {
		if err := c.Rcpt(to, nil); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("text\r\n"))
	replies, err := w.CloseWithLMTPResponse()
	if err != nil || len(replies) != 2 {
		t.Fatal(replies, err)
	}
	if m := r.Messages(); len(m) != 1 || m[0].Envelope.Peer.Protocol != "LMTP" {
		t.Errorf("%+v", m)
	}
}
