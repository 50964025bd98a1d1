package mailtest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// LookupMX is net.Resolver's: mail exchangers by preference, their names with
// a dot at the end. Like all Lookup methods it fails with a *net.DNSError:
// IsNotFound if there is no such record, IsTemporary and perhaps IsTimeout for
// a [Trouble].
func (z *Zone) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	var all []*net.MX
	err := z.lookup(ctx, name, dns.TypeMX, func(rr dns.RR) {
		if mx, ok := rr.(*dns.MX); ok {
			all = append(all, &net.MX{Host: mx.Mx, Pref: mx.Preference})
		}
	})
	slices.SortStableFunc(all, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	return all, err
}

// LookupTXT is net.Resolver's: the strings of a record are joined.
func (z *Zone) LookupTXT(ctx context.Context, name string) ([]string, error) {
	var all []string
	err := z.lookup(ctx, name, dns.TypeTXT, func(rr dns.RR) {
		if txt, ok := rr.(*dns.TXT); ok {
			all = append(all, unescape(strings.Join(txt.Txt, "")))
		}
	})
	return all, err
}

// LookupNetIP is net.Resolver's: network is "ip", "ip4" or "ip6". An address
// is its own answer.
func (z *Zone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	var all []netip.Addr
	var err4, err6 error = notFound(host), notFound(host)
	add := func(rr dns.RR) {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, addrOf(rr.A))
		case *dns.AAAA:
			all = append(all, addrOf(rr.AAAA))
		}
	}
	if network != "ip6" {
		err4 = z.lookup(ctx, host, dns.TypeA, add)
	}
	if network != "ip4" {
		err6 = z.lookup(ctx, host, dns.TypeAAAA, add)
	}
	switch {
	case len(all) > 0:
		return all, nil
	case err4 != nil && !isNotFound(err4):
		return nil, err4
	}
	return nil, err6
}

// LookupHost is net.Resolver's.
func (z *Zone) LookupHost(ctx context.Context, host string) ([]string, error) {
	addrs, err := z.LookupNetIP(ctx, "ip", host)
	var all []string
	for _, addr := range addrs {
		all = append(all, addr.String())
	}
	return all, err
}

// LookupAddr is net.Resolver's: the names of an IP address, with a dot at the
// end, from the PTR records of in-addr.arpa and ip6.arpa.
func (z *Zone) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	name, err := dns.ReverseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "unrecognized address", Name: addr}
	}
	var all []string
	err = z.lookup(ctx, name, dns.TypePTR, func(rr dns.RR) {
		if ptr, ok := rr.(*dns.PTR); ok {
			all = append(all, ptr.Ptr)
		}
	})
	return all, err
}

// lookup calls add for every record of a type, and fails if there is none.
func (z *Zone) lookup(ctx context.Context, name string, qtype uint16, add func(dns.RR)) error {
	a, err := z.ask(ctx, name, qtype)
	if err == nil && a.silence {
		err = pause(ctx, lookupTimeout, context.DeadlineExceeded)
	}
	if err != nil {
		return &net.DNSError{Err: err.Error(), UnwrapErr: err, Name: name, IsTimeout: true, IsTemporary: true}
	}
	if a.rcode == dns.RcodeServerFailure {
		return &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	none := true
	for _, rr := range a.records {
		if rr.Header().Rrtype == qtype {
			none = false
			add(rr)
		}
	}
	if none {
		return notFound(name)
	}
	return nil
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func isNotFound(err error) bool {
	e, ok := err.(*net.DNSError)
	return ok && e.IsNotFound
}

func addrOf(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// unescape undoes the backslashes with which a string of a TXT record is
// printed (RFC 1035, 5.1).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+3 < len(s) && isDigits(s[i+1:i+4]) {
			c = (s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0'
			i += 3
		} else if c == '\\' && i+1 < len(s) {
			i++
			c = s[i]
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}
