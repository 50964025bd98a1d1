package resolver

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// LookupMX returns the mail exchangers of a domain, the preferred ones first.
// A domain that takes no mail has one whose host is "." (RFC 7505); a domain
// without MX records is an error that IsNotFound.
func (c *Client) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a, err := c.Lookup(ctx, name, TypeMX)
	if err != nil {
		return nil, err
	}
	if len(a.MX) == 0 {
		return nil, failed(name, "", errors.New("no MX record names a host"))
	}
	all := make([]*net.MX, len(a.MX))
	for i, mx := range a.MX {
		copied := *mx
		all[i] = &copied
	}
	slices.SortStableFunc(all, func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	return all, nil
}

// LookupNetIP returns the addresses of a host, those of IPv6 first. network is
// "ip", "ip4" or "ip6". If only one of two questions could be answered, what
// it gave is returned; an error is IsNotFound only if nothing else is possible.
// An address stands for itself, and localhost for loopback (RFC 6761, 6.3).
func (c *Client) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	wanted, err := typesOf(network)
	if err != nil {
		return nil, failed(host, "", err)
	}
	if known := withoutDNS(host); known != nil {
		return ofTypes(known, wanted, host)
	}
	answers := make([]*Answer, len(wanted))
	errs := make([]error, len(wanted))
	var asking sync.WaitGroup
	for i, t := range wanted[1:] {
		asking.Go(func() { answers[i+1], errs[i+1] = c.Lookup(ctx, host, t) })
	}
	answers[0], errs[0] = c.Lookup(ctx, host, wanted[0])
	asking.Wait()

	var addrs []netip.Addr
	for i, a := range answers {
		switch {
		case a == nil:
		case len(a.Addrs) == 0:
			errs[i] = failed(host, "", errors.New("address record without address"))
		default:
			addrs = append(addrs, a.Addrs...)
		}
	}
	if len(addrs) == 0 {
		return nil, worst(errs)
	}
	return addrs, nil
}

func typesOf(network string) ([]Type, error) {
	switch network {
	case "ip":
		return []Type{TypeAAAA, TypeA}, nil
	case "ip4":
		return []Type{TypeA}, nil
	case "ip6":
		return []Type{TypeAAAA}, nil
	}
	return nil, net.UnknownNetworkError(network)
}

// withoutDNS returns the addresses of a host for which nobody need be asked.
func withoutDNS(host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return nil
}

func ofTypes(addrs []netip.Addr, wanted []Type, host string) ([]netip.Addr, error) {
	addrs = slices.DeleteFunc(addrs, func(addr netip.Addr) bool {
		if addr.Is4() {
			return !slices.Contains(wanted, TypeA)
		}
		return !slices.Contains(wanted, TypeAAAA)
	})
	if len(addrs) == 0 {
		return nil, notFound(host, "", ErrNoData)
	}
	return addrs, nil
}

// worst returns the error that leaves most open: a temporary one, else that
// the name exists, else that it does not. (A server that denies a name for one
// type and knows it for another is broken; mail is not bounced on its word.)
func worst(errs []error) error {
	for _, err := range errs {
		if e, ok := errors.AsType[*net.DNSError](err); ok && !e.IsNotFound {
			return err
		}
	}
	for _, err := range errs {
		if errors.Is(err, ErrNoData) {
			return err
		}
	}
	return errs[0]
}

// LookupTXT returns the text records of a name, the strings of each joined.
func (c *Client) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := c.Lookup(ctx, name, TypeTXT)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.TXT), nil
}

// LookupAddr returns the names that the DNS gives for an address. They end in
// a dot, and nothing says that they lead back to the address.
func (c *Client) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, notFound(addr, "", errors.New("unrecognized address"))
	}
	reverse, err := dns.ReverseAddr(ip.Unmap().WithZone("").String())
	if err != nil {
		return nil, notFound(addr, "", errors.New("unrecognized address"))
	}
	a, err := c.Lookup(ctx, reverse, TypePTR)
	if err != nil {
		if e, ok := errors.AsType[*net.DNSError](err); ok {
			e.Name = addr
		}
		return nil, err
	}
	return slices.Clone(a.Names), nil
}

// LookupCNAME returns the name at the end of the chain of aliases that begins
// at host: its canonical name, with a dot at the end. A host that is no alias
// has its own. More than ten aliases are an error.
func (c *Client) LookupCNAME(ctx context.Context, host string) (string, error) {
	name, err := toQuery(host)
	if err != nil {
		return "", notFound(host, "", errInvalidName)
	}
	for range maxAliases + 1 {
		r, err := c.shared(ctx, question{name, TypeCNAME})
		switch {
		case err != nil:
			return "", failed(host, "", err)
		case r.err == nil && len(r.answer.Names) > 0:
			name = strings.ToLower(r.answer.Names[0])
		case r.err == nil || errors.Is(r.err, ErrNoData):
			return name, nil
		default:
			again := *r.err
			again.Name = host
			return "", &again
		}
	}
	return "", failed(host, "", errTooDeep)
}
