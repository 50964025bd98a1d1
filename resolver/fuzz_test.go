package resolver

import (
	"encoding/binary"
	"testing"

	"github.com/miekg/dns"
)

func seed(f *testing.F, records ...string) {
	m := new(dns.Msg)
	m.SetQuestion("a.test.", dns.TypeMX)
	m.Id, m.Response = 7, true
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	for _, t := range []Type{TypeMX, TypeTXT, TypeTLSA, TypePTR} {
		m.Question[0].Qtype = uint16(t)
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, uint16(t))
	}
}

// FuzzResponse takes any datagram for the answer to a query of ours.
func FuzzResponse(f *testing.F) {
	seed(f, "a.test. 300 IN MX 10 b.test.", "a.test. 300 IN MX 0 .")
	seed(f, `a.test. 300 IN TXT "\\ \" \000"`, "a.test. 300 IN PTR b.test.", "a.test. 300 IN TLSA 3 1 1 00ff")
	seed(f, "a.test. 300 IN CNAME b.test.", "b.test. 0 IN CNAME a.test.", "b.test. 5 IN MX 1 c.test.")
	f.Fuzz(func(t *testing.T, wire []byte, qtype uint16) {
		q := question{"a.test.", Type(qtype)}
		if len(wire) >= 2 {
			binary.BigEndian.PutUint16(wire, 7)
		}
		m := parse(wire, 7, q)
		if m == nil {
			return
		}
		if parse(wire, 8, q) != nil || parse(wire, 7, question{"b.test.", q.t}) != nil && len(m.Question) > 0 {
			t.Fatal("an answer to another query was taken")
		}
		r, err := read(m, q)
		if err != nil {
			return
		}
		if len(r.answer.Aliases) > maxAliases || r.ttl < 0 || r.ttl > maxTTL {
			t.Fatalf("out of bounds: %+v", r)
		}
		for _, mx := range r.answer.MX {
			if mx.Host != "." && !isHost(mx.Host) {
				t.Fatalf("MX host %q", mx.Host)
			}
		}
	})
}

// FuzzName takes any string for a name to be looked up.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a.test", "münchen.test", `a\@b.test`, "a..b", "xn--", "_25._tcp.a.test.", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := toQuery(s)
		if err != nil {
			return
		}
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		wire, err := m.Pack()
		if err != nil {
			t.Fatalf("%q makes %q, which cannot be packed: %v", s, name, err)
		}
		m.Response = true
		wire[2] |= 0x80
		if parse(wire, m.Id, question{name, TypeA}) == nil {
			t.Fatalf("%q makes %q, whose answer is not known again", s, name)
		}
	})
}
