package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// A call is everything that makes one connection differ from another.
type call struct {
	addr     netip.AddrPort
	host     string // the peer's name
	name     string // of the domain or relay, for the rule
	rule     *TLSRule
	implicit bool
	lmtp     bool

	user, password string

	local netip.Addr // to call from; the zero Addr: any
	hello string     // "": our address
}

// key returns what connections must have in common to be shared: with nothing
// asked of the peer's certificate it does not matter what it is called.
func (c call) key() call {
	if c.rule == nil {
		c.name, c.host = "", ""
	}
	return c
}

func (c call) tls() *TLSRule {
	if c.rule == nil {
		return ifOffered
	}
	return c.rule
}

// where names the place for outcomes.
func (c call) where() string {
	where := c.host
	if literal, err := netip.ParseAddr(c.host); err != nil || literal != c.addr.Addr() {
		where += " [" + c.addr.Addr().String() + "]"
	}
	if c.addr.Port() != portSMTP {
		where += ":" + portText(c.addr.Port())
	}
	return where
}

// dial connects, and keeps the record of who does not answer.
func (a *Agent) dial(ctx context.Context, c call) (net.Conn, *failure) {
	timed, cancel := context.WithTimeout(ctx, or(a.ConnectTimeout, defaultConnectTimeout))
	defer cancel()
	conn, err := a.dialFrom(timed, c.local, c.addr.String())
	if err == nil {
		a.dead.succeeded(c.addr)
		return conn, nil
	}
	a.log().InfoContext(ctx, "cannot connect", "host", c.host, "addr", c.addr.String(), "err", err)
	switch {
	case ctx.Err() != nil:
		return nil, noConnection()
	case isResource(err):
		return nil, noResources(err)
	case isBind(err):
		return nil, cannotBind(c.local.String(), err)
	case isTimeout(err) || errors.Is(err, syscall.ECONNREFUSED):
		a.dead.failed(c.addr, time.Now())
	}
	f := noConnection()
	f.next, f.dead, f.err = true, true, err
	return nil, f
}

func (a *Agent) dialFrom(ctx context.Context, local netip.Addr, address string) (net.Conn, error) {
	d := a.dialer()
	if !local.IsValid() {
		return d.DialContext(ctx, "tcp", address)
	}
	switch d := d.(type) {
	case LocalDialer:
		return d.DialFrom(ctx, local, "tcp", address)
	case *net.Dialer:
		bound := *d
		bound.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
		return bound.DialContext(ctx, "tcp", address)
	}
	return nil, os.NewSyscallError("bind", errors.ErrUnsupported)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// isResource reports whether it was this host that could not.
func isResource(err error) bool {
	if isBind(err) {
		return false
	}
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func isBind(err error) bool {
	e, ok := errors.AsType[*os.SyscallError](err)
	return ok && e.Syscall == "bind"
}
