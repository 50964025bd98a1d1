package wire

import "io"

// TextReader reads octets with CRLF line ends as octets with LF line ends. A
// CR at the very end is a bare CR.
type TextReader struct {
	src     io.Reader
	dec     decoder
	err     error
	one     [1]byte
	waiting bool // the octet in one is not decoded yet
	last    bool // the end of src is the end of the text
}

// NewTextReader returns a reader of src. Under [Pass] every CR that is not
// part of a CRLF is kept, and so is every LF: what QMTP asks for.
func NewTextReader(src io.Reader, bare Policy) *TextReader {
	return &TextReader{src: src, dec: decoder{bare: bare}, last: true}
}

// Read reads up to len(p) octets. Errors are final: those of the source, and
// ErrBareLF or ErrBareCR.
func (t *TextReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, t.err
	}
	for t.err == nil || t.waiting {
		if n := t.fill(p); n > 0 {
			return n, nil
		}
	}
	if t.err == io.EOF && t.last {
		if n := t.dec.finish(p); n > 0 {
			return n, nil
		}
		if t.dec.err != nil {
			t.err = t.dec.err
		}
	}
	return 0, t.err
}

// fill reads into p behind its first octet and decodes in place: a CR that is
// held from before may need that octet. So all that was read finds room,
// except when p has room for one octet only.
func (t *TextReader) fill(p []byte) int {
	if len(p) == 1 || t.waiting {
		return t.fillOne(p)
	}
	n, err := readSome(t.src, p[1:])
	t.err = err
	return t.decode(p, p[1:1+n])
}

// fillOne decodes one octet, which may have to wait for the next call.
func (t *TextReader) fillOne(p []byte) int {
	if !t.waiting {
		n, err := readSome(t.src, t.one[:])
		t.err = err
		if n == 0 {
			return 0
		}
	}
	t.waiting = false
	return t.decode(p[:1], t.one[:])
}

func (t *TextReader) decode(dst, src []byte) int {
	n, used := t.dec.decode(dst, src)
	t.waiting = used < len(src)
	if t.dec.err != nil {
		t.err, t.waiting = t.dec.err, false
	}
	return n
}
