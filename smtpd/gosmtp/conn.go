package gosmtp

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
)

// Peer returns what is known of the client of a session that this package
// runs: the state of TLS, the authenticated user, the reverse name. It is for
// NewSession and the methods of its Session, and follows the state of the
// session. Of any other Conn it is nil.
func Peer(c *smtp.Conn) *sqmail.Peer {
	if e, ok := c.Conn().(*ends); ok {
		return e.peer
	}
	return nil
}

// ends is a connection that has nothing but its ends. It says one line.
type ends struct {
	peer *sqmail.Peer
	line io.Reader
	over chan struct{} // closed when go-smtp has done with it
	left atomic.Int32  // counts calls of Close
}

func (e *ends) Read(p []byte) (int, error) { return e.line.Read(p) }

// Write drops what go-smtp says to the line.
func (e *ends) Write(p []byte) (int, error) {
	if e.left.Load() > 0 {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

func (e *ends) Close() error {
	if e.left.Add(1) == 1 {
		close(e.over)
	}
	return nil
}

// closed reports whether the backend has closed the connection.
func (e *ends) closed() bool { return e.left.Load() > 1 }

func (e *ends) LocalAddr() net.Addr  { return addr(e.peer.Local) }
func (e *ends) RemoteAddr() net.Addr { return addr(e.peer.Remote) }

func (e *ends) SetDeadline(time.Time) error      { return nil }
func (e *ends) SetReadDeadline(time.Time) error  { return nil }
func (e *ends) SetWriteDeadline(time.Time) error { return nil }

// addr is never nil, for backends do not look.
func addr(a netip.AddrPort) net.Addr {
	if !a.IsValid() {
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a)
}

// newConn makes the Conn of a session. Only go-smtp can make one, so it is let
// serve a connection on which a client says hello, and leaves. It is nil if
// go-smtp does not take the hello.
func newConn(settings *smtp.Server, peer *sqmail.Peer) (*smtp.Conn, *ends) {
	hello := "EHLO "
	if settings.LMTP {
		hello = "LHLO "
	}
	name := peer.Hello
	if name == "" { // MAIL without a hello
		name = "unknown"
	}
	e := &ends{peer: peer, line: strings.NewReader(hello + name + "\r\n"), over: make(chan struct{})}
	var made *smtp.Conn
	likeness(settings, smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		made = c
		return nobody{}, nil
	})).Serve(&once{conn: e})
	<-e.over
	return made, e
}

// once is a listener that accepts one connection.
type once struct{ conn net.Conn }

func (l *once) Accept() (net.Conn, error) {
	c := l.conn
	if c == nil {
		return nil, net.ErrClosed
	}
	l.conn = nil
	return c, nil
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return addr(netip.AddrPort{}) }

// nobody is the session of the client that leaves at once.
type nobody struct{}

func (nobody) Reset()                               {}
func (nobody) Logout() error                        { return nil }
func (nobody) Mail(string, *smtp.MailOptions) error { return errLeft }
func (nobody) Rcpt(string, *smtp.RcptOptions) error { return errLeft }
func (nobody) Data(io.Reader) error                 { return errLeft }
