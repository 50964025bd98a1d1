package filter

import (
	"net/netip"
	"strings"
)

// literal reads an address literal; ok is false for a domain name. The address
// is not valid if the literal is of another kind than IPv4 and IPv6.
func literal(domain string) (addr netip.Addr, ok bool) {
	inner, found := strings.CutPrefix(domain, "[")
	if !found {
		return netip.Addr{}, false
	}
	inner = strings.TrimSuffix(inner, "]")
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		inner = inner[5:]
	}
	addr, _ = netip.ParseAddr(inner)
	return addr, true
}
