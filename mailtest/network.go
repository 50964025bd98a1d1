package mailtest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Network is a TCP network in memory. The zero Network is ready for use: its
// hosts are all IP addresses there are, and a port nobody listens on refuses.
//
// Connections buffer what is written, have addresses of type *net.TCPAddr and
// deadlines that obey the fake time of a synctest bubble, and fail with the
// errors of package net: a refused dial is a *net.OpError around
// syscall.ECONNREFUSED, a passed deadline is os.ErrDeadlineExceeded.
type Network struct {
	mu        sync.Mutex
	changed   *sync.Cond
	listeners map[netip.AddrPort]*listener
	links     map[string]Link
	lastPort  uint16
}

// Link says how the way to an address is. The zero Link is a good one.
type Link struct {
	// Refuse makes dials fail at once, Blackhole makes them hang until their
	// context ends or two minutes are over.
	Refuse, Blackhole bool

	// Latency is how long each write is under way. A dial takes two of them.
	Latency time.Duration

	// Buffer is how many octets a side may write before the other reads.
	// 0 means 64 KiB.
	Buffer int
}

const (
	defaultBuffer = 64 << 10
	backlog       = 128
	dialTimeout   = 2 * time.Minute
	firstPort     = 49152 // RFC 6335, 6: dynamic ports
)

// Link sets how the way to an address is from now on: for new connections to
// "192.0.2.1:25", or to every port of "192.0.2.1".
func (n *Network) Link(address string, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links == nil {
		n.links = make(map[string]Link)
	}
	n.links[address] = l
}

// Listen is net.Listen: network is "tcp", "tcp4" or "tcp6", and the host in
// address an IP address, or nothing for all. Port 0 gets a free one.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	at, err := parseAddress(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.init()
	if at.Port() == 0 {
		at = netip.AddrPortFrom(at.Addr(), n.freePort())
	}
	if n.listeners[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(at), Err: syscall.EADDRINUSE}
	}
	l := &listener{network: n, at: at}
	n.listeners[at] = l
	return l, nil
}

// DialContext connects to an IP address and port; names are not known to a
// Network. The client's address is 198.51.100.1 or 2001:db8::1; see
// [Network.From].
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return (&Host{network: n}).DialContext(ctx, network, address)
}

// DialFrom is DialContext from a client's address of one's choice.
func (n *Network) DialFrom(ctx context.Context, local netip.Addr, network, address string) (net.Conn, error) {
	return (&Host{n, local}).DialContext(ctx, network, address)
}

// IsOwn reports whether addr is an address that DialContext calls from. A
// remote.Agent asks its Dialer that, and not which addresses the machine has.
func (n *Network) IsOwn(addr netip.Addr) bool { return (&Host{network: n}).IsOwn(addr) }

// From returns the host with the given IP address. It panics if that is none.
func (n *Network) From(ip string) *Host { return &Host{n, netip.MustParseAddr(ip)} }

// Host is a host in a [Network] that connects to others.
type Host struct {
	network *Network
	ip      netip.Addr
}

// DialContext is Network.DialContext with the host's own address.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := parseAddress(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	conn, err := h.network.dial(ctx, h.source(to), to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return conn, nil
}

// IsOwn reports whether addr is the host's own address, or one of loopback.
func (h *Host) IsOwn(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsLoopback() || addr.IsUnspecified() || addr == h.source(netip.AddrPortFrom(addr, 0))
}

func (h *Host) source(to netip.AddrPort) netip.Addr {
	switch {
	case h.ip.IsValid():
		return h.ip
	case to.Addr().Is4():
		return netip.AddrFrom4([4]byte{198, 51, 100, 1}) // RFC 5737
	}
	return netip.MustParseAddr("2001:db8::1") // RFC 3849
}

func (n *Network) dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	link := n.linkTo(to)
	if link.Blackhole {
		return nil, pause(ctx, dialTimeout, syscall.ETIMEDOUT)
	}
	if err := pause(ctx, 2*link.Latency, nil); err != nil {
		return nil, err
	}
	if link.Refuse {
		return nil, syscall.ECONNREFUSED
	}
	return n.connect(ctx, from, to, link)
}

// connect waits for room in the listener's backlog.
func (n *Network) connect(ctx context.Context, from netip.Addr, to netip.AddrPort, link Link) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.init()
	stop := context.AfterFunc(ctx, n.wake)
	defer stop()
	for {
		l := n.listenerAt(to)
		if l == nil {
			return nil, syscall.ECONNREFUSED
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(l.waiting) < backlog {
			source := netip.AddrPortFrom(from, n.freePort())
			client, server := pipe(net.TCPAddrFromAddrPort(source), net.TCPAddrFromAddrPort(to), link)
			l.waiting = append(l.waiting, server)
			n.changed.Broadcast()
			return client, nil
		}
		n.changed.Wait()
	}
}

// pause waits for d and returns err, or ctx's error if that ends before.
func pause(ctx context.Context, d time.Duration, err error) error {
	if d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return err
	}
}

// init is called with the lock held.
func (n *Network) init() {
	if n.changed == nil {
		n.changed = sync.NewCond(&n.mu)
		n.listeners = make(map[netip.AddrPort]*listener)
	}
}

func (n *Network) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed.Broadcast()
}

func (n *Network) linkTo(to netip.AddrPort) Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l, found := n.links[to.String()]; found {
		return l
	}
	return n.links[to.Addr().String()]
}

// listenerAt finds who listens on an address: itself, or all of its kind.
func (n *Network) listenerAt(at netip.AddrPort) *listener {
	if l := n.listeners[at]; l != nil {
		return l
	}
	if l := n.listeners[netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())]; l != nil {
		return l
	}
	if at.Addr().Is4() {
		return n.listeners[netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())]
	}
	return nil
}

func (n *Network) freePort() uint16 {
	if n.lastPort < firstPort || n.lastPort == 1<<16-1 {
		n.lastPort = firstPort - 1
	}
	n.lastPort++
	return n.lastPort
}

// parseAddress reads "192.0.2.1:25", "[2001:db8::1]:25" or ":25".
func parseAddress(network, address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case network != "tcp" && network != "tcp4" && network != "tcp6":
		return netip.AddrPort{}, net.UnknownNetworkError(network)
	case host != "":
	case network == "tcp4":
		host = "0.0.0.0"
	default:
		host = "::"
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "not an IP address and port", Addr: address}
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if network == "tcp4" && !at.Addr().Is4() || network == "tcp6" && at.Addr().Is4() {
		return netip.AddrPort{}, &net.AddrError{Err: fmt.Sprintf("no address for %s", network), Addr: address}
	}
	return at, nil
}

// listener is who waits on an address; its fields are guarded by the
// network's lock.
type listener struct {
	network *Network
	at      netip.AddrPort
	waiting []*conn
	closed  bool
}

func (l *listener) Accept() (net.Conn, error) {
	n := l.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for !l.closed {
		if len(l.waiting) > 0 {
			c := l.waiting[0]
			l.waiting = l.waiting[1:]
			n.changed.Broadcast()
			return c, nil
		}
		n.changed.Wait()
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// Close resets the connections that nobody has accepted.
func (l *listener) Close() error {
	n := l.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.closed = true
	delete(n.listeners, l.at)
	for _, c := range l.waiting {
		c.in.abort()
		c.out.abort()
	}
	l.waiting = nil
	n.changed.Broadcast()
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
