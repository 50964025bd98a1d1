package wire

import (
	"io"
	"strconv"
)

// Netstring reads the content of one netstring, <length> ":" <octets> ",", as
// it comes in. Read returns io.EOF at its end, when the comma has been seen;
// the octets behind it are then next to be read.
type Netstring struct {
	r     *Reader
	outer *Netstring // nil: not within another one
	left  int64
	err   error
}

// Netstring reads the head of a netstring of at most limit octets. At the end
// of input before its first octet it fails with io.EOF. A length is decimal
// digits without leading zeros; "0:," is the empty netstring.
//
// ErrNetstring and ErrNetstringTooLong mean that the session is over.
func (r *Reader) Netstring(limit int64) (*Netstring, error) {
	return newNetstring(r, nil, limit)
}

// Netstring reads the head of a netstring within n. It fails with io.EOF when
// n is at its end, and with ErrNetstring if the inner one would end outside.
func (n *Netstring) Netstring(limit int64) (*Netstring, error) {
	if n.left == 0 {
		return nil, n.end()
	}
	return newNetstring(n.r, n, limit)
}

// Left returns how many octets of the content are unread.
func (n *Netstring) Left() int64 { return n.left }

// Read reads up to len(p) octets of the content.
func (n *Netstring) Read(p []byte) (int, error) {
	if n.err != nil || len(p) == 0 {
		return 0, n.err
	}
	if n.left == 0 {
		return 0, n.end()
	}
	k, err := n.r.Read(p[:min(int64(len(p)), n.left)])
	n.take(int64(k))
	n.err = unexpected(err)
	if k > 0 {
		return k, nil
	}
	return 0, n.err
}

// Bytes reads the rest of the content whole.
func (n *Netstring) Bytes() ([]byte, error) {
	b := make([]byte, 0, min(n.left, lineSize)) // the length is only a promise
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		k, err := n.Read(b[len(b):min(int64(cap(b)), int64(len(b))+max(n.left, 1))])
		b = b[:len(b)+k]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Skip reads and drops the rest of the content, and the comma.
func (n *Netstring) Skip() error {
	if n.err != nil {
		return ignoreEOF(n.err)
	}
	left := n.left
	n.take(left)
	if n.err = n.r.Discard(left); n.err != nil {
		return n.err
	}
	return ignoreEOF(n.end())
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// maxDigits is what an int64 holds for certain.
const maxDigits = 18

func newNetstring(r *Reader, outer *Netstring, limit int64) (*Netstring, error) {
	size, digits := int64(0), 0
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil && digits == 0 && outer == nil:
			return nil, err
		case err != nil:
			return nil, unexpected(err)
		case !outer.take(1):
			return nil, r.fail(ErrNetstring)
		case c == ':' && digits > 0:
			if outer != nil && size >= outer.left { // its comma must be inside too
				return nil, r.fail(ErrNetstring)
			}
			return &Netstring{r: r, outer: outer, left: size}, nil
		case c < '0' || c > '9' || digits > 0 && size == 0:
			return nil, r.fail(ErrNetstring)
		}
		size = size*10 + int64(c-'0')
		digits++
		if size > limit || digits > maxDigits {
			return nil, r.fail(ErrNetstringTooLong)
		}
	}
}

// take counts k octets of the content as read, here and in all around. It
// fails, for nobody's content, if there are not as many.
func (n *Netstring) take(k int64) bool {
	for ; n != nil; n = n.outer {
		if k > n.left {
			return false
		}
		n.left -= k
	}
	return true
}

// end reads the comma. It returns io.EOF, or why there is none.
func (n *Netstring) end() error {
	if n.err != nil {
		return n.err
	}
	c, err := n.r.ReadByte()
	switch {
	case err != nil:
		n.err = unexpected(err)
	case c != ',' || !n.outer.take(1):
		n.err = n.r.fail(ErrNetstring)
	default:
		n.err = io.EOF
	}
	return n.err
}

// AppendNetstring appends text as a netstring to dst.
func AppendNetstring[T ~string | ~[]byte](dst []byte, text T) []byte {
	dst = AppendNetstringHead(dst, int64(len(text)))
	dst = append(dst, text...)
	return append(dst, ',')
}

// AppendNetstringHead appends length and colon of a netstring of size octets;
// the caller sends them and the comma.
func AppendNetstringHead(dst []byte, size int64) []byte {
	return append(strconv.AppendInt(dst, size, 10), ':')
}
