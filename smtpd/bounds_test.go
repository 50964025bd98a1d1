package smtpd_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// TestHopsHaveALimit: 99 fields are taken and 100 are not, our own one beside
// (smtpd.md, 5.2).
func TestHopsHaveALimit(t *testing.T) {
	server := smtpdtest.NewServer(t, new(smtpdtest.Recorder))
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	for hops, want := range map[int]string{99: "250 2.0.0", 100: "554 5.4.6"} {
		header := strings.Repeat("Received: x\n", hops-1) + "Delivered-To: x\n"
		if reply := c.Mail("a@example.org", "b@example.test", header+"\nReceived: in the body\n"); !strings.HasPrefix(reply, want) {
			t.Errorf("%d hops: %s", hops, reply)
		}
	}
}

// TestResponsesHaveALimit: one to a challenge may be longer than a command, but
// not longer than RFC 4954, 4, has it; the session goes on.
func TestResponsesHaveALimit(t *testing.T) {
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) { s.Verifier, s.AuthFailureDelay = users, -1 })
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	for octets, want := range map[int]string{12284: "501 5.5.2", 12288: "500 5.5.6"} { // CRLF beside; the first is malformed
		c.Do("AUTH PLAIN", 334)
		c.Send(strings.Repeat("A", octets) + "\r\n")
		if reply := c.Reply(); !strings.HasPrefix(reply, want) {
			t.Errorf("%d octets: %s", octets, reply)
		}
	}
	c.Do("AUTH PLAIN", 334)
	c.Do("AGpvZQBzZWNyZXQ=", 235)
}

// TestLineOfACertificate: a session that a certificate has authenticated says so
// (smtpd.md, 9.3).
func TestLineOfACertificate(t *testing.T) {
	var out bytes.Buffer
	server := smtpdtest.NewServer(t, new(smtpdtest.Recorder), func(s *smtpd.Server) {
		s.Certificate = func(*tls.ConnectionState) string { return "joe" }
		s.TLSConfig.ClientAuth, s.TLSConfig.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		s.TLSConfig.ClientCAs.AddCert(s.TLSConfig.Certificates[0].Leaf)
		s.Log = slog.New(smtpd.ClassicLog(&out, nil))
	})
	server.ClientTLS.Certificates = server.TLSConfig.Certificates // it signs itself
	c := server.Dial(t)
	c.StartTLS()
	c.Do("EHLO c", 250)
	c.Mail("a@example.org", "b@example.test", "\n")
	c.Do("QUIT", 221)
	server.Close()
	const want = "qmail-smtpd: pid 1 Accept::AUTH::cert P:ESMTPSA S:127.0.0.1:unknown H:c F:a@example.org T:b@example.test ?~ 'joe'\n"
	if out.String() != want {
		t.Errorf("%swant %s", out.String(), want)
	}
}
