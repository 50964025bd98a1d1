package gosmtp

import (
	"bytes"
	"errors"
	"io"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
)

// crlfReader gives a message whose lines end in LF the line ends of the wire.
type crlfReader struct {
	src  io.Reader
	buf  [4096]byte
	left []byte // of buf, not yet given
	cr   bool   // the CR before left's first octet, a LF, was given
	err  error
}

func newCRLFReader(src io.Reader) *crlfReader { return &crlfReader{src: src} }

func (r *crlfReader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.left) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		k, err := r.src.Read(r.buf[:])
		r.left, r.err = r.buf[:k], toBackend(err)
	}
	for n < len(p) && len(r.left) > 0 {
		n += r.give(p[n:])
	}
	return n, nil
}

// give copies the beginning of what is left: text up to a LF, a CR, or a LF.
func (r *crlfReader) give(p []byte) int {
	end := bytes.IndexByte(r.left, '\n')
	switch {
	case end == 0 && !r.cr:
		r.cr = true
		p[0] = '\r'
		return 1
	case end == 0:
		r.cr, end = false, 1
	case end < 0:
		end = len(r.left)
	}
	n := copy(p, r.left[:end])
	r.left = r.left[n:]
	return n
}

// toBackend is what a backend gets to know of an error of the message. The
// server remembers the error itself.
func toBackend(err error) error {
	e, ok := errors.AsType[*sqmail.Error](err)
	if ok && e != nil && e.Reply.Code == smtp.ErrDataTooLarge.Code {
		return smtp.ErrDataTooLarge
	}
	return err
}
