package serve

import (
	"errors"
	"io"
	"runtime/debug"
	"time"
)

// run takes a connection from its preamble to its end.
func (s *Server) run(c *Conn) (err error) {
	defer s.untrack(c, false)
	defer c.end()
	defer func() {
		if p := recover(); p != nil {
			c.failed = true // half a reply is worse than none
			s.log.Error("panic in a session", "listener", s.Name, "session", c.ID(),
				"remote", c.remote.String(), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if err := s.preamble(c); err != nil {
		c.failed = true
		s.log.Info("connection refused", "listener", s.Name, "session", c.ID(),
			"remote", c.remote.String(), "err", err)
		return err
	}
	if err := s.admit(c); err != nil {
		s.tell(c, err)
		return err
	}
	if c.implicit {
		if err := c.handshake(s.TLSConfig); err != nil {
			s.log.Info("TLS handshake failed", "listener", s.Name, "session", c.ID(),
				"remote", c.remote.String(), "err", err)
			return err
		}
	}
	if !c.setHandshaking(false) {
		c.failed = true
		return ErrServerClosed
	}
	s.Handler(c.ctx, c)
	return nil
}

func (s *Server) preamble(c *Conn) error {
	if s.Preamble == nil {
		return nil
	}
	c.readUntil(deadline(c.timeouts.Handshake))
	return s.Preamble(c.ctx, c)
}

// refuse takes a connection that is over the total limit to its end.
func (s *Server) refuse(c *Conn, why error) {
	defer s.untrack(c, true)
	defer c.end()
	s.tell(c, why)
}

// tell logs why a connection is refused, and lets the protocol tell the peer.
func (s *Server) tell(c *Conn, why error) {
	s.log.Info("connection refused", "listener", s.Name, "session", c.ID(),
		"remote", c.remote.String(), "err", why)
	if s.Refuse == nil || c.implicit {
		return
	}
	c.SetTimeouts(Timeouts{Idle: refusalTime, Body: refusalTime, Write: refusalTime})
	s.Refuse(c, why)
}

const (
	refusalTime = 5 * time.Second
	lingerTime  = 5 * time.Second
	lingerBytes = 1 << 20
)

// end sends what was written, and closes.
func (c *Conn) end() {
	c.Unwatch()
	if !c.failed && c.Flush() == nil && c.linger && !c.srv.isClosing() {
		c.drain()
	}
	c.cancel()
	c.nc.Close()
	c.reader.Release()
	c.releaseOutput()
}

// drain tells the peer that nothing follows, and drops what it still sends.
func (c *Conn) drain() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	c.raw.SetReadDeadline(deadline(lingerTime))
	_, err := io.CopyN(io.Discard, c.nc, lingerBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		c.srv.log.Debug("peer kept sending", "session", c.ID(), "err", err)
	}
}
