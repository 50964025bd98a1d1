package mimefilter

import (
	"bytes"
	"strconv"
	"strings"
)

// enclosed is a message that lies encoded in another one. RFC 2046, 5.2.1 forbids
// that; but it is written, and read.
type enclosed struct {
	inner     *scanner
	qp        bool // quoted-printable; else base64
	decoder64      // of base64; out is what the present line is decoded to
}

// maxEnclosed is how many such may lie in one another: each of them decodes what
// the one around it has decoded.
const maxEnclosed = 4

// enclose begins a message that lies encoded in the present part.
func (m *scanner) enclose() {
	if m.layer == maxEnclosed {
		m.refuse(malformed, "encoded messages more than "+strconv.Itoa(maxEnclosed)+" deep")
		return
	}
	inner := scanners.Get().(*scanner)
	inner.f, inner.ctx, inner.layer, inner.parts = m.f, m.ctx, m.layer+1, m.parts
	m.enclosed = &enclosed{inner: inner, qp: m.encoding == "quoted-printable"}
	inner.begin(m.depth + 1)
	m.adopt(inner)
}

// adopt takes over what was decided about the enclosed message.
func (m *scanner) adopt(inner *scanner) {
	if inner.done && !m.done {
		m.done, m.verdict, m.err = true, inner.verdict, inner.err
		m.line = nil
	}
}

// enclosedLine shows a line of the part to the message in it.
func (m *scanner) enclosedLine(line []byte) {
	if max(len(line), m.length) > peek {
		m.refuse(malformed, "line of an encoded message longer than "+strconv.Itoa(peek)+" octets") // RFC 2045, 6.7 and 6.8: 76
		return
	}
	e := m.enclosed
	if e.out = e.out[:0]; e.qp {
		e.quoted(line)
	} else {
		e.decode(line)
	}
	e.inner.Write(e.out)
	m.adopt(e.inner)
}

// quoted decodes a line of quoted-printable (RFC 2045, 6.7).
func (e *enclosed) quoted(line []byte) {
	text, soft := strings.CutSuffix(string(bytes.TrimRight(line, " \t\r")), "=")
	e.out = append(e.out, escaped(text, '=')...)
	if !soft {
		e.out = append(e.out, '\n')
	}
}

// endEnclosed ends the enclosed message, if there is one.
func (m *scanner) endEnclosed() {
	e := m.enclosed
	if e == nil {
		return
	}
	m.enclosed = nil
	if !m.done {
		e.out = e.out[:0]
		e.end()
		e.inner.Write(e.out)
		e.inner.End()
		m.adopt(e.inner)
	}
	m.parts = e.inner.parts
	m.lines += e.inner.lines
	m.tags.WriteString(e.inner.tags.String())
	e.inner.Close()
}
