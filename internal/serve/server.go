package serve

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server runs connections. Handler must be set; every other field may be
// zero. Fields must not be changed after the first call of a method; methods
// may be called concurrently. A Server that was shut down or closed stays so.
type Server struct {
	// Name is the listener's name in logs and in Peer.Listener.
	Name string

	// Handler serves one connection. ctx ends when the server is closed, or
	// the connection fails; it does not end at Shutdown. When Handler returns,
	// what it wrote is sent and the connection is closed.
	Handler func(ctx context.Context, c *Conn)

	// Refuse, if not nil, may write to a connection that breaks a limit why
	// it is closed. It has five seconds, and does not read. It is not called for
	// connections that begin with a TLS handshake.
	Refuse func(c *Conn, why error)

	// Preamble, if not nil, is called before the limits by address apply, and
	// before TLS. It may read the connection through [Conn.Reader] and call
	// [Conn.SetAddrs], as a PROXY header asks for. An error closes the
	// connection.
	Preamble func(ctx context.Context, c *Conn) error

	// TLSConfig is for ServeTLS, and for [Conn.StartTLS] without one of its own.
	TLSConfig *tls.Config

	Limits   Limits
	Timeouts Timeouts

	// Log gets an event for each failed accept, refused connection, failed
	// handshake and panic. Nil: discarded.
	Log *slog.Logger

	once     sync.Once
	limits   Limits
	timeouts *Timeouts
	log      *slog.Logger
	epoch    string // begins the names of sessions
	ctx      context.Context
	cancel   context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{} // each has a goroutine that removes it
	counts    counts
	shaking   list.List // of *Conn: TLS handshakes that go on, the longest first
	refusing  int
	last      uint64        // number of the last session
	closing   bool          // Shutdown or Close was called
	drained   chan struct{} // closed when closing and without conns
}

func (s *Server) init() {
	s.once.Do(func() {
		s.limits = s.Limits.withDefaults()
		s.timeouts = s.Timeouts.withDefaults()
		s.log = s.Log
		if s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		// Servers that start together must not name their sessions alike.
		s.epoch = strconv.FormatInt(time.Now().Unix(), 36) + strings.ToLower(rand.Text()[:5])
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.listeners = make(map[net.Listener]struct{})
		s.conns = make(map[*Conn]struct{})
		s.drained = make(chan struct{})
	})
}

// Serve accepts connections from ln until it fails, or the server is shut
// down or closed: then the error is ErrServerClosed. It closes ln. Several
// listeners may be served at a time.
//
// An accept that fails for want of resources is tried again, after up to one
// second.
func (s *Server) Serve(ln net.Listener) error { return s.serve(ln, false) }

// ServeTLS is Serve for connections that begin with a TLS handshake.
func (s *Server) ServeTLS(ln net.Listener) error {
	if s.TLSConfig == nil {
		ln.Close()
		return ErrNoTLS
	}
	return s.serve(ln, true)
}

func (s *Server) serve(ln net.Listener, implicit bool) error {
	s.init()
	defer ln.Close()
	if !s.addListener(ln) {
		return ErrServerClosed
	}
	defer s.removeListener(ln)
	for pause := time.Duration(0); ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(nc, implicit)
		case s.isClosing():
			return ErrServerClosed
		case !passing(err):
			return err
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept failed", "listener", s.Name, "err", err, "pause", pause)
			if !s.sleep(pause) {
				return ErrServerClosed
			}
		}
	}
}

// ServeConn serves one connection, which it closes, and returns when that is
// over. The error tells why the handler was not called.
func (s *Server) ServeConn(nc net.Conn) error {
	s.init()
	c, err := s.track(nc, false)
	if err != nil {
		nc.Close()
		return err
	}
	return s.run(c)
}

// start serves nc in a goroutine of its own, which untrack waits for.
func (s *Server) start(nc net.Conn, implicit bool) {
	c, err := s.track(nc, implicit)
	switch {
	case err == nil:
		go s.run(c)
	case c == nil:
		nc.Close()
	default:
		go s.refuse(c, err)
	}
}

// passing reports whether an accept may succeed later.
func passing(err error) bool {
	if errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
		return true
	}
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// sleep waits for d. It fails when the server is shut down before.
func (s *Server) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return !s.isClosing()
	case <-s.ctx.Done():
		return false
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.listeners[ln] = struct{}{}
	}
	return !s.closing
}

func (s *Server) removeListener(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}
