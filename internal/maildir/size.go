package maildir

import "io"

// lineCounter counts the octets of a message and the line ends in it, as they
// are written to it.
type lineCounter struct {
	size int64 // octets
	bare int64 // LF without CR
	crlf int64 // LF behind CR
	last byte
}

// Write never fails.
func (c *lineCounter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' {
			if c.last == '\r' {
				c.crlf++
			} else {
				c.bare++
			}
		}
		c.last = b
	}
	c.size += int64(len(p))
	return len(p), nil
}

// wire returns the size of the message as it is sent: every line ends in CRLF,
// the last one too.
func (c *lineCounter) wire() int64 {
	n := c.size + c.bare
	if c.size > 0 && c.last != '\n' {
		n += 2
	}
	return n
}

// plain reports whether all programs agree on the wire size: every line ends
// in LF alone. Only then does it stand in a file's name.
func (c *lineCounter) plain() bool { return c.crlf == 0 && (c.size == 0 || c.last == '\n') }

// countWire reads r to its end and returns the size of what it would be on the
// wire.
func countWire(r io.Reader) (int64, error) {
	var c lineCounter
	_, err := io.CopyBuffer(struct{ io.Writer }{&c}, struct{ io.Reader }{r}, make([]byte, 32<<10))
	return c.wire(), err
}
