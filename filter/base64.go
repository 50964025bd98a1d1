package filter

import "bytes"

// base64Lines finds the base64 parts of a message as it streams by: what
// follows a Content-Transfer-Encoding of base64 and an empty line, until the
// next empty line or a line that begins with "-". It keeps the beginning of
// one line in memory. Whatever a lenient mail program may take for that encoding
// counts: comments, quotes, a field that is too long. Spec: filter.md, 10.
type base64Lines struct {
	to []base64Reader

	line     []byte // the beginning of a line that came in pieces
	long     bool   // what follows belongs to a line that did not fit
	encoding []byte
	field    bool // the last line was, or went on with, the encoding field
	armed    bool
	empty    bool // the last line was empty
	inBody   bool
}

// base64Reader is told of the base64 parts of a message.
type base64Reader interface {
	// begin is called at the beginning of a part.
	begin()

	// text is called with all lines of the parts, several at a time or in
	// pieces; start says that the piece begins a line.
	text(piece []byte, start bool)
}

func (b *base64Lines) begin() {
	for _, r := range b.to {
		r.begin()
	}
}

func (b *base64Lines) text(piece []byte, start bool) {
	for _, r := range b.to {
		r.text(piece, start)
	}
}

// maxBase64Line is as much of a line as can decide anything.
const maxBase64Line = 1024

func (b *base64Lines) write(p []byte) {
	for len(p) > 0 {
		if p = b.skip(p); len(p) == 0 {
			return
		}
		if n := b.linesOfPart(p); n > 0 {
			b.text(p[:n], true)
			p = p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n')
		piece := p
		if end >= 0 {
			piece, p = p[:end], p[end+1:]
		} else {
			p = nil
		}
		if end >= 0 && len(b.line) == 0 && !b.long && len(piece) <= maxBase64Line {
			b.whole(piece)
			continue
		}
		b.piece(piece)
		if end >= 0 {
			b.endLine()
		}
	}
}

// skip returns what is behind lines that decide nothing: as long as no field has
// been seen that arms, only such a field does.
func (b *base64Lines) skip(p []byte) []byte {
	if b.armed || b.field || len(b.line) > 0 || b.long {
		return p
	}
	for len(p) > 0 && p[0]|0x20 != 'c' {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			return p
		}
		p = p[end+1:]
	}
	return p
}

// linesOfPart returns how much of p is whole lines of the part that goes on with
// it. No signature has a LF in it, so that they need not be looked at one by one.
func (b *base64Lines) linesOfPart(p []byte) int {
	if !b.inBody || len(b.line) > 0 || b.long || p[0] == '\n' || p[0] == '-' {
		return 0
	}
	n := 0
	for {
		end := bytes.IndexByte(p[n:], '\n')
		if end < 0 {
			return n
		}
		if n += end + 1; n == len(p) || p[n] == '\n' || p[n] == '-' {
			return n
		}
	}
}

// end ends the message, whose last line may have no LF.
func (b *base64Lines) end() {
	if len(b.line) > 0 && !b.long {
		b.endLine()
	}
}

// piece takes a part of a line.
func (b *base64Lines) piece(p []byte) {
	if !b.long {
		n := min(len(p), maxBase64Line-len(b.line))
		b.line = append(b.line, p[:n]...)
		p = p[n:]
		if len(p) == 0 {
			return
		}
		b.long = true
		b.whole(b.line)
	}
	if b.inBody {
		b.text(p, false)
	}
}

// endLine ends a line.
func (b *base64Lines) endLine() {
	if !b.long {
		b.whole(b.line)
	}
	b.line, b.long = b.line[:0], false
}

// whole looks at a line, or at the beginning of a long one.
func (b *base64Lines) whole(line []byte) {
	if folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t'); b.field && !folded {
		b.endField()
	}
	switch {
	case len(line) == 0:
		b.empty, b.inBody = true, false
		return
	case line[0] == '-':
		b.armed, b.inBody = false, false
	case b.inBody:
		b.text(line, true)
	case b.armed && b.empty:
		b.inBody = true
		b.begin()
		b.text(line, true)
	default:
		b.header(line)
	}
	b.empty = false
}

// header looks for the field that arms.
func (b *base64Lines) header(line []byte) {
	if value, found := encodingValue(line); found {
		b.field, b.encoding = true, append(b.encoding[:0], value...)
	} else if b.field && len(b.encoding) <= maxEncoding {
		b.encoding = append(b.encoding, line...)
	}
}

// encodingValue returns the value of a Content-Transfer-Encoding. One whose colon
// is behind what there is memory for counts as too long.
func encodingValue(line []byte) (value []byte, found bool) {
	const name = "content-transfer-encoding"
	if len(line) < len(name) || line[0]|0x20 != 'c' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	rest := bytes.TrimLeft(line[len(name):], " \t")
	if len(rest) == 0 {
		return line, true
	}
	return rest[1:], rest[0] == ':'
}

// maxEncoding is the longest value that is not taken for base64 whatever it says:
// nobody means well who writes more.
const maxEncoding = 500

// endField ends the encoding field.
func (b *base64Lines) endField() {
	b.field = false
	b.armed = b.armed || len(b.encoding) > maxEncoding
	for rest := b.encoding; len(rest) > 0 && !b.armed; {
		word := rest
		if end := bytes.IndexAny(rest, " \t\r;()\""); end >= 0 {
			word, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		b.armed = bytes.EqualFold(word, []byte("base64"))
	}
}
