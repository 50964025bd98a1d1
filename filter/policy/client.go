package policy

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Attribute is a line of a request. What would end the line, CR, LF and NUL, is
// left out of the value.
type Attribute struct{ Name, Value string }

// Dialer makes connections. [net.Dialer] fits.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Client asks a policy server. It may be used concurrently; its fields must
// not change then.
type Client struct {
	// Network and Address are where the server is: "tcp" and host:port, or
	// "unix" and a path. Network "" is "tcp".
	Network, Address string

	// Dialer connects. Nil: a net.Dialer.
	Dialer Dialer

	// Timeout is how long an answer may take, connecting included. 0: 10 s.
	Timeout time.Duration

	// MaxIdle is how many connections are kept for later questions. 0: 4;
	// negative: none.
	MaxIdle int

	mu     sync.Mutex
	idle   []*conn // the one used last at the end
	closed bool    // none is kept any more
}

const (
	defaultTimeout = 10 * time.Second
	defaultIdle    = 4
	maxAnswer      = 4096
	maxValue       = 2048
)

// Ask sends a request and returns the action of the answer: "DUNNO",
// "DEFER_IF_PERMIT try again" and the like. If a connection that was kept turns
// out to be closed the request is sent once more, on a new one.
func (c *Client) Ask(ctx context.Context, request []Attribute) (action string, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, defaultTimeout))
	defer cancel()
	text := format(request)
	for {
		conn, kept, err := c.take(ctx)
		if err != nil {
			return "", err
		}
		action, err := conn.ask(ctx, text)
		if err == nil {
			c.give(conn)
			return action, nil
		}
		conn.Close()
		if !kept || ctx.Err() != nil {
			return "", fmt.Errorf("policy: %s: %w", c.Address, cmp.Or(ctx.Err(), err))
		}
	}
}

// Close closes the connections that are kept, and keeps none any more. Who
// goes on asking is answered, on a connection that lasts for that question.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, conn := range c.idle {
		conn.Close()
	}
	c.idle = nil
	return nil
}

// take returns a connection, and whether it was kept from before.
func (c *Client) take(ctx context.Context) (_ *conn, kept bool, err error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return conn, true, nil
	}
	c.mu.Unlock()
	dialer := c.Dialer
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	nc, err := dialer.DialContext(ctx, cmp.Or(c.Network, "tcp"), c.Address)
	if err != nil {
		return nil, false, fmt.Errorf("policy: %w", err)
	}
	return &conn{nc, bufio.NewReaderSize(nc, maxAnswer)}, false, nil
}

// give keeps a connection for later.
func (c *Client) give(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= cmp.Or(c.MaxIdle, defaultIdle) {
		conn.Close()
		return
	}
	c.idle = append(c.idle, conn)
}

// conn is a connection to the server.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// ask sends a request and reads its answer. After an error the connection is of
// no use.
func (c *conn) ask(ctx context.Context, text string) (string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if c.r.Buffered() > 0 {
		return "", errors.New("server spoke without being asked")
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	return c.answer()
}

// answer reads lines up to an empty one.
func (c *conn) answer() (action string, err error) {
	found := false
	for total := 0; total < maxAnswer; {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return "", noEOF(err)
		}
		total += len(line)
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			if !found {
				return "", errors.New("answer without action")
			}
			return action, nil
		}
		if value, ok := strings.CutPrefix(text, "action="); ok && !found {
			action, found = strings.TrimSpace(value), true
		}
	}
	return "", errors.New("answer is too long")
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// format writes a request.
func format(request []Attribute) string {
	var b strings.Builder
	for _, a := range request {
		b.WriteString(a.Name)
		b.WriteByte('=')
		for _, c := range []byte(a.Value[:min(len(a.Value), maxValue)]) {
			if c != '\r' && c != '\n' && c != 0 {
				b.WriteByte(c)
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}
