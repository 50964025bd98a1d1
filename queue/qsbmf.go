package queue

import (
	"io"
	"strings"

	"github.com/sqmail/sqmail"
)

// qsbmf returns the report in qmail's format, spec/queue.md §9.
func (r *report) qsbmf() io.Reader {
	intro, below := introFailed, "--- Below this line is a copy of the message.\n\n"
	if r.kind == doubleReport {
		intro, below = introDouble, "--- Below this line is the original bounce.\n\n"
	}
	head := "Date: " + mailDate(r.now) + "\n" +
		"From: " + r.bounces.from() + "\n" +
		"To: " + headerPath(r.to) + "\n" +
		"Subject: failure notice\n\n" +
		greeting(r.bounces.host()) + intro + "\n"
	below += "Return-Path: <" + headerPath(r.sender) + ">\n"
	return io.MultiReader(
		strings.NewReader(head),
		&textReader{n: len(r.lines), text: r.paragraph},
		strings.NewReader(below),
		r.returned(),
	)
}

func greeting(host string) string { return "Hi. This is the qmail-send program at " + host + ".\n" }

const (
	introFailed = "I'm afraid I wasn't able to deliver your message to the following addresses.\n" +
		"This is a permanent error; I've given up. Sorry it didn't work out.\n"
	introDouble = "I tried to deliver a bounce message to this address, but the bounce bounced!\n"
)

// paragraph reports one recipient: its address, and what was said of it.
func (r *report) paragraph(k int) string {
	l := &r.lines[k]
	to := strings.ReplaceAll(r.routing(l.recipient).Display.Unquoted(), "\n", "_")
	return "<" + printable(to) + ">:\n" + fillEmptyLines(printable(reason(l.outcome))) + "\n"
}

// fillEmptyLines keeps an empty line from ending the paragraph: a slash stands
// for its LF. The text ends in LF, and follows one.
func fillEmptyLines(text string) string {
	b := []byte(text)
	for i := range len(b) - 1 {
		if text[i] == '\n' && (i == 0 || text[i-1] == '\n') {
			b[i] = '/'
		}
	}
	return string(b)
}

// printable replaces control characters other than LF and TAB. What is not
// ASCII stays as it is.
func printable(s string) string {
	var b []byte
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			if b == nil {
				b = []byte(s)
			}
			b[i] = '_'
		}
	}
	if b == nil {
		return s
	}
	return string(b)
}

// headerPath writes a path into a header field or a Return-Path: quoted where
// it needs to be, and on one line.
func headerPath(p sqmail.Path) string {
	return oneLine(sqmail.PathOf(p.Unquoted()).String())
}

func oneLine(s string) string {
	return strings.NewReplacer("\r", "_", "\n", "_").Replace(printable(s))
}

// copy is the reported message, or as much of it as is to be returned.
func (r *report) copy() io.Reader {
	size, limit := r.about.Size, r.bounces.MaxBytes
	if limit <= 0 || size <= limit {
		return r.original(size)
	}
	return io.MultiReader(r.original(limit), strings.NewReader(restTruncated))
}

const restTruncated = "\n\n--- Rest of message truncated.\n"

// returned is the header alone, if the sender wants that (RFC 3461, 4.3).
func (r *report) returned() io.Reader {
	if r.about.Envelope.Return == sqmail.ReturnHeaders {
		return io.MultiReader(r.header(), strings.NewReader(restTruncated))
	}
	return r.copy()
}

// original reads the message; where it cannot be read, a line in its place
// says so: a damaged message must not keep its own bounce from going out.
func (r *report) original(n int64) io.Reader {
	return &copyReader{from: io.NewSectionReader(r.content, 0, n)}
}

type copyReader struct {
	from io.Reader
	rest string
	bad  bool
}

func (c *copyReader) Read(p []byte) (int, error) {
	if !c.bad {
		n, err := c.from.Read(p)
		if err == nil || err == io.EOF {
			return n, err
		}
		c.bad, c.rest = true, "\n\n--- Rest of message unreadable.\n"
		if n > 0 {
			return n, nil
		}
	}
	if c.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// textReader reads n texts, one after the other, made when they are needed.
type textReader struct {
	n    int
	text func(k int) string
	next int
	rest string
}

func (t *textReader) Read(p []byte) (int, error) {
	for t.rest == "" {
		if t.next == t.n {
			return 0, io.EOF
		}
		t.rest = t.text(t.next)
		t.next++
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}
