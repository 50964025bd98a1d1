package mailtest

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Zone is a DNS that knows what a test tells it: any number of domains,
// written as a zone file (RFC 1035, 5). A name without records does not exist;
// CNAMEs are followed, wildcards are expanded. The zero Zone is empty.
//
// It can be asked in three ways: by its Lookup methods, which have the shape
// of those of net.Resolver and need nothing else; as the Dialer of a DNS
// client ([Zone.DialContext]), so that the client itself is under test; and by
// UDP and TCP ([Zone.Start]).
type Zone struct {
	script script[*Trouble]

	mu      sync.Mutex
	records map[string][]dns.RR // by canonical name
	secure  []string
	asked   []string
}

// NewZone returns a Zone with the records of text. Names need no dot at the
// end, lines may be indented and so name their owner each, the TTL is 300 s if
// none is given:
//
//	example.org      MX  10 mx.example.org
//	mx.example.org   A   192.0.2.1
//
// An error in text ends the test.
func NewZone(t testing.TB, text string) *Zone {
	t.Helper()
	z := new(Zone)
	if err := z.Add(text); err != nil {
		t.Fatal(err)
	}
	return z
}

// indent would make a record one of the owner before.
var indent = regexp.MustCompile(`(?m)^[ \t]+`)

// Add adds the records of text. On an error it adds none.
func (z *Zone) Add(text string) error {
	parser := dns.NewZoneParser(strings.NewReader(indent.ReplaceAllString(text, "")), ".", "")
	parser.SetDefaultTTL(300)
	var all []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		all = append(all, rr)
	}
	if err := parser.Err(); err != nil {
		return err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.records == nil {
		z.records = make(map[string][]dns.RR)
	}
	for _, rr := range all {
		name := dns.CanonicalName(rr.Header().Name)
		z.records[name] = append(z.records[name], rr)
	}
	return nil
}

// Remove takes out all records of the names.
func (z *Zone) Remove(names ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, name := range names {
		delete(z.records, dns.CanonicalName(name))
	}
}

// Secure says that the domains, and all below them, are signed and validated:
// answers about them have the AD bit.
func (z *Zone) Secure(domains ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.secure = append(z.secure, domains...)
}

// Asked returns the questions so far, as "example.org MX".
func (z *Zone) Asked() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.asked)
}

// Any is the stage of every event: at a [Zone], every type of record.
const Any Stage = "*"

// Trouble is what goes wrong with a question.
type Trouble struct {
	mu sync.Mutex
	is trouble
}

// trouble is what a Trouble says.
type trouble struct {
	delay   time.Duration
	rcode   int // of RFC 1035, 4.1.1; 0: the true answer
	silence bool
}

// On begins a rule for questions about records of a type such as "MX", or
// [Any]. What it does is said by the methods of the Trouble; without them,
// nothing. Of several rules that apply the first one counts.
//
//	zone.On("MX", mailtest.For("example.org"), mailtest.First(2)).ServFail()
func (z *Zone) On(recordType Stage, conditions ...Condition) *Trouble {
	trouble := new(Trouble)
	z.script.add(recordType, conditions, trouble)
	return trouble
}

func (t *Trouble) set(change func(*trouble)) *Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.is)
	return t
}

func (t *Trouble) get() trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.is
}

// ServFail answers with SERVFAIL: a temporary error.
func (t *Trouble) ServFail() { t.set(func(t *trouble) { t.rcode = dns.RcodeServerFailure }) }

// NotFound answers that the name does not exist.
func (t *Trouble) NotFound() { t.set(func(t *trouble) { t.rcode = dns.RcodeNameError }) }

// Timeout leaves the question without an answer. A Lookup method fails when
// its context ends, or after ten seconds.
func (t *Trouble) Timeout() { t.set(func(t *trouble) { t.silence = true }) }

// Delay waits before the answer, or the trouble that follows it.
func (t *Trouble) Delay(wait time.Duration) *Trouble {
	return t.set(func(t *trouble) { t.delay = wait })
}

const lookupTimeout = 10 * time.Second

// answer is what a Zone says to one question.
type answer struct {
	rcode   int
	records []dns.RR
	soa     dns.RR
	secure  bool
	silence bool
}

// ask puts one question to the zone, script included. It fails only with
// ctx's error.
func (z *Zone) ask(ctx context.Context, name string, qtype uint16) (answer, error) {
	name = dns.CanonicalName(name)
	kind := dns.Type(qtype).String()
	bare := strings.TrimSuffix(name, ".")
	z.mu.Lock()
	z.asked = append(z.asked, bare+" "+kind)
	z.mu.Unlock()

	var is trouble
	if rule, found := z.script.find(Event{Stage: Stage(kind), Arg: bare, Time: time.Now()}); found {
		is = rule.get()
	}
	if err := pause(ctx, is.delay, nil); err != nil {
		return answer{}, err
	}
	if is.silence || is.rcode != dns.RcodeSuccess {
		return answer{silence: is.silence, rcode: is.rcode}, ctx.Err()
	}
	return z.find(name, qtype), ctx.Err()
}

// find follows aliases, up to eight, and collects the records on the way.
func (z *Zone) find(name string, qtype uint16) answer {
	z.mu.Lock()
	defer z.mu.Unlock()
	a := answer{secure: true}
	for range 8 {
		a.secure = a.secure && z.isSecure(name)
		a.soa = z.authority(name)
		own, exists := z.recordsOf(name)
		if !exists {
			a.rcode = dns.RcodeNameError
			return a
		}
		alias := ""
		for _, rr := range own {
			cname, isAlias := rr.(*dns.CNAME)
			if isAlias && qtype != dns.TypeCNAME {
				alias = dns.CanonicalName(cname.Target)
			}
			if rr.Header().Rrtype == qtype || alias != "" && isAlias {
				a.records = append(a.records, rr)
			}
		}
		if alias == "" {
			return a
		}
		name = alias
	}
	return answer{rcode: dns.RcodeServerFailure}
}

// recordsOf returns a name's own records, or those of the nearest wildcard,
// and whether the name exists at all (RFC 4592, 3.3.1).
func (z *Zone) recordsOf(name string) ([]dns.RR, bool) {
	if own, found := z.records[name]; found {
		return own, true
	}
	if z.exists(name) {
		return nil, true
	}
	for parent := range parents(name) {
		if !z.exists(parent) {
			continue
		}
		var own []dns.RR
		wild, found := z.records["*."+parent]
		for _, rr := range wild {
			rr = dns.Copy(rr)
			rr.Header().Name = name
			own = append(own, rr)
		}
		return own, found // what is above has no say any more
	}
	return nil, false
}

// exists reports whether there is a name, be it only for those below it.
func (z *Zone) exists(name string) bool {
	for other := range z.records {
		if dns.IsSubDomain(name, other) {
			return true
		}
	}
	return false
}

func (z *Zone) isSecure(name string) bool {
	return slices.ContainsFunc(z.secure, func(domain string) bool { return dns.IsSubDomain(dns.Fqdn(domain), name) })
}

// authority returns the SOA record above name, if the zone has one.
func (z *Zone) authority(name string) dns.RR {
	for {
		for _, rr := range z.records[name] {
			if rr.Header().Rrtype == dns.TypeSOA {
				return rr
			}
		}
		i, end := dns.NextLabel(name, 0)
		if end {
			return nil
		}
		name = name[i:]
	}
}

// parents yields the names above name, the nearest first.
func parents(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i, end := dns.NextLabel(name, 0); !end; i, end = dns.NextLabel(name, i) {
			if !yield(name[i:]) {
				return
			}
		}
	}
}
