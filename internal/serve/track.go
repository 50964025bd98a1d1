package serve

import (
	"context"
	"net"
)

// maxRefusing is how many connections are told at a time why they are
// refused; further ones are closed without a word.
const maxRefusing = 64

// track enters a connection. With an error the connection is to be refused, if
// there is one, or just closed.
func (s *Server) track(nc net.Conn, implicit bool) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, ErrServerClosed
	}
	full := s.limits.Total >= 0 && len(s.conns)-s.refusing >= s.limits.Total
	if full && (implicit || s.Refuse == nil || s.refusing >= maxRefusing) {
		return nil, ErrTooMany
	}
	s.last++
	c := newConn(s, nc, s.last)
	c.implicit = implicit
	s.conns[c] = struct{}{}
	if full {
		s.refusing++
		return c, ErrTooMany
	}
	return c, nil
}

// admit counts a connection by its address, once that is certain.
func (s *Server) admit(c *Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	addr := c.remote.Addr()
	if err := s.counts.add(addr, s.limits); err != nil {
		return err
	}
	c.counted = addr
	return nil
}

// untrack is the last that a connection's goroutine does.
func (s *Server) untrack(c *Conn, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.counts.remove(c.counted)
	if refused {
		s.refusing--
	}
	if s.closing && len(s.conns) == 0 {
		close(s.drained)
	}
}

// Connections returns how many connections there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Shutdown stops accepting, ends the sessions that wait for a command, and
// waits for the others to finish what they do. When ctx ends before that it
// closes the connections that are left, as Close does, and returns ctx's
// error without waiting for their handlers.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop((*Conn).shutdown)
	select {
	case <-s.drained:
		s.cancel()
		return nil
	case <-ctx.Done():
		s.cancel()
		s.stop((*Conn).abort)
		return ctx.Err()
	}
}

// Close stops accepting, closes all connections and ends their contexts, and
// waits until their handlers have returned. It must not be called by one. It
// can follow a Shutdown that failed. The error is nil.
func (s *Server) Close() error {
	s.init()
	s.cancel()
	s.stop((*Conn).abort)
	<-s.drained
	return nil
}

// stop closes the listeners, and calls end for every connection.
func (s *Server) stop(end func(*Conn)) {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ln := range s.listeners {
		ln.Close()
	}
	if !s.closing && len(s.conns) == 0 {
		close(s.drained)
	}
	s.closing = true
	for c := range s.conns {
		end(c)
	}
}
