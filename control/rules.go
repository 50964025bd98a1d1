package control

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rules are a rules file: which clients may connect, and what holds for them.
// They do not change.
type Rules struct {
	byKey    map[string]*Rule // info@ip, info@=host, =host, =.suffix, = and the empty key
	byNet    map[netip.Prefix]*Rule
	lengths4 []int // of the networks in byNet, longest first
	lengths6 []int
	all      []*Rule
}

// Client is who connects, as far as it is known.
type Client struct {
	// Addr is its address. An IPv4 address mapped into IPv6 counts as IPv4.
	Addr netip.Addr

	// Host is its reverse name, Info what is known of the user there (ident).
	// "": not known.
	Host, Info string
}

// ParseRules parses a rules file. file is its name for problems. Of rules for the
// same address the first one counts.
func ParseRules(file string, text []byte) (*Rules, []Problem) {
	var problems []Problem
	r := parseRules(file, text, func(p Problem) bool {
		problems = append(problems, p)
		return true
	})
	return r, problems
}

func newRules() *Rules {
	return &Rules{byKey: map[string]*Rule{}, byNet: map[netip.Prefix]*Rule{}}
}

// parseRules tells of problems until problem returns false.
func parseRules(file string, text []byte, problem func(Problem) (goOn bool)) *Rules {
	r := newRules()
	number := 0
	for raw := range bytes.Lines(text) {
		number++
		line := strings.TrimRight(string(raw), " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		rule, err := ParseRule(line)
		if err != nil {
			if !problem(Problem{file, number, err.Error(), true}) {
				break
			}
			continue
		}
		rule.File, rule.Line = file, number
		first, err := r.add(rule)
		if err != nil {
			problem(Problem{file, number, err.Error(), true})
		} else if first != nil {
			problem(Problem{file, number, fmt.Sprintf("has no effect: line %d has a rule for the same address", first.Line), false})
		}
	}
	r.sortLengths()
	return r
}

// add adds a rule. If there is one for the same address, that one stays and is
// returned.
func (r *Rules) add(rule *Rule) (first *Rule, err error) {
	keys, nets, err := addressOf(rule.Address)
	if err != nil {
		return nil, err
	}
	r.all = append(r.all, rule)
	for _, key := range keys {
		if known := r.byKey[key]; known != nil {
			first = known
			continue
		}
		r.byKey[key] = rule
	}
	for _, net := range nets {
		if known := r.byNet[net]; known != nil {
			first = known
			continue
		}
		r.byNet[net] = rule
	}
	return first, nil
}

// addressOf returns the keys or networks that a rule's address means.
func addressOf(address string) (keys []string, nets []netip.Prefix, err error) {
	if address == "" {
		return []string{""}, nil, nil
	}
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		info, where := address[:at], address[at+1:]
		if strings.HasPrefix(where, "=") {
			return []string{info + "@" + lower(where)}, nil, nil
		}
		addr, err := netip.ParseAddr(where)
		if err != nil || info == "" {
			return nil, nil, fmt.Errorf("%.60q is not info@address", address)
		}
		return []string{info + "@" + addr.Unmap().String()}, nil, nil
	}
	if address[0] == '=' {
		if host := strings.TrimPrefix(address[1:], "."); host != "" && !plausibleDomain(host) {
			return nil, nil, fmt.Errorf("%.60q is no host name", address)
		}
		return []string{lower(address)}, nil, nil
	}
	nets, err = networks(address)
	return nil, nets, err
}

func (r *Rules) sortLengths() {
	for net := range r.byNet {
		if net.Addr().Is4() {
			r.lengths4 = append(r.lengths4, net.Bits())
		} else {
			r.lengths6 = append(r.lengths6, net.Bits())
		}
	}
	for _, lengths := range []*[]int{&r.lengths4, &r.lengths6} {
		slices.Sort(*lengths)
		*lengths = slices.Compact(*lengths)
		slices.Reverse(*lengths)
	}
}

// Match returns the rule for a client, nil if there is none: then it may
// connect. Rules are not merged. The order is (smtpd.md, 11.2): info@address,
// info@=host, address, =host, networks from the longest prefix to the shortest,
// =.suffix likewise, "=" for whoever has a name, and the empty address.
func (r *Rules) Match(c Client) *Rule {
	addr := c.Addr.Unmap().WithZone("")
	host := lower(c.Host)
	if c.Info != "" {
		if rule := r.byKey[c.Info+"@"+addr.String()]; rule != nil && addr.IsValid() {
			return rule
		}
		if rule := r.byKey[c.Info+"@="+host]; rule != nil && host != "" {
			return rule
		}
	}
	if addr.IsValid() {
		if rule := r.byNet[netip.PrefixFrom(addr, addr.BitLen())]; rule != nil {
			return rule
		}
	}
	if rule := r.byKey["="+host]; rule != nil && host != "" {
		return rule
	}
	if rule := r.matchNet(addr); rule != nil {
		return rule
	}
	if rule := r.matchName(host); rule != nil {
		return rule
	}
	return r.byKey[""]
}

func (r *Rules) matchNet(addr netip.Addr) *Rule {
	if !addr.IsValid() {
		return nil
	}
	lengths := r.lengths6
	if addr.Is4() {
		lengths = r.lengths4
	}
	for _, bits := range lengths {
		net, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if rule := r.byNet[net]; rule != nil {
			return rule
		}
	}
	return nil
}

// matchName looks for =.suffix, and at last for "=".
func (r *Rules) matchName(host string) *Rule {
	if host == "" {
		return nil
	}
	for i := range len(host) {
		if host[i] == '.' {
			if rule := r.byKey["="+host[i:]]; rule != nil {
				return rule
			}
		}
	}
	return r.byKey["="]
}
