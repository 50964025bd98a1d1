package mailtest

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/jhillyerd/enmime/v2"

	"github.com/sqmail/sqmail"
)

// Message is a message that was recorded. It is not to be changed.
type Message struct {
	// Envelope is what the transaction said. Its Peer tells who brought the
	// message: hello name, TLS, user; nil if that is not known.
	Envelope sqmail.Envelope

	// Data is the whole message, the header fields of the envelope first. Its
	// lines end in LF.
	Data []byte

	// Wire is what a [Peer] read from the connection, dots doubled, CRLF and
	// all, without the dot at the end. Nil elsewhere.
	Wire []byte

	// Time is when the message had arrived whole.
	Time time.Time
}

// To reports whether address is one of the recipients.
func (m *Message) To(address string) bool {
	return slices.ContainsFunc(m.Envelope.Recipients, func(r sqmail.Recipient) bool {
		return strings.EqualFold(r.Path.String(), address) || r.Path.Equal(sqmail.PathOf(address))
	})
}

// Header returns the value of the first header field with the name, in any
// case: unfolded, without blanks around it, encoded words decoded (RFC 2047).
// "" if there is none.
func (m *Message) Header(name string) string {
	values := m.HeaderValues(name)
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// HeaderValues returns the values of all header fields with the name, from
// top to bottom.
func (m *Message) HeaderValues(name string) []string {
	var values []string
	header, _ := m.split()
	for field := range fields(header) {
		before, value, found := strings.Cut(field, ":")
		if found && strings.EqualFold(strings.TrimRight(before, " \t"), name) {
			values = append(values, decode(strings.TrimSpace(value)))
		}
	}
	return values
}

// Body returns what stands behind the header, as it is.
func (m *Message) Body() string {
	_, body := m.split()
	return body
}

// Text returns the plain text of a message of any MIME structure, decoded. A
// message that has only HTML gives that as text. "" if it cannot be parsed.
func (m *Message) Text() string {
	if e := m.mime(); e != nil {
		return e.Text
	}
	return ""
}

// HTML returns the HTML part of the message, "" if there is none.
func (m *Message) HTML() string {
	if e := m.mime(); e != nil {
		return e.HTML
	}
	return ""
}

// Attachment returns the decoded content of the attachment, or of the part
// shown inline, with the file name; nil if there is none.
func (m *Message) Attachment(filename string) []byte {
	e := m.mime()
	if e == nil {
		return nil
	}
	for _, part := range slices.Concat(e.Attachments, e.Inlines, e.OtherParts) {
		if part.FileName == filename {
			return part.Content
		}
	}
	return nil
}

// String describes the message in a line, for failures of tests.
func (m *Message) String() string {
	var to []string
	for _, r := range m.Envelope.Recipients {
		to = append(to, "<"+r.Path.String()+">")
	}
	return fmt.Sprintf("from <%s> to %s, %q, %d octets", m.Envelope.ReversePath, strings.Join(to, " "), m.Header("Subject"), len(m.Data))
}

func (m *Message) mime() *enmime.Envelope {
	e, err := enmime.ReadEnvelope(bytes.NewReader(m.Data))
	if err != nil {
		return nil
	}
	return e
}

// split cuts the message at its first empty line.
func (m *Message) split() (header, body string) {
	s := string(m.Data)
	if strings.HasPrefix(s, "\n") {
		return "", s[1:]
	}
	header, body, _ = strings.Cut(s, "\n\n")
	return header, body
}

// fields yields the unfolded fields of a header.
func fields(header string) func(func(string) bool) {
	return func(yield func(string) bool) {
		var field strings.Builder
		for line := range strings.SplitSeq(header, "\n") {
			if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") && field.Len() > 0 {
				if !yield(field.String()) {
					return
				}
				field.Reset()
			}
			field.WriteString(line)
		}
		if field.Len() > 0 {
			yield(field.String())
		}
	}
}

func decode(value string) string {
	var words mime.WordDecoder
	if decoded, err := words.DecodeHeader(value); err == nil {
		return decoded
	}
	return value
}

// cloneEnvelope copies what a Receiver may not keep.
func cloneEnvelope(env *sqmail.Envelope) sqmail.Envelope {
	c := *env
	c.Recipients = slices.Clone(env.Recipients)
	c.Header = bytes.Clone(env.Header)
	c.Verdicts = slices.Clone(env.Verdicts)
	if env.Peer != nil {
		peer := *env.Peer
		c.Peer = &peer
	}
	return c
}
