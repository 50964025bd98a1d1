package remote

import (
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// mailCommand returns MAIL with the parameters that the peer takes.
func (t *transaction) mailCommand(b []byte) []byte {
	e, ext := &t.message.Envelope, &t.session.ext
	b = append(b, "MAIL FROM:<"...)
	b = append(b, t.address(e.ReversePath)...)
	b = append(b, '>')
	if ext.size {
		b = append(b, " SIZE="...)
		b = strconv.AppendInt(b, t.content.wireSize, 10)
	}
	if ext.eightBitMIME && t.content.eightBit {
		b = append(b, " BODY=8BITMIME"...)
	}
	if t.utf8 {
		b = append(b, " SMTPUTF8"...)
	}
	if e.RequireTLS && ext.requireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	if isMailbox(t.session.user) {
		b = appendXtext(append(b, " AUTH="...), t.session.user)
	}
	if ext.dsn && (e.Return == sqmail.ReturnFull || e.Return == sqmail.ReturnHeaders) {
		b = append(append(b, " RET="...), e.Return...)
	}
	if ext.dsn && e.EnvelopeID != "" {
		b = appendXtext(append(b, " ENVID="...), e.EnvelopeID)
	}
	return append(b, "\r\n"...)
}

// rcptCommand returns RCPT for one recipient.
func (t *transaction) rcptCommand(b []byte, to *sqmail.Recipient) []byte {
	b = append(b, "RCPT TO:<"...)
	b = append(b, t.address(to.Path)...)
	b = append(b, '>')
	if t.session.ext.dsn {
		b = appendNotify(b, to.Notify)
		if kind, address, found := strings.Cut(to.Original, ";"); found {
			b = appendXtext(append(b, " ORCPT="...), kind)
			b = appendXtext(append(b, ';'), address)
		}
	}
	return append(b, "\r\n"...)
}

// address returns a path as it is sent. The domain stays in U-labels only
// where SMTPUTF8 is in use.
func (t *transaction) address(p sqmail.Path) string {
	if !t.utf8 && !isASCII(p.Domain) {
		if domain, err := lookupName(p.Domain); err == nil {
			p.Domain = domain
		}
	}
	return p.String()
}

// isMailbox reports whether a user may stand behind AUTH=, which takes a mailbox
// (RFC 4954, 5); peers reject other names, and the message with them.
func isMailbox(user string) bool {
	p, err := sqmail.ParsePath(user)
	return err == nil && p.Domain != ""
}

// appendXtext encodes s as xtext (RFC 3461, 4).
func appendXtext(b []byte, s string) []byte {
	const hexDigits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			b = append(b, '+', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

var notifyWords = [...]struct {
	condition sqmail.Notify
	word      string
}{{sqmail.NotifySuccess, "SUCCESS"}, {sqmail.NotifyFailure, "FAILURE"}, {sqmail.NotifyDelay, "DELAY"}}

// appendNotify writes the parameter NOTIFY, if any is stored (RFC 3461, 4.1).
func appendNotify(b []byte, n sqmail.Notify) []byte {
	if n&sqmail.NotifyNever != 0 {
		return append(b, " NOTIFY=NEVER"...)
	}
	lead := " NOTIFY="
	for _, w := range notifyWords {
		if n&w.condition != 0 {
			b = append(append(b, lead...), w.word...)
			lead = ","
		}
	}
	return b
}

// doubleBounce is the reverse-path of a bounce of a bounce. It means "never
// answer" to qmail alone; to others only the null path does.
var doubleBounce = sqmail.PathOf("#@[]")

// sendable returns a path that SMTP can carry: quoted where it must be
// (RFC 5321, 4.1.2), with nothing in it that could end the command.
func sendable(p sqmail.Path) (sqmail.Path, bool) {
	if _, err := sqmail.ParsePath(p.String()); err == nil {
		return p, true
	}
	p = sqmail.PathOf(p.Unquoted())
	for _, c := range []byte(p.String()) {
		if c < ' ' || c == 0x7f {
			return p, false
		}
	}
	return p, !strings.ContainsAny(p.Domain, " <>") && len(p.String()) <= sqmail.MaxPath
}
