package remote

import (
	"bytes"
	"io"
	"sync"

	"github.com/sqmail/sqmail"
)

// content is what must be known of a message before it is offered to a peer.
type content struct {
	wireSize    int64 // octets as transmitted, dot-stuffing apart (RFC 1870, 5)
	eightBit    bool  // some octet is not ASCII
	utf8Header  bool  // one in the header
	partialLine bool  // the last line has no end
}

// copyBuffers lends memory for reading messages.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// examine reads the message once.
func examine(m *sqmail.Message) (content, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	c := content{wireSize: m.Size}
	s := scan{content: &c, inHeader: true, emptyLine: true}
	for at := int64(0); at < m.Size; {
		chunk := (*buf)[:min(int64(len(*buf)), m.Size-at)]
		n, err := m.Content.ReadAt(chunk, at)
		if n < len(chunk) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return c, err
		}
		s.chunk(chunk)
		at += int64(n)
	}
	c.partialLine = m.Size > 0 && s.last != '\n' && s.last != '\r'
	return c, nil
}

// scan is the state between two chunks.
type scan struct {
	*content
	last      byte
	inHeader  bool
	emptyLine bool // in the header: nothing yet in this line
}

func (s *scan) chunk(b []byte) {
	// A line end is sent as CRLF whether it is LF, CRLF or CR.
	s.wireSize += int64(bytes.Count(b, []byte{'\n'}))
	if crs := bytes.Count(b, []byte{'\r'}); crs > 0 {
		s.wireSize += int64(crs - 2*bytes.Count(b, []byte("\r\n")))
	}
	if s.last == '\r' && b[0] == '\n' {
		s.wireSize -= 2
	}
	if s.inHeader {
		s.header(b)
	}
	s.eightBit = s.eightBit || !allASCII(b)
	s.last = b[len(b)-1]
}

func (s *scan) header(b []byte) {
	for _, c := range b {
		switch {
		case c == '\n' && s.emptyLine:
			s.inHeader = false
			return
		case c == '\n':
			s.emptyLine = true
		case c != '\r':
			s.emptyLine = false
			s.utf8Header = s.utf8Header || c >= 0x80
		}
	}
}

// allASCII is isASCII for long texts: without a branch for each octet.
func allASCII(b []byte) bool {
	var all byte
	for _, c := range b {
		all |= c
	}
	return all < 0x80
}
