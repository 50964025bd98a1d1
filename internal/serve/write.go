package serve

import (
	"sync"

	"github.com/sqmail/sqmail/internal/wire"
)

// output holds replies until they are sent.
type output [4 << 10]byte

var outputs = sync.Pool{New: func() any { return new(output) }}

// maxWrite is how much is written under one deadline.
const maxWrite = 32 << 10

// Write takes p for sending: with the next read that waits for the peer, with
// Flush, when the handler returns, or when there is too much to hold. Errors
// are final.
func (c *Conn) Write(p []byte) (int, error) {
	if c.outErr != nil {
		return 0, c.outErr
	}
	if c.outLen+len(p) > len(output{}) {
		if err := c.Flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > len(output{}) {
		return c.send(p)
	}
	if c.out == nil {
		c.out = outputs.Get().(*output)
	}
	c.outLen += copy(c.out[c.outLen:], p)
	return len(p), nil
}

// WriteString is Write for a string.
func (c *Conn) WriteString(s string) (int, error) { return c.Write([]byte(s)) }

// Flush sends what is written.
func (c *Conn) Flush() error {
	if c.outErr != nil || c.outLen == 0 {
		return c.outErr
	}
	_, err := c.send(c.out[:c.outLen])
	c.releaseOutput()
	return err
}

// send writes p in pieces that each have their own deadline, so that a long
// message may take its time, but not stand still.
func (c *Conn) send(p []byte) (sent int, err error) {
	for sent < len(p) {
		c.raw.SetWriteDeadline(deadline(c.timeouts.Write))
		n, err := c.nc.Write(p[sent:min(len(p), sent+maxWrite)])
		sent += n
		if err != nil {
			c.outErr = err
			c.cancel()
			return sent, err
		}
	}
	return sent, nil
}

func (c *Conn) releaseOutput() {
	if c.out != nil {
		outputs.Put(c.out)
	}
	c.out, c.outLen = nil, 0
}

// NewDotWriter returns a writer of a dot-stuffed body to the connection.
func (c *Conn) NewDotWriter() *wire.DotWriter { return wire.NewDotWriter(c) }
