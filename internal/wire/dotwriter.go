package wire

import (
	"errors"
	"io"
)

// ErrClosed is returned by a writer that has been closed.
var ErrClosed = errors.New("wire: writer closed")

// DotWriter writes a message as a dot-stuffed body with CRLF line ends. Its
// lines may come with LF, CRLF or CR; a bare CR is sent as CRLF, since no bare
// CR may be sent (RFC 5321, 2.3.8). Other octets go as they are.
//
// It writes to the underlying writer in pieces of up to 32 KiB, and nothing
// before there is so much or Close is called. Errors are final.
type DotWriter struct {
	w       io.Writer
	buf     []byte // borrowed
	n       int
	partial bool // within a line
	cr      bool // the last octet was a CR: an LF belongs to it
	err     error
}

// NewDotWriter returns a writer of one body. It holds borrowed memory until it
// is closed.
func NewDotWriter(w io.Writer) *DotWriter {
	return &DotWriter{w: w, buf: borrow(bulkSize)}
}

// Write writes p as part of the body.
func (d *DotWriter) Write(p []byte) (int, error) {
	total := len(p)
	cr := -1 // the next CR in p, or its length
	for at := 0; at < total && d.err == nil; {
		if d.cr && p[at] == '\n' {
			d.cr = false
			at++
			continue
		}
		d.cr = false
		if cr < at {
			cr = at + indexOrEnd(p[at:], '\r')
		}
		line := p[at:cr]
		line = line[:indexOrEnd(line, '\n')]
		d.text(line)
		if at += len(line); at < total {
			d.cr = p[at] == '\r'
			d.newline()
			at++
		}
	}
	if d.err != nil {
		return 0, d.err
	}
	return total, nil
}

// ReadFrom writes what r has as part of the body.
func (d *DotWriter) ReadFrom(r io.Reader) (int64, error) { return copyBulk(d, r) }

// Close completes the last line if its line end is missing, writes the final
// dot, and hands everything to the underlying writer, which it does not
// close. Whoever must not change a line without end looks at Partial before.
func (d *DotWriter) Close() error {
	if d.buf == nil {
		return d.err
	}
	if d.partial {
		d.newline()
	}
	d.put([]byte(".\r\n"))
	return d.release()
}

// Abort gives borrowed memory back, and leaves the body without its end: the
// connection must be closed then. It does nothing after Close.
func (d *DotWriter) Abort() {
	if d.buf != nil {
		d.n = 0
		d.release()
	}
}

// Partial reports whether what was written ends within a line.
func (d *DotWriter) Partial() bool { return d.partial }

// text adds octets of one line.
func (d *DotWriter) text(b []byte) {
	if len(b) == 0 {
		return
	}
	if !d.partial && b[0] == '.' {
		d.put(b[:1])
	}
	d.partial = true
	d.put(b)
}

func (d *DotWriter) newline() {
	d.put([]byte("\r\n"))
	d.partial = false
}

func (d *DotWriter) put(b []byte) {
	for d.err == nil {
		n := copy(d.buf[d.n:], b)
		d.n += n
		if b = b[n:]; len(b) == 0 {
			return
		}
		d.flush()
	}
}

func (d *DotWriter) flush() {
	if d.err != nil || d.n == 0 {
		return
	}
	_, d.err = d.w.Write(d.buf[:d.n])
	d.n = 0
}

// release flushes and gives the buffer back. It returns the error so far; from
// then on there is one in any case.
func (d *DotWriter) release() error {
	d.flush()
	giveBack(d.buf)
	d.buf = nil
	err := d.err
	if err == nil {
		d.err = ErrClosed
	}
	return err
}
