package remote

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// OwnAddrs returns a function for Agent.IsOwn that knows the addresses of this
// host's interfaces, as they are at the time, and those given: what a NAT
// shows to the world, for instance.
func OwnAddrs(more ...netip.Addr) func(netip.Addr) bool {
	var own ownAddrs
	extra := make(map[netip.Addr]bool)
	for _, addr := range more {
		extra[addr.Unmap().WithZone("")] = true
	}
	return func(addr netip.Addr) bool {
		return extra[addr.Unmap().WithZone("")] || own.has(addr)
	}
}

func (a *Agent) isOwn(addr netip.Addr) bool {
	if a.IsOwn != nil {
		return a.IsOwn(addr)
	}
	if d, ok := a.Dialer.(interface{ IsOwn(netip.Addr) bool }); ok {
		return d.IsOwn(addr)
	}
	return a.own.has(addr)
}

// ownAddrs are the addresses of this host's interfaces, read again every
// minute that they are asked for.
type ownAddrs struct {
	mu    sync.Mutex
	addrs map[netip.Addr]bool
	read  time.Time
}

func (o *ownAddrs) has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.IsUnspecified() || addr.IsLoopback() {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); o.addrs == nil || now.Sub(o.read) > time.Minute {
		o.read = now
		o.reload()
	}
	return o.addrs[addr]
}

// reload reads the addresses. If that fails the old ones stay.
func (o *ownAddrs) reload() {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	o.addrs = make(map[netip.Addr]bool)
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			o.addrs[prefix.Addr().Unmap().WithZone("")] = true
		}
	}
}
