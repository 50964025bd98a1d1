package milter

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// conn is a connection to a milter. It bounds what is read in answer to one
// command: go-milter bounds each packet, but not their number, and has no
// context.
type conn struct {
	net.Conn
	r    *bufio.Reader
	left int // of maxAnswer

	mu     sync.Mutex // held while a command is at work
	closed bool
}

// maxAnswer is how much a milter may say to one command, in octets.
const maxAnswer = 256 << 10

var (
	errLongAnswer = errors.New("milter: the answer is too long")
	errClosed     = errors.New("milter: the connection is closed")
)

// dial connects to the milter.
func (f *Filter) dial(ctx context.Context) (*conn, error) {
	dial, network := f.Dial, "tcp"
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if strings.HasPrefix(f.Address, "/") {
		network = "unix"
	}
	limited, cancel := context.WithTimeout(ctx, f.timeout())
	defer cancel()
	nc, err := dial(limited, network, f.Address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: nc, r: bufio.NewReader(nc)}, nil
}

func (f *Filter) timeout() time.Duration    { return cmp.Or(f.Timeout, 30*time.Second) }
func (f *Filter) endTimeout() time.Duration { return cmp.Or(f.EndTimeout, 5*time.Minute) }

// Dial returns c itself: it makes c a dialer of go-milter's.
func (c *conn) Dial(string, string) (net.Conn, error) { return c, nil }

// Read reads a part of an answer.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongAnswer
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// do has one command done, within timeout. After an error the connection is
// closed: nobody knows what would be read next.
func (c *conn) do(ctx context.Context, timeout time.Duration, command func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	c.left = maxAnswer
	c.Conn.SetDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, func() { c.Conn.Close() })
	err := command()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.closed = true
		c.Conn.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// lost reports whether the connection is closed.
func (c *conn) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// quit says good-bye, and closes the connection. It does not wait for
// an answer.
func (c *conn) quit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.Conn.SetDeadline(time.Now().Add(time.Second))
	c.Conn.Write([]byte{0, 0, 0, 1, 'Q'})
	c.Conn.Close()
}
