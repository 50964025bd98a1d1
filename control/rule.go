package control

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Rule is a line of a rules file, the text that tcprules takes.
type Rule struct {
	// Address is whom it is for, as it was written.
	Address string

	// Allow says that such clients may connect.
	Allow bool

	// Variables are set for such clients, in the order of the line.
	Variables []Variable

	// File is the file's name below the home, Line where the rule stands.
	File string
	Line int
}

// Variable is a variable of a service's environment, with its value.
type Variable struct {
	Name, Value string
}

// ParseRule parses a line of a rules file, without line end:
//
//	address:allow[,VARIABLE=<q>value<q>]...
//	address:deny
//
// where <q> is any character. The address is not looked at here.
func ParseRule(line string) (*Rule, error) {
	at := instructionAt(line)
	if at < 0 {
		return nil, errors.New(`a rule is address:allow or address:deny`)
	}
	r := &Rule{Address: line[:at]}
	instruction, rest, more := strings.Cut(line[at+1:], ",")
	switch instruction {
	case "allow":
		r.Allow = true
	case "deny":
	default:
		return nil, fmt.Errorf("%.40q is neither allow nor deny", instruction)
	}
	for more {
		v, tail, err := cutVariable(rest)
		if err != nil {
			return nil, err
		}
		r.Variables = append(r.Variables, v)
		if tail == "" {
			break
		}
		if rest, more = strings.CutPrefix(tail, ","); !more {
			return nil, fmt.Errorf("a comma is missing behind the value of %s", v.Name)
		}
	}
	return r, nil
}

// instructionAt returns the index of the colon before allow or deny. Addresses
// may hold colons.
func instructionAt(line string) int {
	allow, deny := strings.Index(line, ":allow"), strings.Index(line, ":deny")
	if allow < 0 || deny >= 0 && deny < allow {
		return deny
	}
	return allow
}

// cutVariable cuts NAME=<q>value<q> from the start of s.
func cutVariable(s string) (v Variable, rest string, err error) {
	name, value, found := strings.Cut(s, "=")
	if !found || !validVariable(name) {
		return v, "", fmt.Errorf("%.40q does not begin with VARIABLE=", s)
	}
	if value == "" {
		return v, "", fmt.Errorf("%s has no value; an empty one is \"\"", name)
	}
	quote := value[:1]
	value, rest, found = strings.Cut(value[1:], quote)
	if !found {
		return v, "", fmt.Errorf("the value of %s has no %s at its end", name, quote)
	}
	return Variable{name, value}, rest, nil
}

func validVariable(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// maxRange bounds how many rules one line with ranges stands for.
const maxRange = 4096

// networks returns the networks that an address of a rule means, single
// addresses being networks too: 192.0.2.1, 10. (a prefix of octets), 1.2.3.4-7
// and 10.2-3. (ranges), 192.0.2.0/24, 2001:db8::1, 2001:db8:: (what begins so),
// fe80::/10.
func networks(address string) ([]netip.Prefix, error) {
	if strings.IndexByte(address, '/') >= 0 {
		prefix, err := netip.ParsePrefix(address)
		if err != nil {
			return nil, fmt.Errorf("%.60q is no network", address)
		}
		return []netip.Prefix{prefix.Masked()}, nil
	}
	if strings.IndexByte(address, ':') >= 0 {
		return network6(address)
	}
	return networks4(address)
}

func network6(address string) ([]netip.Prefix, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return nil, fmt.Errorf("%.60q is no address", address)
	}
	bits := 128
	if groups, found := strings.CutSuffix(address, "::"); found {
		bits = 0
		if groups != "" {
			bits = 16 * (strings.Count(groups, ":") + 1)
		}
	}
	return []netip.Prefix{netip.PrefixFrom(addr, bits).Masked()}, nil
}

func networks4(address string) ([]netip.Prefix, error) {
	text, open := strings.CutSuffix(address, ".")
	octets := strings.Split(text, ".")
	if len(octets) > 4 || open == (len(octets) == 4) {
		return nil, fmt.Errorf("%.60q is no address, and no prefix that ends with a dot", address)
	}
	found := [][4]byte{{}}
	for i, octet := range octets {
		first, last, err := octetRange(octet)
		if err != nil {
			return nil, fmt.Errorf("%.60q: %w", address, err)
		}
		var wider [][4]byte
		for _, have := range found {
			for n := first; n <= last; n++ {
				have[i] = byte(n)
				wider = append(wider, have)
			}
		}
		if found = wider; len(found) > maxRange {
			return nil, fmt.Errorf("%.60q stands for more than %d rules", address, maxRange)
		}
	}
	prefixes := make([]netip.Prefix, len(found))
	for i, have := range found {
		prefixes[i] = netip.PrefixFrom(netip.AddrFrom4(have), 8*len(octets))
	}
	return prefixes, nil
}

func octetRange(s string) (first, last int, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	a, err := strconv.ParseUint(from, 10, 8)
	b, err2 := strconv.ParseUint(to, 10, 8)
	if err != nil || err2 != nil || a > b {
		return 0, 0, fmt.Errorf("%.20q is no octet", s)
	}
	return int(a), int(b), nil
}
