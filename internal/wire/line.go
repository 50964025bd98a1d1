package wire

import "bytes"

// ReadLine reads a line of at most limit octets, and returns it without its
// CRLF. limit is at most MaxLine.
//
// A line that is longer, or holds a bare CR or a NUL, is read to its end,
// dropped but for its first octets, which ReadLine returns with ErrLineTooLong,
// ErrBareCR or ErrNUL; the session can go on. At a bare LF it fails with ErrBareLF, and the session is over. At
// the end of input it fails with io.EOF, or, within a line, io.ErrUnexpectedEOF.
//
// A peer that never ends its line keeps ReadLine reading: the source needs a
// deadline for the line as a whole.
func (r *Reader) ReadLine(limit int) ([]byte, error) {
	limit = min(limit, MaxLine)
	seen, start := 0, []byte(nil) // octets of the line that hold no LF; its first ones, if some were dropped
	for {
		if i := bytes.IndexByte(r.buf[r.r+seen:r.w], '\n'); i >= 0 {
			return r.takeLine(seen+i, limit, start)
		}
		seen = r.Buffered()
		if seen > limit+1 {
			if start == nil {
				start = r.start[:copy(r.start[:], r.buf[r.r:r.w])]
			}
			r.r, seen = r.w-1, 1 // the last one may be the CR
		}
		if err := r.more(smallSize); err != nil {
			if seen > 0 {
				err = unexpected(err)
			}
			return nil, err
		}
	}
}

// takeLine takes the line whose LF is the n-th unread octet; start is not nil if
// these are only its last ones.
func (r *Reader) takeLine(n, limit int, start []byte) ([]byte, error) {
	line := r.buf[r.r : r.r+n]
	r.r += n + 1
	text, ok := bytes.CutSuffix(line, []byte("\r"))
	switch {
	case !ok:
		return nil, r.fail(ErrBareLF)
	case start != nil:
		return start, ErrLineTooLong
	}
	start = text[:min(len(text), firstOctets)]
	switch {
	case len(text) > limit:
		return start, ErrLineTooLong
	case bytes.IndexByte(text, '\r') >= 0:
		return start, ErrBareCR
	case bytes.IndexByte(text, 0) >= 0:
		return start, ErrNUL
	}
	return text, nil
}
