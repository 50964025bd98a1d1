package wire

import "io"

// Reader reads a peer's octets: lines with [Reader.ReadLine], bodies through
// [NewDotReader], [NewChunkReader] and [Reader.Netstring], or as they come.
// It never reads more from its source than it has room for, and asks the
// source for more only when what it has does not do.
//
// After an error of the source, or ErrBareLF, every method that reads fails
// with it for ever: a broken session can not go on by accident.
//
// A Reader is used by one goroutine. Slices that it returns are valid until
// the next call.
type Reader struct {
	src   io.Reader
	buf   []byte // small or borrowed; buf[r:w] is unread
	r, w  int
	full  bool              // the last read filled the buffer: more is waiting
	slow  bool              // the last read of a body brought little: a small buffer does
	err   error             // final
	start [firstOctets]byte // of a line that was too long
	small [smallSize]byte
}

// firstOctets is how much is kept of a line that is no command: enough to tell
// what it was meant to be.
const firstOctets = 8

// NewReader returns a Reader of src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Reset makes r read from src as if new: what is buffered is dropped, and so is
// the final error.
func (r *Reader) Reset(src io.Reader) {
	r.Release()
	r.src, r.full, r.slow, r.err = src, false, false, nil
}

// Release drops what is buffered and gives borrowed memory back. r can be
// used on; call it when the session is over.
func (r *Reader) Release() {
	r.use(nil)
	r.r, r.w = 0, 0
}

// Buffered returns how many octets have been read from the source but not by
// the caller: what a peer sent without waiting for a reply. TLS must not be
// started while it is not 0 (RFC 3207, 4.2; CVE-2011-0411).
func (r *Reader) Buffered() int { return r.w - r.r }

// Wait returns when at least one octet is buffered, without taking it: how a
// server hears a peer that talks before it is asked to. Its error is not
// final, so that a deadline may pass.
func (r *Reader) Wait() error {
	if r.err != nil {
		return r.err
	}
	if r.Buffered() > 0 {
		return nil
	}
	return r.read(smallSize)
}

// Read reads up to len(p) octets as they are.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.Buffered() == 0 && r.err == nil && len(p) >= lineSize {
		return r.readInto(p)
	}
	if r.Buffered() == 0 {
		if err := r.more(lineSize); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}

// ReadByte reads one octet.
func (r *Reader) ReadByte() (byte, error) {
	if r.Buffered() == 0 {
		if err := r.more(smallSize); err != nil {
			return 0, err
		}
	}
	c := r.buf[r.r]
	r.r++
	return c, nil
}

// Discard reads and drops n octets, as after a refused BDAT.
func (r *Reader) Discard(n int64) error {
	for n > 0 {
		if r.Buffered() == 0 {
			if err := r.more(lineSize); err != nil {
				return unexpected(err)
			}
		}
		k := int(min(n, int64(r.Buffered())))
		r.r += k
		n -= int64(k)
	}
	return nil
}

// littleRead is how much a read of a body brings if the peer is slow.
const littleRead = 64

// more adds at least one octet to the unread ones; its error is final. An
// empty buffer is changed for one of the size asked for, or, if the source has
// been filling it, for one of the next size.
func (r *Reader) more(size int) error {
	if r.err == nil {
		r.err = r.read(size)
	}
	return r.err
}

func (r *Reader) read(size int) error {
	isBody := size > smallSize
	switch {
	case r.full && !isBody:
		size = lineSize // a peer that sends many commands at a time gets no more
	case r.full:
		size = max(size, len(r.buf)+1)
	case r.slow:
		size = smallSize
	}
	switch {
	case r.r == r.w:
		r.r, r.w = 0, 0
		r.fit(size)
	case r.w == len(r.buf) && r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	case r.w == len(r.buf):
		r.grow()
	}
	n, err := readSome(r.src, r.buf[r.w:])
	r.w += n
	r.full = r.w == len(r.buf)
	r.slow = isBody && n <= littleRead
	if n > 0 && err != nil {
		r.err, err = err, nil // told when these octets have been read
	}
	return err
}

// readInto reads past the buffer, which is empty.
func (r *Reader) readInto(p []byte) (int, error) {
	n, err := readSome(r.src, p)
	r.err = err
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// fit takes the smallest buffer of at least size octets. The buffer is empty.
func (r *Reader) fit(size int) {
	switch {
	case size <= smallSize:
		r.use(r.small[:])
	case size <= lineSize && len(r.buf) == lineSize, size > lineSize && len(r.buf) == bulkSize:
	default:
		r.use(borrow(size))
	}
}

// grow moves the unread octets to a larger buffer. Callers never let more than
// MaxLine octets stay unread, so that there is one.
func (r *Reader) grow() {
	b := borrow(len(r.buf) + 1)
	copy(b, r.buf)
	r.use(b)
}

func (r *Reader) use(b []byte) {
	giveBack(r.buf)
	r.buf = b
}

// fail drops what is buffered, and makes err final.
func (r *Reader) fail(err error) error {
	r.r, r.err = r.w, err
	return err
}

// readSome reads at least one octet, or fails.
func readSome(src io.Reader, p []byte) (int, error) {
	for range 100 {
		if n, err := src.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// unexpected is err where the peer may not end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
