package resolver

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Type is the type of a record (RFC 1035, 3.2.2).
type Type uint16

// The types that a mail host asks for.
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypePTR   Type = 12
	TypeMX    Type = 15
	TypeTXT   Type = 16
	TypeAAAA  Type = 28
	TypeTLSA  Type = 52
)

// String returns the type's name.
func (t Type) String() string { return dns.Type(t).String() }

// Answer is what the DNS says to one question. Of the fields from Addrs on
// only that of the type asked for is set. Names in it are absolute: they end
// in a dot.
type Answer struct {
	// Name is the name that owns the records: the one asked for, or the end
	// of a chain of aliases.
	Name string

	// Aliases are the names that led to Name, the one asked for first. Nil:
	// it is no alias.
	Aliases []string

	// Authenticated says that a server we trust in this has validated the
	// whole answer, aliases included (the AD bit; RFC 4035, 3.2.3).
	Authenticated bool

	Addrs []netip.Addr // A and AAAA, in the order of the answer
	MX    []*net.MX    // in the order of the answer; a null MX has the host "."
	TXT   []string     // the strings of each record joined
	Names []string     // NS, PTR and CNAME
	TLSA  []TLSA
}

// TLSA is a TLSA record (RFC 6698, 2.1).
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          string // hexadecimal
}

// question is what is asked: a name as toQuery makes it, and a type.
type question struct {
	name string
	t    Type
}

const (
	maxAliases = 10 // spec/remote.md 3

	maxTTL         = time.Hour
	maxNegativeTTL = 15 * time.Minute
	failureTTL     = 5 * time.Second // RFC 9520, 3.2
)

// A reading is what one response says about a question. If next is not "" it
// ends in an alias, and next is to be asked for.
type reading struct {
	answer   Answer
	ttl      time.Duration
	next     string
	notFound error // errNoSuchHost or ErrNoData
}

// read takes a response to q apart. Its code is NOERROR or NXDOMAIN.
func read(m *dns.Msg, q question) (reading, error) {
	r := reading{ttl: maxTTL}
	r.answer.Name = q.name
	for range maxAliases + 1 {
		found, alias := r.collect(m.Answer, q.t)
		if found {
			return r, nil
		}
		if alias == "" {
			r.end(m)
			return r, nil
		}
		r.answer.Aliases = append(r.answer.Aliases, r.answer.Name)
		r.answer.Name = alias
	}
	return reading{}, errTooDeep
}

// collect takes the records of type t that the current name owns, or else
// finds out what it is an alias of.
func (r *reading) collect(records []dns.RR, t Type) (found bool, alias string) {
	for _, rr := range records {
		h := rr.Header()
		if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, r.answer.Name) {
			continue
		}
		switch {
		case h.Rrtype == uint16(t):
			found = true
			r.answer.add(rr)
			r.limit(h.Ttl)
		case h.Rrtype == dns.TypeCNAME && alias == "":
			alias = strings.ToLower(rr.(*dns.CNAME).Target)
			r.limit(h.Ttl)
		}
	}
	return found, alias
}

func (r *reading) limit(ttl uint32) {
	r.ttl = min(r.ttl, time.Duration(ttl)*time.Second)
}

// end decides what it means that the current name has no records in m.
func (r *reading) end(m *dns.Msg) {
	soa := negativeTTL(m.Ns)
	switch {
	case m.Rcode == dns.RcodeNameError:
		r.notFound = errNoSuchHost
	case len(r.answer.Aliases) > 0 && soa < 0:
		// The server went no further: nothing is said of the last name.
		r.next = r.answer.Name
		return
	default:
		r.notFound = ErrNoData
	}
	r.ttl = min(r.ttl, maxNegativeTTL, max(soa, 0)) // no SOA: not kept (RFC 2308, 5)
}

// negativeTTL returns how long a denial holds (RFC 2308, 5), or -1.
func negativeTTL(authority []dns.RR) time.Duration {
	for _, rr := range authority {
		if soa, ok := rr.(*dns.SOA); ok {
			return time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
		}
	}
	return -1
}

// add takes a record of the type asked for. One that says nothing usable
// counts as found, but is left out.
func (a *Answer) add(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		a.addAddr(rr.A)
	case *dns.AAAA:
		a.addAddr(rr.AAAA)
	case *dns.MX:
		if rr.Mx == "." || isHost(rr.Mx) {
			a.MX = append(a.MX, &net.MX{Host: rr.Mx, Pref: rr.Preference})
		}
	case *dns.TXT:
		a.TXT = append(a.TXT, joinText(rr.Txt))
	case *dns.NS:
		a.addName(rr.Ns)
	case *dns.PTR:
		a.addName(rr.Ptr)
	case *dns.CNAME:
		a.addName(rr.Target)
	case *dns.TLSA:
		a.TLSA = append(a.TLSA, TLSA{rr.Usage, rr.Selector, rr.MatchingType, rr.Certificate})
	}
}

func (a *Answer) addAddr(ip net.IP) {
	if addr, ok := netip.AddrFromSlice(ip); ok {
		a.Addrs = append(a.Addrs, addr.Unmap())
	}
}

func (a *Answer) addName(name string) {
	if isHost(name) {
		a.Names = append(a.Names, name)
	}
}

// joinText undoes the escapes that the codec puts into strings, and joins
// them (RFC 7208, 3.3).
func joinText(parts []string) string {
	joined := strings.Join(parts, "")
	if !strings.Contains(joined, `\`) {
		return joined
	}
	var b strings.Builder
	for i := 0; i < len(joined); i++ {
		if joined[i] != '\\' || i+1 == len(joined) {
			b.WriteByte(joined[i])
			continue
		}
		if i+3 < len(joined) {
			if n, err := strconv.ParseUint(joined[i+1:i+4], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(joined[i])
	}
	return b.String()
}
