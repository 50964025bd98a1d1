package serve_test

import (
	"bufio"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/sqmail/sqmail/internal/serve"
)

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipes) Addr() net.Addr { return pipeAddr("pipes") }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// pipeConn is a connection that says that it comes from somewhere.
type pipeConn struct {
	net.Conn
	from pipeAddr
}

func (c pipeConn) RemoteAddr() net.Addr { return c.from }

// peer is the client's end of a connection.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// dial connects from an address, or from "" for none.
func (l *pipes) dial(t testing.TB, from string) *peer {
	t.Helper()
	near, far := net.Pipe()
	select {
	case l.conns <- pipeConn{far, pipeAddr(from)}:
	case <-l.closed:
		t.Fatal("the listener is closed")
	}
	return &peer{near, t, bufio.NewReader(near)}
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := p.Write([]byte(s)); err != nil {
		p.t.Errorf("send %q: %v", s, err)
	}
}

// expect reads one line.
func (p *peer) expect(want string) {
	p.t.Helper()
	got, err := p.r.ReadString('\n')
	if got != want+"\r\n" {
		p.t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// expectEnd reads until the connection is closed.
func (p *peer) expectEnd() {
	p.t.Helper()
	if b, err := p.r.ReadByte(); err == nil {
		p.t.Errorf("got %q; want the end", b)
	}
}

// start serves pipes until the test ends, inside a bubble or outside.
func start(t testing.TB, s *serve.Server) *pipes {
	l := newPipes()
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != serve.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections after Close", n)
		}
	})
	return l
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
