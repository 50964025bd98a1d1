package wire

import "io"

// DotReader reads a body that CRLF . CRLF ends, as after DATA: without its
// dot-stuffing, with LF for CRLF. Only these five octets end it, or dot and
// CRLF at its very beginning; no policy can change that.
//
// Errors are final: ErrBareLF and ErrBareCR under [Refuse], after which the
// caller answers and closes, since what follows may be read differently by
// the peer; io.ErrUnexpectedEOF; and those of the source.
type DotReader struct {
	r   *Reader
	dec decoder
	err error
}

// NewDotReader returns a reader of the body that starts at r's next octet. r
// stands behind the body once Read has returned io.EOF.
func NewDotReader(r *Reader, bare Policy) *DotReader {
	return &DotReader{r: r, dec: decoder{bare: bare, dots: true}}
}

// Read reads up to len(p) octets of the body.
func (d *DotReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, d.err
	}
	for d.err == nil {
		n, used := d.dec.decode(p, d.r.buf[d.r.r:d.r.w])
		d.r.r += used
		switch {
		case d.dec.state == ended:
			d.err = io.EOF
		case d.dec.err != nil:
			d.err = d.r.fail(d.dec.err) // nor may the rest be read as commands
		case n == 0:
			d.err = unexpected(d.r.more(lineSize))
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, d.err
}

// WriteTo writes the rest of the body to w in large pieces.
func (d *DotReader) WriteTo(w io.Writer) (int64, error) { return copyBulk(w, d) }

// copyBulk is io.Copy with a borrowed buffer.
func copyBulk(w io.Writer, r io.Reader) (total int64, err error) {
	buf := borrow(bulkSize)
	defer giveBack(buf)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			m, werr := w.Write(buf[:n])
			total += int64(m)
			if werr == nil && m < n {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
