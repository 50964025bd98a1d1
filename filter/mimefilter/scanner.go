package mimefilter

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/sqmail/sqmail"
)

// scanner walks the structure of one message, line by line.
type scanner struct {
	f   *Filter
	ctx context.Context

	open     []multipart // the multiparts that the present line lies in
	parts    int
	inHeader bool
	head     header // of the present part
	text     bool   // the present part is not in base64
	encoding string // of the present part
	depth    int    // of the present part

	enclosed *enclosed // the message that lies encoded in the present part; nil: none does
	layer    int       // how many such messages this one lies in

	line   []byte // the beginning of a line that is not complete
	length int    // of that line so far
	lines  int    // how many were looked at
	size   int64

	done    bool // decided
	verdict sqmail.Verdict
	err     error
	tags    strings.Builder
}

// multipart is one that has begun. It stays open until the one around it goes
// on: its parts may go on behind its end, for those who look at it so.
type multipart struct {
	boundary string
	depth    int
	digest   bool // its parts are messages, unless they say otherwise
}

// peek is how much of a body's line can decide anything.
const peek = 1024

// scanners are those that have no message, with their buffers.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

func newScanner(ctx context.Context, f *Filter) *scanner {
	m := scanners.Get().(*scanner)
	m.f, m.ctx = f, ctx
	m.begin(0)
	return m
}

// refuse decides against the message.
func (m *scanner) refuse(reply sqmail.Reply, rule string) {
	m.decide(sqmail.Verdict{Action: sqmail.ActionReject, Reply: reply, Rule: rule}, nil)
}

func (m *scanner) decide(v sqmail.Verdict, err error) {
	if m.done {
		return
	}
	if v.Action == sqmail.ActionTag {
		m.tags.WriteString(v.Header)
		return
	}
	if err == nil && v.Action < sqmail.ActionDefer {
		return
	}
	if m.f.Text != "" && v.Reply.Text != "" {
		v.Reply.Text += "; " + m.f.Text
	}
	m.done, m.verdict, m.err = true, v, err
	m.line = nil
}

// Write looks at a piece of the message.
func (m *scanner) Write(p []byte) (int, error) {
	n := len(p)
	m.size += int64(n)
	if m.f.MaxSize > 0 && m.size > m.f.MaxSize {
		m.refuse(tooLong, "longer than "+strconv.FormatInt(m.f.MaxSize, 10)+" octets")
	}
	for len(p) > 0 && !m.done {
		if p = m.skip(p); len(p) == 0 {
			break
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			m.piece(p)
			break
		}
		if m.length == 0 && !m.tooLong(end) {
			m.whole(p[:end])
		} else {
			m.piece(p[:end])
			m.endLine()
		}
		p = p[end+1:]
	}
	return n, nil
}

// skip returns what is behind those lines of a body that decide nothing.
func (m *scanner) skip(p []byte) []byte {
	if m.inHeader || m.length > 0 || m.f.MaxLine > 0 || m.enclosed != nil {
		return p
	}
	for len(p) > 0 && p[0] != '-' && !(m.text && p[0] == 'b') {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			break
		}
		p = p[end+1:]
	}
	return p
}

// piece keeps as much of a part of a line as can decide something.
func (m *scanner) piece(p []byte) {
	m.length += len(p)
	most := peek
	if m.inHeader {
		most = m.f.maxHeader()
	}
	if room := most - len(m.line); room > 0 {
		m.line = append(m.line, p[:min(room, len(p))]...)
	}
	m.tooLong(m.length)
}

// tooLong refuses lines that are longer than a limit.
func (m *scanner) tooLong(n int) bool {
	switch {
	case m.inHeader && m.head.size+n >= m.f.maxHeader():
		m.refuse(malformed, "header longer than "+strconv.Itoa(m.f.maxHeader())+" octets")
	case !m.inHeader && m.f.MaxLine > 0 && n > m.f.MaxLine:
		m.refuse(malformed, "line longer than "+strconv.Itoa(m.f.MaxLine)+" octets")
	}
	return m.done
}

func (m *scanner) endLine() {
	if !m.done {
		m.whole(m.line)
	}
	m.line, m.length = m.line[:0], 0
}

// whole looks at a line, or as much of it as was kept.
func (m *scanner) whole(line []byte) {
	m.lines++
	if len(m.open) > 0 && len(line) > 2 && line[0] == '-' && line[1] == '-' && m.delimiter(line) {
		return
	}
	if m.inHeader {
		m.headerLine(line)
	} else if m.enclosed != nil {
		m.enclosedLine(line)
	} else if m.text && bytes.HasPrefix(line, []byte("begin ")) {
		m.uuencoded(line)
	}
}

// delimiter reports whether a line is a delimiter of an open multipart, and if
// so goes on behind it. A delimiter is a line that begins with two hyphens and
// the boundary (RFC 2046, 5.1.1). If several do, the longest is meant, and of
// equals the innermost.
func (m *scanner) delimiter(line []byte) bool {
	found, longest := -1, 0
	for i, p := range m.open {
		if len(p.boundary) >= longest && len(line) >= 2+len(p.boundary) && string(line[2:2+len(p.boundary)]) == p.boundary {
			found, longest = i, len(p.boundary)
		}
	}
	if found < 0 {
		return false
	}
	if m.inHeader {
		m.endHeader() // it may open one more, but this line is not its own
	}
	m.endEnclosed()
	m.open = m.open[:found+1]
	m.inHeader, m.text = false, true
	if !bytes.HasPrefix(line[2+longest:], []byte("--")) {
		m.begin(m.open[found].depth + 1)
	}
	return true
}

// begin begins the header of a part.
func (m *scanner) begin(depth int) {
	m.parts++
	switch {
	case depth > m.f.maxDepth():
		m.refuse(malformed, "parts more than "+strconv.Itoa(m.f.maxDepth())+" deep")
	case m.parts > m.f.maxParts():
		m.refuse(malformed, "more than "+strconv.Itoa(m.f.maxParts())+" parts")
	}
	m.inHeader, m.depth = true, depth
	m.head.reset()
}

// headerLine looks at a line of a header.
func (m *scanner) headerLine(line []byte) {
	m.head.size += len(line) + 1
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		m.endHeader()
		return
	}
	if m.head.add(line); m.head.lines > m.f.maxFieldLines() {
		m.refuse(malformed, "field of more than "+strconv.Itoa(m.f.maxFieldLines())+" lines")
	}
}

// endHeader looks at the part whose header is complete, and goes on in it.
func (m *scanner) endHeader() {
	c, why := m.head.content()
	if why != "" {
		m.refuse(malformed, why)
		return
	}
	part := Part{
		Number: m.parts, Depth: m.depth,
		Type: c.types[0], Encoding: c.encoding, Disposition: c.disposition, Names: c.names,
	}
	m.inHeader = false
	if c.noType && len(m.open) > 0 && m.open[len(m.open)-1].digest && m.open[len(m.open)-1].depth == m.depth-1 {
		part.Type, c.types = "message/rfc822", append(c.types[:0], "message/rfc822")
	}
	m.decide(m.f.check(m.ctx, part, c.types))
	m.text, m.encoding = c.encoding != "base64", c.encoding
	switch {
	case m.done:
	case c.boundary != "" && c.has("multipart"):
		m.open = append(m.open, multipart{c.boundary, m.depth, c.has("multipart/digest")})
	case !c.has("message/rfc822") && !c.has("message/global"):
	case c.encodings:
		m.refuse(malformed, "two encodings of a message")
	case c.encoding == "base64" || c.encoding == "quoted-printable":
		m.enclose()
	default:
		m.begin(m.depth + 1)
	}
}

// uuencoded looks at a line that may begin a file in a text: begin 644 NAME.
func (m *scanner) uuencoded(line []byte) {
	mode, name, _ := strings.Cut(strings.TrimSuffix(string(line[len("begin "):]), "\r"), " ")
	if _, err := strconv.ParseUint(mode, 8, 16); err != nil || len(mode) < 3 || strings.TrimSpace(name) == "" {
		return
	}
	if m.parts++; m.parts > m.f.maxParts() {
		m.refuse(malformed, "more than "+strconv.Itoa(m.f.maxParts())+" parts")
		return
	}
	var r readings
	r.add(name)
	if r.why != "" {
		return // a sentence
	}
	const kind = "application/x-uuencode"
	m.decide(m.f.check(m.ctx, Part{Number: m.parts, Depth: m.depth + 1, Type: kind, Names: r.names}, []string{kind}))
}

// End gives the verdict.
func (m *scanner) End() (sqmail.Verdict, error) {
	if m.length > 0 {
		m.endLine()
	}
	if m.inHeader && !m.done {
		m.endHeader()
	}
	m.endEnclosed()
	if !m.done && m.tags.Len() > 0 {
		return sqmail.Verdict{Action: sqmail.ActionTag, Header: m.tags.String()}, nil
	}
	return m.verdict, m.err
}

// Close frees the scanner. It keeps buffers of usual size for the next message.
func (m *scanner) Close() {
	if m.enclosed != nil { // the message was broken off
		m.enclosed.inner.Close()
	}
	line, open, head := m.line, m.open, m.head
	if cap(line) > 4*peek || cap(open) > 16 || cap(head.value) > 4*peek {
		m.done, m.line = true, nil
		return
	}
	clear(open[:cap(open)])
	*m = scanner{line: line[:0], open: open[:0]}
	m.head.buffers = head.emptied()
	m.head.value = head.value[:0]
	scanners.Put(m)
}
