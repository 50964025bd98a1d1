package filter

import (
	"bytes"
	"context"
	"sync"

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
// Windows. Line ends and what else is not base64 do not count, as they do not for
// those who decode it (RFC 2045, 6.8); but what looks like a delimiter, a line
// that begins with "-", ends a part. Spec: filter.md, 10.
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
	c := newSignatureScanner(f.Text)
	c.mime = f
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
	c := newSignatureScanner(f.Text)
	c.loader, c.sieve = f, s.sieveOf(f, f.Types)
	return c, nil
}

// signatureScanner is a message's scanner for either kind.
type signatureScanner struct {
	mime   *BadMIMEType // one of the two
	loader *BadLoaderType

	start []byte // what the part begins with, up to a signature
	sieve *sieve // of the loader's signatures; nil: none
	tail  []byte // the end of the line so far, too short for a signature
	reply sqmail.Reply
	found Rule
	err   error

	lines   base64Lines
	reading [3]base64Reader   // of lines
	behind  *signatureScanner // whoever splits the message into lines for this one, too
}

// signatureScanners are those that have no message, with their buffers.
var signatureScanners = sync.Pool{New: func() any { return new(signatureScanner) }}

func newSignatureScanner(text string) *signatureScanner {
	c := signatureScanners.Get().(*signatureScanner)
	c.reply = badContent
	c.reply.Text = withText(c.reply.Text, text)
	c.lines.to = append(c.reading[:0], c)
	return c
}

// follow lets another scanner of the same message, which is shown each piece
// before this one, split it for both.
func (c *signatureScanner) follow(other *signatureScanner) {
	other.lines.to = append(other.lines.to, c)
	c.behind = other
}

// begin begins a part.
func (c *signatureScanner) begin() { c.start = c.start[:0] }

// text looks at a piece of a part.
func (c *signatureScanner) text(piece []byte, start bool) {
	if c.loader != nil {
		c.anywhere(piece, start)
		return
	}
	if c.mime.Types != nil && len(c.start) < mimeSignature {
		c.begins(piece)
	}
	if c.mime.Blanks && !c.decided() && (bytes.IndexByte(piece, ' ') >= 0 || bytes.IndexByte(piece, '\t') >= 0) {
		c.found.Text = "blank in base64"
	}
}

// begins looks for the signature that a part begins with.
func (c *signatureScanner) begins(piece []byte) {
	for _, b := range piece {
		if !isBase64[b] {
			continue
		}
		if c.start = append(c.start, b); len(c.start) == mimeSignature {
			c.look(c.mime.Types, c.start)
			return
		}
	}
}

// isBase64 is the alphabet of base64.
var isBase64 = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		is[c] = true
	}
	return is
}()

// anywhere looks for what may stand anywhere in a line.
func (c *signatureScanner) anywhere(piece []byte, start bool) {
	if start {
		c.tail = c.tail[:0]
	}
	window := append(c.tail, piece[:min(len(piece), loaderSignature-1)]...)
	if len(c.tail) > 0 {
		c.lookAfter(window) // what begins in the tail
	}
	c.lookAfter(piece)
	if len(piece) < loaderSignature {
		piece = window
	}
	c.tail = append(c.tail[:0], piece[max(0, len(piece)-loaderSignature+1):]...)
}

// lookAfter looks at what begins with the first character of the signatures
// anywhere in a text.
func (c *signatureScanner) lookAfter(text []byte) {
	for {
		i := bytes.IndexByte(text, c.loader.First)
		if i < 0 || i+loaderSignature > len(text) {
			return
		}
		if key := text[i : i+loaderSignature]; c.sieve == nil || c.sieve.has(key) {
			c.look(c.loader.Types, key)
		}
		text = text[i+1:]
	}
}

func (c *signatureScanner) look(db Database, key []byte) {
	if c.decided() {
		return
	}
	_, found, err := db.Get(key)
	if found && err == nil {
		c.found = ruleOf(db, key)
	}
	c.err = err
}

func (c *signatureScanner) decided() bool { return c.found.Text != "" || c.err != nil }

// Write looks at a piece of the message.
func (c *signatureScanner) Write(p []byte) (int, error) {
	alone := len(c.lines.to) == 1
	if c.behind == nil && !(alone && c.decided()) {
		c.lines.write(p)
	}
	if !alone {
		return len(p), nil // others need the lines; End has the error
	}
	return len(p), c.err
}

// End gives the verdict.
func (c *signatureScanner) End() (sqmail.Verdict, error) {
	if c.behind == nil {
		c.lines.end()
	}
	if c.found.Text == "" {
		return sqmail.Verdict{}, c.err
	}
	return sqmail.Verdict{Action: sqmail.ActionReject, Reply: c.reply, Rule: c.found.Text, File: c.found.File, Line: c.found.Line}, nil
}

// Close frees the scanner, with its buffers for the next message.
func (c *signatureScanner) Close() {
	line, encoding := c.lines.line, c.lines.encoding
	*c = signatureScanner{start: c.start[:0], tail: c.tail[:0], lines: base64Lines{line: line[:0], encoding: encoding[:0]}}
	signatureScanners.Put(c)
}
