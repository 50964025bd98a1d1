package remote

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// deadHosts remembers who did not answer (spec/remote.md 5), so that a dead
// exchanger is not waited for by every message.
type deadHosts struct {
	mu    sync.Mutex
	hosts map[netip.AddrPort]deadHost
}

type deadHost struct {
	failures int
	last     time.Time
}

// DeadHost tells of an address that did not take connections lately.
type DeadHost struct {
	Addr     netip.AddrPort
	Failures int       // counted; at most 10
	Last     time.Time // of the last that was counted
}

const (
	maxDeadHosts   = 4096
	deadFrom       = 2 // failures
	maxFailures    = 10
	failureSpacing = 120 * time.Second
	deadUnit       = 64 * time.Second
	evictionWeight = 1024 * time.Second // a failure makes a record look so much younger
)

// isDead reports whether addr is not to be tried at the time now. How long
// that lasts differs by chance, between 64 and 97 minutes.
func (d *deadHosts) isDead(addr netip.AddrPort, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, found := d.hosts[addr]
	return found && h.failures >= deadFrom && now.Sub(h.last) < time.Duration(60+rand.IntN(32))*deadUnit
}

// failed counts a connection that was refused or timed out. Failures that
// follow each other within two minutes count as one.
func (d *deadHosts) failed(addr netip.AddrPort, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hosts == nil {
		d.hosts = make(map[netip.AddrPort]deadHost)
	}
	h, found := d.hosts[addr]
	if found && now.Sub(h.last) < failureSpacing {
		return
	}
	if !found && len(d.hosts) >= maxDeadHosts {
		d.evict()
	}
	d.hosts[addr] = deadHost{min(h.failures+1, maxFailures), now}
}

func (d *deadHosts) evict() {
	var victim netip.AddrPort
	var least time.Time
	for addr, h := range d.hosts {
		worth := h.last.Add(time.Duration(h.failures) * evictionWeight)
		if least.IsZero() || worth.Before(least) {
			victim, least = addr, worth
		}
	}
	delete(d.hosts, victim)
}

// succeeded forgets the failures of addr.
func (d *deadHosts) succeeded(addr netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.hosts, addr)
}

// DeadHosts lists the addresses that did not take a connection when they were
// last tried, whether they are avoided by now or not.
func (a *Agent) DeadHosts() []DeadHost {
	a.dead.mu.Lock()
	defer a.dead.mu.Unlock()
	all := make([]DeadHost, 0, len(a.dead.hosts))
	for addr, h := range a.dead.hosts {
		all = append(all, DeadHost{addr, h.failures, h.last})
	}
	slices.SortFunc(all, func(x, y DeadHost) int { return cmp.Or(x.Last.Compare(y.Last), x.Addr.Compare(y.Addr)) })
	return all
}

// ForgetDeadHosts makes the Agent try every address again.
func (a *Agent) ForgetDeadHosts() {
	a.dead.mu.Lock()
	defer a.dead.mu.Unlock()
	clear(a.dead.hosts)
}

// tlsFailures remembers for an hour who offers STARTTLS and cannot do it.
type tlsFailures struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

const (
	tlsFailureTime = time.Hour
	maxTLSFailures = 4096
)

func (f *tlsFailures) has(addr netip.AddrPort, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, found := f.until[addr]
	if found && !now.Before(until) {
		delete(f.until, addr)
		return false
	}
	return found
}

func (f *tlsFailures) add(addr netip.AddrPort, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil {
		f.until = make(map[netip.AddrPort]time.Time)
	}
	if len(f.until) >= maxTLSFailures {
		clear(f.until) // to forget costs a handshake each
	}
	f.until[addr] = now.Add(tlsFailureTime)
}
