package mailtest

import (
	"context"
	"errors"
	"net"
	"time"
)

// line is a connection that can be slow, or break. It is used by one
// goroutine.
type line struct {
	net.Conn
	ctx    context.Context
	rate   int  // octets a second; 0: no limit
	breaks bool // when budget is used up
	budget int
}

var errBroken = errors.New("mailtest: connection dropped by its script")

func (l *line) dropAfter(n int) { l.breaks, l.budget = true, n }

func (l *line) Read(p []byte) (int, error) {
	p = p[:l.step(len(p))]
	if l.breaks {
		if l.budget <= 0 {
			l.drop()
			return 0, errBroken
		}
		p = p[:min(len(p), l.budget)]
	}
	n, err := l.Conn.Read(p)
	l.budget -= n
	if err == nil {
		err = l.wait(n)
	}
	return n, err
}

func (l *line) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		var n int
		n, err = l.Conn.Write(p[:l.step(len(p))])
		written += n
		p = p[n:]
		if err == nil {
			err = l.wait(n)
		}
	}
	return written, err
}

// step is how much is carried at once: a tenth of a second's worth.
func (l *line) step(n int) int {
	if l.rate > 0 {
		return min(n, max(1, l.rate/10))
	}
	return n
}

func (l *line) wait(n int) error {
	if l.rate <= 0 {
		return nil
	}
	return pause(l.ctx, time.Duration(n)*time.Second/time.Duration(l.rate), nil)
}

// CloseWrite lets the client read the end of the stream.
func (l *line) CloseWrite() error {
	if tcp, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return errors.ErrUnsupported
}

// drop resets the connection.
func (l *line) drop() {
	if tcp, ok := l.Conn.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
	l.Conn.Close()
}
