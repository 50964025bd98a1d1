package remote

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Bounds on what the DNS of a stranger may make us do for one message.
const (
	maxExchangers = 50
	maxHops       = 100
)

// A hop is an address that may take the message.
type hop struct {
	host string // its name, or the address as text
	addr netip.Addr
}

// way finds the hops to a destination, one preference after the other, and no
// sooner than they are needed (RFC 5321, 5.1; spec/remote.md 3).
type way struct {
	agent *Agent
	host  string // as reports show it
	mxs   []*net.MX
	relay bool // of our choice: no exchangers, no self-check

	implicit bool // the domain has no MX records

	seen   map[netip.Addr]bool
	soft   bool // an answer was not to be had
	own    bool // we met ourselves
	absent bool // the host does not exist
}

// toward finds the way to a relay, or to the mail exchangers of a domain. The
// failure tells why there is none.
func (a *Agent) toward(ctx context.Context, host string, relay bool) (*way, *failure) {
	w := &way{agent: a, host: host, relay: relay, seen: make(map[netip.Addr]bool)}
	if literal, ok := literalAddr(host); ok {
		w.mxs = []*net.MX{{Host: literal.String()}}
		return w, nil
	}
	name, err := lookupName(host)
	if err != nil || strings.HasPrefix(host, "[") {
		if relay {
			return nil, lookupFailed(host)
		}
		return nil, noSuchHost(host)
	}
	w.mxs = []*net.MX{{Host: name}}
	if relay {
		return w, nil
	}
	mxs, err := a.resolver().LookupMX(ctx, a.absolute(name))
	switch {
	case isNotFound(err) || err == nil && len(mxs) == 0:
		w.implicit = true
		return w, nil
	case err != nil:
		a.log().InfoContext(ctx, "mail exchangers not known", "host", host, "err", err)
		return nil, lookupFailed(host)
	}
	return w, w.sort(mxs)
}

// sort puts exchangers in order: by preference, and at random within one.
func (w *way) sort(mxs []*net.MX) *failure {
	mxs = slices.DeleteFunc(slices.Clone(mxs), func(mx *net.MX) bool { return mx.Host == "." || mx.Host == "" })
	if len(mxs) == 0 {
		return nullMX(w.host) // RFC 7505, 3
	}
	rand.Shuffle(len(mxs), func(i, j int) { mxs[i], mxs[j] = mxs[j], mxs[i] })
	slices.SortStableFunc(mxs, func(x, y *net.MX) int { return cmp.Compare(x.Pref, y.Pref) })
	w.mxs = mxs[:min(len(mxs), maxExchangers)]
	return nil
}

// next returns the hops of the best preference that has not been returned;
// nil: there are no more.
func (w *way) next(ctx context.Context) []hop {
	for len(w.mxs) > 0 && !w.own && ctx.Err() == nil {
		n := 1
		for n < len(w.mxs) && w.mxs[n].Pref == w.mxs[0].Pref {
			n++
		}
		level := w.mxs[:n]
		w.mxs = w.mxs[n:]
		var hops []hop
		for _, mx := range level {
			hops = append(hops, w.hops(ctx, mx.Host)...)
		}
		if len(hops) > 0 && !w.own {
			return hops
		}
	}
	return nil
}

// hops returns the addresses of one host, IPv6 first, without those that were
// there before.
func (w *way) hops(ctx context.Context, host string) []hop {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	var hops []hop
	for _, addr := range w.lookup(ctx, host) {
		addr = addr.Unmap()
		if !w.relay && w.agent.isOwn(addr) {
			w.own = true
		}
		if w.seen[addr] || len(w.seen) >= maxHops || addr.IsMulticast() {
			continue
		}
		w.seen[addr] = true
		hops = append(hops, hop{host, addr})
	}
	slices.SortStableFunc(hops, func(x, y hop) int { return cmp.Compare(y.addr.BitLen(), x.addr.BitLen()) })
	return hops
}

func (w *way) lookup(ctx context.Context, host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}
	}
	addrs, err := w.agent.resolver().LookupNetIP(ctx, "ip", w.agent.absolute(host))
	switch {
	case isNotFound(err):
		w.absent = !isNoData(err)
	case err != nil:
		w.soft = true
		w.agent.log().InfoContext(ctx, "addresses not known", "host", host, "err", err)
	}
	return addrs
}

// verdict tells why no hop was found at all.
func (w *way) verdict() *failure {
	switch {
	case w.soft, w.relay:
		return lookupFailed(w.host) // a relay is our choice: a slip in a table of routes bounces no mail
	case w.own:
		return loops()
	case w.absent && w.implicit:
		return noSuchHost(w.host)
	}
	return noAddress()
}

// absolute keeps a *net.Resolver from trying the search list of the host.
func (a *Agent) absolute(name string) string {
	if _, ok := a.resolver().(*net.Resolver); ok && !strings.HasSuffix(name, ".") {
		return name + "."
	}
	return name
}

// lookupProfile maps U-labels to A-labels (RFC 5891, 5; not transitional).
var lookupProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// lookupName returns a domain in the form that the DNS knows.
func lookupName(domain string) (string, error) {
	if len(domain) > 4*255 {
		return "", errors.New("domain too long")
	}
	name := strings.ToLower(strings.TrimSuffix(domain, "."))
	if !isASCII(name) {
		var err error
		if name, err = lookupProfile.ToASCII(name); err != nil {
			return "", err
		}
	}
	if name == "" || len(name) > 253 {
		return "", errors.New("no domain name")
	}
	return name, nil
}

// literalAddr returns the address in an address literal, or in what is a bare
// address.
func literalAddr(host string) (netip.Addr, bool) {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
		if !bracketed {
			return netip.Addr{}, false
		}
		if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
			inner = inner[5:]
		}
	}
	addr, err := netip.ParseAddr(inner)
	return addr.Unmap(), err == nil
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound && !e.IsTemporary
}

// isNoData reports whether a name that was not found does exist. Resolvers
// that cannot tell do not say so.
func isNoData(err error) bool {
	e, ok := errors.AsType[interface {
		error
		NoData() bool
	}](err)
	return ok && e.NoData()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
