package wire

import "bytes"

// decoder turns CRLF into LF, and, if dots is set, removes dot-stuffing and
// finds the end of the body. It is a state machine that may be fed in pieces
// of any size; octets that it can not judge yet are in its state.
//
// A dot means something only at the start of a line that a clean CRLF has
// begun, one whose CR is not preceded by another CR. A line that a bare LF, a
// bare CR or CR CR LF began has no such start.
type decoder struct {
	bare  Policy
	dots  bool
	state state
	err   error // ErrBareLF, ErrBareCR
}

type state uint8

const (
	lineStart state = iota // at the beginning, or after a clean CRLF
	inLine
	heldCR    // a CR that is not written yet
	heldCRs   // a CR after other CRs: an LF now is no clean line end
	heldDot   // a dot at lineStart
	heldDotCR // and a CR after it
	ended     // CRLF . CRLF was there
)

// decode reads from src and writes to dst until one of them is used up, or the
// body has ended, or a bare CR or LF is refused. It returns how much it wrote
// and read. dst may begin up to one octet before src in the same array, if
// dots is not set: writing never overtakes reading.
func (d *decoder) decode(dst, src []byte) (nd, ns int) {
	cr := -1 // the next CR in src, or its length
	for ns < len(src) && nd < len(dst) && d.state != ended && d.err == nil {
		if d.state > inLine {
			n, used := d.held(dst[nd:], src[ns])
			nd += n
			ns += used
			continue
		}
		if d.dots && d.state == lineStart && src[ns] == '.' {
			d.state = heldDot
			ns++
			continue
		}
		if cr < ns {
			cr = ns + indexOrEnd(src[ns:], '\r')
		}
		line := src[ns:cr]
		line = line[:indexOrEnd(line, '\n')]
		n := copy(dst[nd:], line)
		nd += n
		ns += n
		if n > 0 {
			d.state = inLine
		}
		if n < len(line) || nd == len(dst) || ns == len(src) {
			continue
		}
		if src[ns] == '\r' {
			if ns+1 < len(src) && src[ns+1] == '\n' { // the common case, at once
				dst[nd] = '\n'
				nd++
				ns += 2
				d.state = lineStart
				continue
			}
			d.state = heldCR
			ns++
			continue
		}
		nd += d.bareLF(dst[nd:])
		ns++
	}
	return nd, ns
}

// held does one step out of a state that holds octets back: it writes at most
// one octet, and says whether it took c.
func (d *decoder) held(dst []byte, c byte) (wrote, took int) {
	switch d.state {
	case heldDot:
		return d.afterDot(dst, c)
	case heldDotCR:
		if c == '\n' {
			d.state = ended
			return 0, 1
		}
		d.state = heldCR // no end: dot and CR are text, and c is not LF
		return d.write(dst, '.'), 0
	case heldCR:
		if c == '\n' {
			d.state = lineStart
			return d.write(dst, '\n'), 1
		}
	case heldCRs:
		if c == '\n' {
			d.state = inLine
			return d.write(dst, '\n'), 1
		}
	}
	return d.bareCR(dst, c)
}

// afterDot decides about a dot at the start of a line. It is dropped (RFC
// 5321, 4.5.2) unless the line is broken.
func (d *decoder) afterDot(dst []byte, c byte) (wrote, took int) {
	switch c {
	case '\r':
		d.state = heldDotCR
		return 0, 1
	case '\n':
		d.state = inLine
		return d.write(dst, '.'), 0
	}
	d.state = inLine
	return 0, 0
}

// bareCR settles a held CR that c, not an LF, follows.
func (d *decoder) bareCR(dst []byte, c byte) (wrote, took int) {
	if d.bare == Refuse {
		d.err = ErrBareCR
		return 0, 0
	}
	d.state = inLine
	if c == '\r' {
		d.state, took = heldCRs, 1
	}
	if d.bare == Pass {
		return d.write(dst, '\r'), took
	}
	if took == 1 {
		return 0, took // one break for the whole run, when it is over
	}
	return d.write(dst, '\n'), 0
}

func (d *decoder) bareLF(dst []byte) (wrote int) {
	if d.bare == Refuse {
		d.err = ErrBareLF
		return 0
	}
	d.state = inLine
	return d.write(dst, '\n')
}

func (d *decoder) write(dst []byte, c byte) int {
	dst[0] = c
	return 1
}

// finish writes what is still held at the end of input: at most one CR, since
// it is used without dots.
func (d *decoder) finish(dst []byte) int {
	if d.state != heldCR && d.state != heldCRs {
		return 0
	}
	n, _ := d.bareCR(dst, 0)
	return n
}

// indexOrEnd is the index of c in b, or the length of b.
func indexOrEnd(b []byte, c byte) int {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return i
	}
	return len(b)
}
