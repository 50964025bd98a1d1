package serve

import (
	"net/netip"
	"time"
)

// Limits bounds the connections that a server has at a time. In each field 0
// means the default, and a negative number: no limit.
//
// Connections from loopback addresses, and those without an address (in
// memory, Unix sockets), count in Total only.
type Limits struct {
	// Total is for all connections together. 0: 10,000.
	Total int

	// PerAddress is for one IP address. 0: 100.
	PerAddress int

	// PerPrefix is for one network: /24 of IPv4, /64 of IPv6. 0: 500.
	PerPrefix int

	// Handshakes is for TLS handshakes that are going on, which cost much
	// memory. When there is one more, the one that has lasted longest is cut
	// off: honest clients need less than a second, and those that dawdle do
	// not keep them out. 0: 1,000.
	Handshakes int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Total:      orDefault(l.Total, 10_000),
		PerAddress: orDefault(l.PerAddress, 100),
		PerPrefix:  orDefault(l.PerPrefix, 500),
		Handshakes: orDefault(l.Handshakes, 1000),
	}
}

// Timeouts bounds the waits of one connection. In each field 0 means the
// default, and a negative value: no bound.
type Timeouts struct {
	// Idle is how long the peer may take for a whole command, from when the
	// server is ready for it to the command's line end. 0: 5 minutes (RFC
	// 5321, 4.5.3.2.7).
	Idle time.Duration

	// Body is how long the peer may pause within a message, and MinRate the
	// rate, in octets per second, below which its pauses add up: each octet
	// makes good 1/MinRate seconds of waiting, and as soon as Body is used up
	// the connection fails with ErrSlow. So a peer that sends slower than
	// MinRate is gone soon, one that sends faster may pause for Body at any
	// time; the time that the server itself takes does not count.
	// 0: 3 minutes (RFC 5321, 4.5.3.2.5), and 100 octets per second. A
	// negative MinRate: every octet makes good the whole of Body.
	Body    time.Duration
	MinRate int

	// Write is how long the peer may take to accept 32 KiB of output or less.
	// 0: 3 minutes.
	Write time.Duration

	// Handshake is for the preamble, and again for the TLS handshake. 0: 30
	// seconds.
	Handshake time.Duration
}

func (t Timeouts) withDefaults() *Timeouts {
	return &Timeouts{
		Idle:      orDefault(t.Idle, 5*time.Minute),
		Body:      orDefault(t.Body, 3*time.Minute),
		MinRate:   orDefault(t.MinRate, 100),
		Write:     orDefault(t.Write, 3*time.Minute),
		Handshake: orDefault(t.Handshake, 30*time.Second),
	}
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// deadline is when a wait of at most d that begins now has to end. Zero: never.
func deadline(d time.Duration) time.Time {
	if d < 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// counts is how many connections there are, by where they come from.
type counts struct {
	byAddress map[netip.Addr]int
	byPrefix  map[netip.Prefix]int
}

// add counts a connection from addr, unless that breaks a limit.
func (n *counts) add(addr netip.Addr, l Limits) error {
	if !limited(addr) {
		return nil
	}
	prefix := network(addr)
	switch {
	case l.PerAddress >= 0 && n.byAddress[addr] >= l.PerAddress:
		return ErrTooManyForAddress
	case l.PerPrefix >= 0 && n.byPrefix[prefix] >= l.PerPrefix:
		return ErrTooManyForPrefix
	}
	if n.byAddress == nil {
		n.byAddress, n.byPrefix = make(map[netip.Addr]int), make(map[netip.Prefix]int)
	}
	n.byAddress[addr]++
	n.byPrefix[prefix]++
	return nil
}

func (n *counts) remove(addr netip.Addr) {
	if limited(addr) {
		decrement(n.byAddress, addr)
		decrement(n.byPrefix, network(addr))
	}
}

func decrement[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}

func limited(addr netip.Addr) bool { return addr.IsValid() && !addr.IsLoopback() }

// network returns the prefix that one customer of a provider has in general.
func network(addr netip.Addr) netip.Prefix {
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	p, _ := addr.WithZone("").Prefix(bits)
	return p
}
