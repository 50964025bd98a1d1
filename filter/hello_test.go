package filter_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// zone answers look-ups: names with an address, domains with exchangers, and
// names whose server does not answer.
type zone struct {
	addrs   map[string]bool
	mx      map[string][]string
	broken  map[string]bool
	queries int
}

func (z *zone) fail(name string) error {
	z.queries++
	if z.broken[name] {
		return errors.New("no answer")
	}
	return &net.DNSError{Name: name, Err: "no such host", IsNotFound: true}
}

func (z *zone) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if z.addrs[name] {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	}
	return nil, z.fail(name)
}

func (z *zone) LookupMX(_ context.Context, name string) (list []*net.MX, _ error) {
	for _, host := range z.mx[name] {
		list = append(list, &net.MX{Host: host, Pref: 10})
	}
	if list == nil {
		return nil, z.fail(name)
	}
	return list, nil
}

func TestBadHello(t *testing.T) {
	rules := rulesOf("localhost", "*.invalid", "[192.168.1.2]!", "myname.example.com", "exempt.test!", "*.UPPER.test")
	z := &zone{
		addrs:  map[string]bool{"h.example.org": true},
		mx:     map[string][]string{"example.org": {"h.example.org"}, "null.test": {"."}},
		broken: map[string]bool{"broken.test": true},
	}
	for _, test := range []struct {
		mode, host, hello string
		silent, relay     bool // no HELO at all; a relay client
		want              string
	}{
		// filter.md, 2
		{mode: ".", host: "h.example.org", silent: true, want: "no greeting"},
		{mode: ".", host: "h.example.org", want: "empty greeting"},
		{mode: ".", host: "h.example.org", hello: "LOCALHOST", want: "localhost"},
		{mode: ".", host: "h.example.org", hello: "x.invalid", want: "*.invalid"},
		{mode: ".", host: "h.example.org", hello: "[192.168.1.2]"},
		{mode: "", host: "h.example.org", silent: true},
		{mode: "=", host: "h.example.org", hello: "H.example.ORG"},
		{mode: "=", host: "h.example.org", hello: "other", want: "="},
		{mode: ".", host: "h.example.org", hello: "x.upper.TEST", want: "*.upper.test"},
		{mode: ".", host: "h.example.org", hello: "X.Invalid", want: "*.invalid"}, // REQ: the case of a domain does not matter
		{mode: ".", hello: "localhost", relay: true},
		{mode: ".", host: "h.example.org", hello: "localhost.", want: "localhost"}, // the same name
		{mode: "", host: "h.example.org", hello: "x.invalid..", want: "*.invalid"},
		{mode: ".", host: "h.example.org", hello: ".", want: "empty greeting"},

		{mode: "=", hello: "h.example.org", want: "="}, // the reverse name is not known
		{mode: "=", hello: "unknown"},
		{mode: "=", silent: true, want: "no greeting"},
		{mode: "", host: "h.example.org", hello: "localhost", want: "localhost"},
		{mode: "", host: "h.example.org", hello: "x.example.org"},
		{mode: "=", host: "h.example.org", hello: "exempt.test"},
		{mode: "!", host: "h.example.org", hello: "localhost"},
		{mode: "!", host: "h.example.org", want: "empty greeting"},
		{mode: "x", hello: "localhost"},
		{mode: "x", silent: true, want: "no greeting"},
		{mode: "yes", hello: "localhost", want: "localhost"},
		{mode: "A", hello: "h.example.org"},
		{mode: "A", hello: "nowhere.test", want: "A"},
		{mode: "A", hello: "exempt.test"},
		{mode: "A", hello: "x.invalid", want: "*.invalid"},
		{mode: "A", hello: "broken.test", want: "deferral"},
		{mode: "M", hello: "example.org"},
		{mode: "M", hello: "h.example.org"},
		{mode: "M", hello: "null.test", want: "M"},
		{mode: "M", hello: "broken.test", want: "deferral"},
	} {
		f := filter.NewBadHello(rules)
		f.Mode, f.Resolver = filter.ParseHelloMode(test.mode), z
		peer := &sqmail.Peer{Name: test.host, Hello: test.hello}
		chain := &filter.Chain{
			Filters:    []filter.Filter{f},
			NewSession: func(_ context.Context, s *filter.Session) error { s.Relayed = test.relay; return nil },
		}
		begun, _ := chain.BeginSession(t.Context(), peer)
		p := begun.(*filter.Policy)
		if !test.silent {
			if err := p.CheckHello(t.Context(), peer); err != nil {
				t.Errorf("the verdict fell at HELO: %v", err)
			}
		}
		env := new(sqmail.Envelope)
		p.CheckReversePath(t.Context(), peer, env)
		err := p.CheckRecipient(t.Context(), peer, env, new(sqmail.Recipient))
		got := p.Refusal().Rule
		if err != nil && sqmail.ClassOf(err) == sqmail.Deferral {
			got = "deferral"
		}
		if got != test.want || (err != nil) != (test.want != "") {
			t.Errorf("HELOCHECK %q, %q from %q: refused by %q (%v), want %q", test.mode, test.hello, test.host, got, err, test.want)
		}
	}
}

// A new HELO or EHLO is judged from scratch, and an empty name is held against
// the patterns like any other.
func TestHelloIsJudgedAnew(t *testing.T) {
	f := filter.NewBadHello(rulesOf("*", "!*.example.org", "gone.test!"))
	f.Mode, f.Resolver = filter.HelloMode{Address: true}, &zone{addrs: map[string]bool{"h.example.org": true}}
	peer := &sqmail.Peer{}
	begun, _ := chainOf(f).BeginSession(t.Context(), peer)
	p := begun.(*filter.Policy)
	for _, test := range []struct {
		hello string
		code  int
	}{{"", 550}, {"h.example.org", 250}, {"none.example.org", 550}, {"h.example.org", 250}, {"other.test", 550}, {"gone.test", 250}, {"", 550}} {
		peer.Hello = test.hello
		if err := p.CheckHello(t.Context(), peer); err != nil {
			t.Fatal(err)
		}
		env := new(sqmail.Envelope)
		p.CheckReversePath(t.Context(), peer, env)
		err := p.CheckRecipient(t.Context(), peer, env, new(sqmail.Recipient))
		if got := sqmail.ReplyFor(err).Code; got != test.code {
			t.Errorf("%q: %d, want %d", test.hello, got, test.code)
		}
	}
}

func TestSenderDomain(t *testing.T) {
	z := &zone{
		addrs:  map[string]bool{"a.test": true, "mx.test": true},
		mx:     map[string][]string{"m.test": {"mx.test"}, "many.test": slices.Repeat([]string{"gone.test"}, 11), "lame.test": {"gone.test"}, "null.test": {"."}, "half.test": {"broken.test", "mx.test"}},
		broken: map[string]bool{"broken.test": true, ".": true}, // nobody is to ask for the root (RFC 7505)
	}
	for _, test := range []struct {
		from string
		mail int // code at MAIL
		rcpt int
	}{
		{"u@a.test", 250, 250},
		{"u@m.test", 250, 250},
		{"u@half.test", 250, 250},
		{"u@gone.test", 250, 553},
		{"u@lame.test", 250, 553},
		{"u@null.test", 250, 553},
		{"u@many.test", 451, 451}, // only ten are looked up
		{"u@broken.test", 451, 451},
		{"u@[192.0.2.1]", 250, 250},
		{"u@[X-tag:data]", 250, 553},
		{"bare", 250, 553},
		{"", 250, 250},
		{"exempt@gone.test", 250, 250},
	} {
		f := &filter.SenderDomain{Resolver: z, Exempt: filter.NewBadMailFrom(rulesOf("?exempt@gone.test"), "").Exempt}
		begun, _ := chainOf(f).BeginSession(t.Context(), &sqmail.Peer{})
		p := begun.(*filter.Policy)
		env := &sqmail.Envelope{ReversePath: sqmail.PathOf(test.from)}
		mail := p.CheckReversePath(t.Context(), nil, env)
		before := z.queries
		rcpt := p.CheckRecipient(t.Context(), nil, env, new(sqmail.Recipient))
		if got := sqmail.ReplyFor(mail).Code; got != test.mail {
			t.Errorf("MAIL FROM %q: %d, want %d", test.from, got, test.mail)
		}
		if got := sqmail.ReplyFor(rcpt).Code; got != test.rcpt {
			t.Errorf("RCPT after MAIL FROM %q: %d, want %d", test.from, got, test.rcpt)
		}
		if z.queries != before {
			t.Errorf("%q was looked up again at RCPT", test.from)
		}
	}
}

func TestSenderDomainsOfRelayClientsAreNotLookedUp(t *testing.T) {
	z := new(zone)
	f := &filter.SenderDomain{Resolver: z}
	s := &filter.Session{Peer: &sqmail.Peer{User: "joe"}, Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("u@gone.test")}}
	for range 2 {
		v, err := f.Recipient(t.Context(), s, new(sqmail.Recipient))
		if v.Action != sqmail.ActionPass || err != nil || z.queries > 0 {
			t.Errorf("%+v, %v, after %d queries", v, err, z.queries)
		}
	}
}

func TestMaxRecipients(t *testing.T) {
	begun, _ := chainOf(filter.MaxRecipients(2)).BeginSession(t.Context(), &sqmail.Peer{})
	p := begun.(*filter.Policy)
	for range 2 { // transactions
		env := new(sqmail.Envelope)
		p.CheckReversePath(t.Context(), nil, env)
		for n, want := range []int{250, 250, 452, 452} {
			err := p.CheckRecipient(t.Context(), nil, env, new(sqmail.Recipient))
			if got := sqmail.ReplyFor(err).Code; got != want {
				t.Errorf("recipient %d: %d, want %d", n+1, got, want)
			}
		}
	}
}

// TestTarpitIsForStrangers: who authenticates after having guessed is none.
func TestTarpitIsForStrangers(t *testing.T) {
	f := &filter.Tarpit{Count: 1, Delay: time.Hour, Notorious: true}
	s := &filter.Session{Peer: &sqmail.Peer{User: "joe"}, Unknown: 5, Recipients: 5}
	v, err := f.Recipient(t.Context(), s, new(sqmail.Recipient))
	w, failed := f.Data(t.Context(), s)
	if v.Action != sqmail.ActionPass || w.Action != sqmail.ActionPass || err != nil || failed != nil {
		t.Errorf("%+v, %v; %+v, %v", v, err, w, failed)
	}
}

// unknown refuses recipients whose local part is "bad".
type unknown struct{}

func (unknown) Name() string { return "recipients" }
func (unknown) Recipient(_ context.Context, s *filter.Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	if to.Path.Local != "bad" {
		return sqmail.Verdict{}, nil
	}
	s.Unknown++
	return sqmail.Verdict{Action: sqmail.ActionReject, Reply: sqmail.Reply{Code: 550}}, nil
}

func TestTarpit(t *testing.T) {
	for _, test := range []struct {
		name      string
		tarpit    filter.Tarpit
		locals    []string
		codes     []int
		delays    []int // seconds
		dataCode  int
		dataClose bool
	}{
		// filter.md, 9
		{"many", filter.Tarpit{Count: 2, Delay: 5 * time.Second}, []string{"a", "b", "c"}, []int{250, 250, 250}, []int{0, 5, 5}, 250, false},
		{"guessing", filter.Tarpit{Count: 2}, []string{"bad", "bad", "a"}, []int{550, 550, 452}, []int{0, 0, 0}, 250, false},
		{"notorious", filter.Tarpit{Count: 2, Notorious: true}, []string{"a", "bad", "bad", "a"}, []int{250, 550, 550, 452}, []int{0, 0, 0, 0}, 503, true},
		{"notorious, no pause", filter.Tarpit{Count: 2, Delay: time.Second, Notorious: true}, []string{"a", "b", "c"}, []int{250, 250, 250}, []int{0, 0, 0}, 250, false},
		{"off", filter.Tarpit{Delay: 9 * time.Second}, []string{"a", "bad", "a"}, []int{250, 550, 250}, []int{0, 0, 0}, 250, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun, _ := chainOf(&test.tarpit, unknown{}).BeginSession(t.Context(), &sqmail.Peer{})
			p := begun.(*filter.Policy)
			env := new(sqmail.Envelope)
			p.CheckReversePath(t.Context(), nil, env)
			for i, local := range test.locals {
				start := time.Now()
				err := p.CheckRecipient(t.Context(), nil, env, &sqmail.Recipient{Path: sqmail.Path{Local: local, Domain: "x.test"}})
				if got := sqmail.ReplyFor(err).Code; got != test.codes[i] {
					t.Errorf("%s: recipient %d: %d, want %d", test.name, i+1, got, test.codes[i])
				}
				if got := time.Since(start); got != time.Duration(test.delays[i])*time.Second {
					t.Errorf("%s: recipient %d waited %v", test.name, i+1, got)
				}
			}
			err := p.CheckData(t.Context(), nil, env)
			e, _ := errors.AsType[*sqmail.Error](err)
			if got := sqmail.ReplyFor(err).Code; got != test.dataCode || (e != nil && e.Close) != test.dataClose {
				t.Errorf("%s: DATA: %v", test.name, err)
			}
		})
	}
}
