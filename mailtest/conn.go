package mailtest

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// conn is one end of a connection in memory. Besides net.Conn it has the
// CloseWrite and SetLinger of *net.TCPConn.
type conn struct {
	in, out       *stream
	local, remote net.Addr
	abort         atomic.Bool
}

// pipe returns the two ends of a connection.
func pipe(client, server net.Addr, link Link) (*conn, *conn) {
	limit := link.Buffer
	if limit <= 0 {
		limit = defaultBuffer
	}
	up, down := newStream(link.Latency, limit), newStream(link.Latency, limit)
	return &conn{in: down, out: up, local: client, remote: server},
		&conn{in: up, out: down, local: server, remote: client}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// Close lets the peer read what was written before; see SetLinger.
func (c *conn) Close() error {
	c.in.mu.Lock()
	again := c.in.reader.closed
	c.in.mu.Unlock()
	if again {
		return c.wrap("close", net.ErrClosed)
	}
	if c.abort.Load() { // first, so that nobody finds an end in order
		c.out.abort()
		c.in.abort()
	}
	c.out.closeWrite()
	c.in.closeRead()
	return nil
}

// CloseWrite shuts down the writing side: the peer reads io.EOF.
func (c *conn) CloseWrite() error {
	c.out.closeWrite()
	return nil
}

// SetLinger with 0 makes Close reset the connection: the peer loses what it
// has not read yet.
func (c *conn) SetLinger(sec int) error {
	c.abort.Store(sec == 0)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setDeadline(&c.in.reader, t))
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setDeadline(&c.out.writer, t))
}

func (c *conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
