package gosmtp_test

import (
	"testing"

	"github.com/emersion/go-smtp"
)

// What becomes of a message that breaks off, the backend is told by the
// reader, and its answer does not count.
func TestMessageBrokenOff(t *testing.T) {
	var b backend
	server := start(t, &b, func(s *smtp.Server) { s.MaxMessageBytes = 5 })
	server.Talk(t, `S: 220*
C: EHLO c
S: 250...
C: MAIL FROM:<a@x.test>
C: RCPT TO:<b@x.test>
C: "BDAT 1\r\nxRSET\r\n"
S: 250*
S: 250*
S: 250*
S: 250 2.0.0 flushed
C: MAIL FROM:<a@x.test>
C: RCPT TO:<b@x.test>
C: DATA
S: 250*
S: 250*
S: 354*
C: far too long
C: .
S: 552 5.3.4*
`)
	server.Close()
	b.want(t, "begin c",
		"mail a@x.test  0 false   false false", "rcpt b@x.test []  ",
		`data "x" smtpd: client broke off the message`, "reset",
		"mail a@x.test  0 false   false false", "rcpt b@x.test []  ",
		`data "" SMTP error 552: Maximum message size exceeded`, "reset",
		"logout")
}
