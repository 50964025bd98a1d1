package wire

import "io"

// Size returns how many octets r's text has with CRLF line ends, as DotWriter
// sends it but without dot-stuffing and final dot: what POP3 and the SIZE
// parameter call the size of a message (RFC 1939, 11; RFC 1870, 3).
func Size(r io.Reader) (int64, error) {
	var c sizeCounter
	_, err := copyBulk(&c, r)
	if c.partial {
		c.n += 2
	}
	return c.n, err
}

type sizeCounter struct {
	n       int64
	partial bool // within a line
	cr      bool // the last octet was a CR
}

func (c *sizeCounter) Write(p []byte) (int, error) {
	cr := -1
	for at := 0; at < len(p); {
		if cr < at {
			cr = at + indexOrEnd(p[at:], '\r')
		}
		line := p[at:cr]
		line = line[:indexOrEnd(line, '\n')]
		if len(line) > 0 {
			c.n += int64(len(line))
			c.partial, c.cr = true, false
		}
		if at += len(line); at == len(p) {
			break
		}
		if p[at] == '\r' || !c.cr {
			c.n += 2
		}
		c.cr = p[at] == '\r'
		c.partial = false
		at++
	}
	return len(p), nil
}
