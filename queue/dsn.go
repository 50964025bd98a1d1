package queue

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sqmail/sqmail"
)

const (
	maxReturnedHeader = 64 << 10
	maxField          = 900 // a line has up to 998 octets (RFC 5322, 2.1.1)
)

// dsn returns the report as RFC 3464 says: what happened in words, the same
// for programs, and the message or its header.
func (r *report) dsn() io.Reader {
	boundary, encoding := "=_"+rand.Text(), r.encoding()
	part := func(contentType string) string {
		return "\n--" + boundary + "\nContent-Type: " + contentType + "\n" + encoding + "\n"
	}
	paragraph := func(k int) string { return strings.ToValidUTF8(r.paragraph(k), "?") }
	status, full, header := "message/delivery-status", "message/rfc822", "text/rfc822-headers"
	if r.about.Envelope.SMTPUTF8 { // RFC 6533
		status, full, header = "message/global-delivery-status", "message/global", "message/global-headers"
	}
	returned, content := full, r.copy()
	if r.headersOnly() {
		returned, content = header, r.header()
	}
	return io.MultiReader(
		strings.NewReader(r.dsnHeader(boundary)+encoding+"\nThis is a report in MIME format.\n"+part("text/plain; charset=utf-8")+r.words()),
		&textReader{n: len(r.lines), text: paragraph},
		strings.NewReader(part(status)+r.perMessage()),
		&textReader{n: len(r.lines), text: r.perRecipient},
		strings.NewReader(part(returned)),
		content,
		strings.NewReader("\n--"+boundary+"--\n"),
	)
}

// headersOnly says whether only the header is returned: if the sender said so,
// and for all that is not a failure (RFC 3461, 4.3).
func (r *report) headersOnly() bool {
	return r.about.Envelope.Return == sqmail.ReturnHeaders || r.kind != failureReport && r.kind != doubleReport
}

// encoding is that of the report and of all its parts: none of them may be more
// than what the whole is (RFC 2045, 6.4).
func (r *report) encoding() string {
	if !r.eightBit() {
		return ""
	}
	return "Content-Transfer-Encoding: 8bit\n"
}

// eightBit says whether the report may hold more than ASCII: by the message, or
// by what hosts have said.
func (r *report) eightBit() bool {
	env := &r.about.Envelope
	if env.SMTPUTF8 || env.Body != sqmail.Body7Bit {
		return true
	}
	return slices.ContainsFunc(r.lines, func(l reportLine) bool {
		return !ascii(l.outcome.Text + l.outcome.Reply.Text + env.Recipients[l.recipient].Path.String())
	})
}

func (r *report) dsnHeader(boundary string) string {
	subjects := [...]string{"failure notice", "failure notice", "delivery notice", "delay notice"}
	return "Date: " + mailDate(r.now) + "\n" +
		"From: " + r.bounces.from() + "\n" +
		"To: " + headerPath(r.to) + "\n" +
		"Subject: " + subjects[r.kind] + "\n" +
		"Message-ID: <" + rand.Text() + "@" + oneLine(r.bounces.host()) + ">\n" +
		"Auto-Submitted: auto-replied\n" + // RFC 3834, 5
		"MIME-Version: 1.0\n" +
		"Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"" + boundary + "\"\n"
}

// words is the introduction for people.
func (r *report) words() string {
	text := greeting(r.bounces.host())
	switch r.kind {
	case doubleReport:
		text += introDouble
	case successReport:
		text += "Your message was delivered, or handed on, to the following addresses.\n"
	case delayReport:
		text += "I haven't been able to deliver your message to the following addresses yet.\n" +
			"I'll keep trying until " + mailDate(r.expiry) + "; you need not send it again.\n"
	default:
		text += "This is what became of your message to the following addresses.\n"
	}
	return text + "\n"
}

// perMessage is the first block of fields (RFC 3464, 2.2).
func (r *report) perMessage() string {
	text := ""
	if id := r.about.Envelope.EnvelopeID; id != "" {
		text = "Original-Envelope-Id: " + field(id) + "\n"
	}
	return text +
		"Reporting-MTA: dns; " + field(r.bounces.host()) + "\n" +
		"Arrival-Date: " + mailDate(r.about.Arrived) + "\n\n"
}

// perRecipient is a recipient's block of fields (RFC 3464, 2.3).
func (r *report) perRecipient(k int) string {
	l := &r.lines[k]
	o := l.outcome
	var b strings.Builder
	if original := r.about.Envelope.Recipients[l.recipient].Original; original != "" {
		kind, address, _ := strings.Cut(original, ";")
		fmt.Fprintf(&b, "Original-Recipient: %s\n", field(kind+";"+address))
	}
	routing := r.routing(l.recipient)
	final := routing.Display
	kind := "rfc822"
	if final.NeedsUTF8() || !ascii(final.Domain) {
		kind = "utf-8"
	}
	fmt.Fprintf(&b, "Final-Recipient: %s; %s\n", kind, field(headerPath(final)))
	fmt.Fprintf(&b, "Action: %s\nStatus: %s\n", l.action(routing.Route), l.enhanced())
	if o.Reply.Code != 0 {
		if o.Where != "" {
			fmt.Fprintf(&b, "Remote-MTA: dns; %s\n", field(hostOf(o.Where)))
		}
		fmt.Fprintf(&b, "Diagnostic-Code: smtp; %s\n", r.diagnostic(o.Reply))
	}
	if !l.at.IsZero() {
		fmt.Fprintf(&b, "Last-Attempt-Date: %s\n", mailDate(l.at))
	}
	if l.status == Pending {
		fmt.Fprintf(&b, "Will-Retry-Until: %s\n", mailDate(r.expiry))
	}
	return b.String() + "\n"
}

// diagnostic is what a host has said: in ASCII, but where RFC 6533 allows more.
func (r *report) diagnostic(reply sqmail.Reply) string {
	text := field(reply.String())
	if r.about.Envelope.SMTPUTF8 || ascii(text) {
		return text
	}
	return strings.Map(func(c rune) rune {
		if c >= utf8.RuneSelf {
			return '?'
		}
		return c
	}, text)
}

// action is what happened, in a word of RFC 3464, 2.3.3.
func (l *reportLine) action(route sqmail.Route) string {
	switch l.status {
	case Delivered:
		if route.Channel == sqmail.ChannelLocal || route.Relay.Protocol == "lmtp" {
			return "delivered"
		}
		return "relayed"
	case Failed:
		return "failed"
	}
	return "delayed"
}

// enhanced is the enhanced status code: the next hop's, if it agrees with what
// happened, else a general one.
func (l *reportLine) enhanced() sqmail.EnhancedCode {
	class, general := 2, sqmail.EnhancedCode{2, 0, 0}
	switch {
	case l.expired:
		return sqmail.EnhancedCode{4, 4, 7} // RFC 3463: delivery time expired
	case l.status == Failed:
		class, general = 5, sqmail.EnhancedCode{5, 0, 0}
	case l.status == Pending:
		class, general = 4, sqmail.EnhancedCode{4, 0, 0}
	}
	if e := l.outcome.Reply.Enhanced; e[0] == class {
		return e
	}
	return general
}

// field makes a text fit for a header field: one line, not too long.
func field(s string) string {
	s = strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(s)
	s = strings.ToValidUTF8(oneLine(s), "?")
	if len(s) > maxField {
		s = strings.ToValidUTF8(s[:maxField], "")
	}
	return s
}

// hostOf is the name at the beginning of what Outcome.Where holds.
func hostOf(where string) string {
	if i := strings.IndexAny(where, " [("); i > 0 {
		return where[:i]
	}
	return where
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// header reads the message's header, or the beginning of a long one.
func (r *report) header() io.Reader {
	limit := int64(maxReturnedHeader)
	if most := r.bounces.MaxBytes; most > 0 {
		limit = min(limit, most)
	}
	b, _ := io.ReadAll(io.NewSectionReader(r.content, 0, min(r.about.Size, limit)))
	if end := bytes.Index(b, []byte("\n\n")); end >= 0 {
		b = b[:end+1]
	}
	return bytes.NewReader(b)
}
