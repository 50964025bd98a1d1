package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/wire"
)

// Conn is one connection. Its methods belong to the goroutine that runs the
// handler.
type Conn struct {
	srv           *Server
	number        uint64
	raw           net.Conn // as it was accepted
	nc            net.Conn // raw, or TLS over it
	remote, local netip.AddrPort
	counted       netip.Addr // what it counts for in the limits
	ctx           context.Context
	cancel        context.CancelFunc
	timeouts      *Timeouts
	implicit      bool // TLS from the first octet
	failed        bool // nothing more can be sent
	linger        bool

	reader wire.Reader
	body   bool          // reading a message, not commands
	credit time.Duration // how long the peer may still pause in it
	until  time.Time     // when the command must be complete

	watch   watch
	looking bool // the reader is look's

	out    *output // what is written but not sent; nil: nothing
	outLen int
	outErr error

	displaced atomic.Bool // the handshake was cut off for another one

	mu          sync.Mutex
	waiting     bool // for a command
	handshaking bool // nothing is at stake, as before the handler is called
	closing     bool // the server is shutting down
}

func newConn(s *Server, nc net.Conn, number uint64) *Conn {
	c := &Conn{
		srv: s, number: number, raw: nc, nc: nc,
		remote: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr()),
		timeouts: s.timeouts, handshaking: true,
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.reader.Reset((*source)(c))
	return c
}

// ID names the session in logs. It is unique in the life of the server, and
// likely beyond.
func (c *Conn) ID() string { return c.srv.epoch + "." + strconv.FormatUint(c.number, 36) }

// RemoteAddr and LocalAddr are the ends of the connection; an IPv4 address in
// IPv6 is unmapped. They are zero if they are not known.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.remote }

// LocalAddr is this host's end.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// SetAddrs replaces the ends of the connection by those that a proxy tells.
// It is for [Server.Preamble].
func (c *Conn) SetAddrs(remote, local netip.AddrPort) {
	c.remote, c.local = unmap(remote), unmap(local)
}

// Peer returns a new Peer with what is known of the connection.
func (c *Conn) Peer() *sqmail.Peer {
	return &sqmail.Peer{
		Session: c.ID(), Listener: c.srv.Name,
		Remote: c.remote, Local: c.local, TLS: c.TLS(),
	}
}

// TLS returns the state of the encryption; nil means cleartext.
func (c *Conn) TLS() *tls.ConnectionState {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	return &state
}

// SetTimeouts replaces the server's timeouts for this connection. It does not
// change those that are running.
func (c *Conn) SetTimeouts(t Timeouts) { c.timeouts = t.withDefaults() }

// Linger asks that what the peer still sends be read and dropped for a moment
// after the handler has returned: for refusals amid a message. Without it the
// peer's data would make the system reset the connection, and the peer might
// never see the reply.
func (c *Conn) Linger() { c.linger = true }

// StartTLS sends what is written, and does the server's side of the handshake.
// A nil config means the server's. It fails with ErrTLSActive or ErrNoTLS when
// there is nothing to do; any other error closes the connection, so that no
// session can go on in cleartext.
func (c *Conn) StartTLS(config *tls.Config) error {
	if config == nil {
		config = c.srv.TLSConfig
	}
	switch {
	case config == nil:
		return ErrNoTLS
	case c.raw != c.nc:
		return ErrTLSActive
	case c.reader.Buffered() > 0:
		c.broken()
		return ErrPlaintext
	}
	if err := c.Flush(); err != nil {
		return err
	}
	return c.handshake(config)
}

func (c *Conn) handshake(config *tls.Config) error {
	if !c.setHandshaking(true) {
		c.broken()
		return ErrServerClosed
	}
	defer c.setHandshaking(false)
	defer c.srv.beginHandshake(c)()
	c.raw.SetDeadline(deadline(c.timeouts.Handshake))
	t := tls.Server(c.raw, config)
	// Whoever cancels the context closes the connection, too: a handshake with
	// a context would cost a goroutine more.
	if err := t.Handshake(); err != nil {
		c.broken()
		if c.displaced.Load() {
			err = ErrTooManyHandshakes
		}
		return err
	}
	c.raw.SetDeadline(time.Time{})
	c.nc = t
	c.reader.Reset((*source)(c))
	return nil
}

// setHandshaking notes whether the connection may be closed by shutdown at any
// time. It reports whether the server is open.
func (c *Conn) setHandshaking(on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handshaking = on
	return !c.closing
}

// broken closes the connection while the handler is at work.
func (c *Conn) broken() {
	c.failed = true
	c.cancel()
	c.raw.Close()
}

// shutdown ends the wait for a command, or for a handshake. Any goroutine may
// call it.
func (c *Conn) shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	switch {
	case c.handshaking:
		c.raw.Close()
	case c.waiting:
		c.raw.SetReadDeadline(longAgo)
	}
}

// abort closes the connection under the handler. Any goroutine may call it.
func (c *Conn) abort() {
	c.cancel()
	c.raw.Close()
}

var longAgo = time.Unix(1, 0)

// addrPort is a's address and port, if it has any.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return unmap(t.AddrPort())
	}
	if a == nil {
		return netip.AddrPort{}
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return unmap(ap)
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
