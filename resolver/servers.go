package resolver

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	resolvConf  = "/etc/resolv.conf"
	statEvery   = 5 * time.Second
	maxServers  = 8
	avoidServer = 30 * time.Second
)

// server is a recursive name server and how it fares.
type server struct {
	address  string
	loopback bool
	avoid    atomic.Int64 // Unix time in ns until which others are asked first
}

func newServer(address string) *server {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "53")
	}
	s := &server{address: address}
	if ap, err := netip.ParseAddrPort(address); err == nil {
		s.loopback = ap.Addr().Unmap().IsLoopback()
	}
	return s
}

// timedOut puts s behind the others for a while.
func (s *server) timedOut(now time.Time) { s.avoid.Store(now.Add(avoidServer).UnixNano()) }

// answered puts s back in its place.
func (s *server) answered() {
	if s.avoid.Load() != 0 {
		s.avoid.Store(0)
	}
}

// serverList knows whom to ask.
type serverList struct {
	mu       sync.Mutex
	list     []*server
	checked  time.Time // of resolv.conf
	modified time.Time
}

// inOrder returns the servers in the order in which to ask them: as they were
// given, but those that lately did not answer at the end.
func (l *serverList) inOrder(fixed []string, now time.Time) []*server {
	servers := l.current(fixed, now)
	order := make([]*server, 0, len(servers))
	for _, s := range servers {
		if s.avoid.Load() <= now.UnixNano() {
			order = append(order, s)
		}
	}
	for _, s := range servers {
		if !slices.Contains(order, s) {
			order = append(order, s)
		}
	}
	return order
}

// current returns the servers that were given, or those of resolv.conf.
func (l *serverList) current(fixed []string, now time.Time) []*server {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case fixed != nil && l.list == nil:
		l.set(fixed)
	case fixed == nil && (l.list == nil || now.Sub(l.checked) >= statEvery):
		l.checked = now
		l.reload()
	}
	return l.list
}

// reload reads resolv.conf if it has changed. A file that cannot be read
// leaves the servers as they are.
func (l *serverList) reload() {
	info, err := os.Stat(resolvConf)
	if err == nil && !info.ModTime().Equal(l.modified) {
		if conf, err := dns.ClientConfigFromFile(resolvConf); err == nil && len(conf.Servers) > 0 {
			l.modified = info.ModTime()
			l.set(conf.Servers)
		}
	}
	if l.list == nil {
		l.set([]string{"127.0.0.1", "::1"})
	}
}

func (l *serverList) set(addresses []string) {
	l.list = make([]*server, 0, len(addresses))
	for _, address := range addresses[:min(len(addresses), maxServers)] {
		l.list = append(l.list, newServer(address))
	}
}
