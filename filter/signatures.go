package filter

import (
	"bytes"
	"context"

	"github.com/sqmail/sqmail"
)

// The lengths of signatures.
const (
	mimeSignature   = 9
	loaderSignature = 5
)

var badContent = sqmail.Reply{
	Code: 554, Enhanced: sqmail.EnhancedCode{5, 3, 2},
	Text: "sorry, invalid message content",
}

// BadMIMEType refuses messages with a base64 part that begins with one of the
// nine characters in a database, such as "TVqQAAMAA" for programs of DOS and
// Windows. Spec: filter.md, 10.
type BadMIMEType struct {
	// Types holds the signatures. Nil: none.
	Types Database

	// Blanks refuses base64 text with blanks or tabs in it, too.
	Blanks bool

	// Strangers looks only at messages of those who are not relay clients.
	Strangers bool

	// Text is added to the reply.
	Text string
}

// Name returns "badmimetypes".
func (f *BadMIMEType) Name() string { return "badmimetypes" }

// Asks names the signatures: the message that they are looked for in is
// nowhere recorded.
func (f *BadMIMEType) Asks(s *Session) string {
	if f.Strangers && s.RelayClient() || f.Types == nil && !f.Blanks {
		return ""
	}
	return s.signaturesOf(f, f.Types) + map[bool]string{true: ", blanks"}[f.Blanks]
}

// Body returns a scanner for a message.
func (f *BadMIMEType) Body(_ context.Context, s *Session) (Scanner, error) {
	if f.Strangers && s.RelayClient() || f.Types == nil && !f.Blanks {
		return nil, nil
	}
	c := &signatureScanner{reply: badContent}
	c.reply.Text = withText(c.reply.Text, f.Text)
	c.lines.first = func(line []byte) {
		if f.Types != nil && len(line) >= mimeSignature {
			c.look(f.Types, line[:mimeSignature])
		}
	}
	c.lines.text = func(piece []byte, _ bool) {
		if f.Blanks && (bytes.IndexByte(piece, ' ') >= 0 || bytes.IndexByte(piece, '\t') >= 0) {
			c.found.Text = "blank in base64"
		}
	}
	return c, nil
}

// BadLoaderType refuses messages with one of the five characters in a database
// anywhere in a base64 part; all signatures begin with the same character. They
// are typical for programs that load others. Spec: filter.md, 11.
type BadLoaderType struct {
	// Types holds the signatures. Nil: none.
	Types Database

	// First is the character that the signatures begin with.
	First byte

	// Strangers looks only at messages of those who are not relay clients.
	Strangers bool

	// Text is added to the reply.
	Text string
}

// Name returns "badloadertypes".
func (f *BadLoaderType) Name() string { return "badloadertypes" }

// Asks names the signatures.
func (f *BadLoaderType) Asks(s *Session) string {
	if f.Strangers && s.RelayClient() || f.Types == nil {
		return ""
	}
	return s.signaturesOf(f, f.Types) + " " + string(f.First)
}

// Body returns a scanner for a message.
func (f *BadLoaderType) Body(_ context.Context, s *Session) (Scanner, error) {
	if f.Strangers && s.RelayClient() || f.Types == nil {
		return nil, nil
	}
	c := &signatureScanner{reply: badContent}
	c.reply.Text = withText(c.reply.Text, f.Text)
	var tail []byte // the end of the line so far, too short for a signature
	c.lines.first = func([]byte) {}
	c.lines.text = func(piece []byte, start bool) {
		if start {
			tail = tail[:0]
		}
		window := append(tail, piece[:min(len(piece), loaderSignature-1)]...)
		c.lookAfter(f.First, f.Types, window) // what begins in the tail
		c.lookAfter(f.First, f.Types, piece)
		if len(piece) < loaderSignature {
			piece = window
		}
		tail = append(tail[:0], piece[max(0, len(piece)-loaderSignature+1):]...)
	}
	return c, nil
}

// signatureScanner is a message's scanner for either kind.
type signatureScanner struct {
	lines base64Lines
	reply sqmail.Reply
	found Rule
	err   error
}

// lookAfter looks at what begins with a character anywhere in a text.
func (c *signatureScanner) lookAfter(first byte, db Database, text []byte) {
	for {
		i := bytes.IndexByte(text, first)
		if i < 0 || i+loaderSignature > len(text) {
			return
		}
		c.look(db, text[i:i+loaderSignature])
		text = text[i+1:]
	}
}

func (c *signatureScanner) look(db Database, key []byte) {
	if c.found.Text != "" || c.err != nil {
		return
	}
	_, found, err := db.Get(key)
	if found && err == nil {
		c.found = ruleOf(db, key)
	}
	c.err = err
}

// Write looks at a piece of the message.
func (c *signatureScanner) Write(p []byte) (int, error) {
	if c.found.Text == "" && c.err == nil {
		c.lines.write(p)
	}
	return len(p), c.err
}

// End gives the verdict.
func (c *signatureScanner) End() (sqmail.Verdict, error) {
	if c.found.Text == "" && c.err == nil {
		c.lines.end()
	}
	if c.found.Text == "" {
		return sqmail.Verdict{}, c.err
	}
	return sqmail.Verdict{Action: sqmail.ActionReject, Reply: c.reply, Rule: c.found.Text, File: c.found.File, Line: c.found.Line}, nil
}

// Close does nothing.
func (c *signatureScanner) Close() {}
