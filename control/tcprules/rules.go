package tcprules

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/filter"
)

// Rules looks clients up in a database of rules. It may be used concurrently.
type Rules struct {
	// Database holds the rules; a [filter.CDB] for instance.
	Database filter.Database
}

// Match returns the rule for a client. The first key that exists decides
// (smtpd.md, 11.2): info@address, info@=host, address, =host, networks from the
// longest prefix to the shortest, =.suffix likewise, "=" for whoever has a
// name, and the empty key. Nil: there is none, and the client may connect.
// What cannot be looked up is an error, and so is a value that is damaged: then
// nobody knows whether it may.
func (r *Rules) Match(c control.Client) (*control.Rule, error) {
	for _, key := range keysFor(c) {
		value, found, err := r.Database.Get([]byte(key))
		if err != nil {
			return nil, err
		}
		if found {
			return control.ParseRuleRecord([]byte(key), value)
		}
	}
	return nil, nil
}

// keysFor returns the keys under which a client may have a rule, in order.
func keysFor(c control.Client) (keys []string) {
	addr, host := c.Addr.Unmap().WithZone(""), strings.ToLower(c.Host)
	if c.Info != "" && addr.IsValid() {
		keys = append(keys, c.Info+"@"+addr.String())
	}
	if c.Info != "" && host != "" {
		keys = append(keys, c.Info+"@="+host)
	}
	if addr.IsValid() {
		keys = append(keys, addr.String())
	}
	if host != "" {
		keys = append(keys, "="+host)
	}
	if addr.IsValid() {
		keys = append(keys, networksOf(addr)...)
	}
	for i := range len(host) {
		if host[i] == '.' {
			keys = append(keys, "="+host[i:])
		}
	}
	if host != "" {
		keys = append(keys, "=")
	}
	return append(keys, "")
}

// networksOf returns the keys of the networks that an address is in: of each
// length as "192.0.2.0/24", and then in the form that prefixes of that length
// have: "192.0.2." or "2001:db8::".
func networksOf(addr netip.Addr) (keys []string) {
	for bits := addr.BitLen(); bits >= 0; bits-- {
		net, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		keys = append(keys, net.String())
		switch {
		case addr.Is4() && bits%8 == 0 && bits > 0 && bits < 32:
			octets := strings.SplitAfter(addr.String(), ".")
			keys = append(keys, strings.Join(octets[:bits/8], ""))
		case addr.Is6() && bits%16 == 0 && bits < 128:
			keys = append(keys, group6(net.Addr(), bits/16))
		}
	}
	return keys
}

// group6 returns the first n groups of an address with "::" behind.
func group6(addr netip.Addr, n int) string {
	var b strings.Builder
	raw := addr.As16()
	for i := range n {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%x", int(raw[2*i])<<8|int(raw[2*i+1]))
	}
	return b.String() + "::"
}
