package filter_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// lists answers for DNS lists: texts and addresses by name, "!" for a name
// whose server does not answer, "hang" for one that takes forever.
type lists struct {
	txt, a map[string]string

	mu      sync.Mutex
	queries []string
}

func (l *lists) find(ctx context.Context, in map[string]string, kind, name string) (string, error) {
	l.mu.Lock()
	l.queries = append(l.queries, kind+" "+name)
	l.mu.Unlock()
	switch got := in[name]; got {
	case "":
		return "", &net.DNSError{Name: name, Err: "no such host", IsNotFound: true}
	case "!":
		return "", errors.New("no answer")
	case "hang":
		<-ctx.Done()
		return "", ctx.Err()
	default:
		return got, nil
	}
}

func (l *lists) LookupTXT(ctx context.Context, name string) ([]string, error) {
	text, err := l.find(ctx, l.txt, "TXT", name)
	return []string{text}, err
}

func (l *lists) LookupNetIP(ctx context.Context, _, name string) ([]netip.Addr, error) {
	text, err := l.find(ctx, l.a, "A", name)
	if err != nil {
		return nil, err
	}
	return []netip.Addr{netip.MustParseAddr(text)}, nil
}

func peerAt(addr string) *sqmail.Peer {
	return &sqmail.Peer{Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 1)}
}

const nibbles = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"

func TestDNSLists(t *testing.T) {
	dns := &lists{
		txt: map[string]string{
			"9.2.0.192.bl.test":   "spam\r\nsource",
			nibbles + ".bl.test":  "v6",
			"8.2.0.192.bl.test":   "good and bad",
			"7.2.0.192.down.test": "!",
			"7.2.0.192.bl.test":   "listed behind",
			"6.2.0.192.bl.test":   "Error: open resolver",
			"5.2.0.192.bl.test":   "parked",
			"4.2.0.192.bl.test":   "with address",
		},
		a: map[string]string{
			"8.2.0.192.wl.test": "127.0.0.2", "7.2.0.192.wl.test": "!",
			"6.2.0.192.bl.test": "127.255.255.254", "5.2.0.192.bl.test": "198.51.100.1", "4.2.0.192.bl.test": "127.0.0.4",
		},
	}
	bl, wl, down := filter.DNSList{Base: "bl.test"}, filter.DNSList{Base: "wl.test", Allow: true}, filter.DNSList{Base: "down.test"}
	for _, test := range []struct {
		name  string
		f     filter.DNSLists
		addr  string
		vars  map[string]string
		relay bool
		want  string // of the answer to RCPT; "" lets in
	}{
		{name: "listed", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "192.0.2.9", want: "451 4.7.1 spam  source"},
		{name: "-b", f: filter.DNSLists{Lists: []filter.DNSList{bl}, Reject: true}, addr: "192.0.2.9", want: "553 5.7.1 spam"},
		{name: "IPv4 mapped", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "::ffff:192.0.2.9", want: "451 4.7.1 spam"},
		{name: "IPv6", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "2001:db8::5", want: "451 4.7.1 v6"},
		{name: "not listed", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "192.0.2.1"},
		{name: "listed, with an address", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "192.0.2.4", want: "451 4.7.1 with address"},
		{name: "allow list first", f: filter.DNSLists{Lists: []filter.DNSList{wl, bl}}, addr: "192.0.2.8"},
		{name: "allow list behind", f: filter.DNSLists{Lists: []filter.DNSList{bl, wl}}, addr: "192.0.2.8", want: "451 4.7.1 good and bad"},
		{name: "-C", f: filter.DNSLists{Lists: []filter.DNSList{down}}, addr: "192.0.2.7"},
		{name: "-C goes on", f: filter.DNSLists{Lists: []filter.DNSList{down, bl}}, addr: "192.0.2.7", want: "451 4.7.1 listed behind"},
		{name: "-c", f: filter.DNSLists{Lists: []filter.DNSList{down, bl}, FailClosed: true, Reject: true}, addr: "192.0.2.7", want: "451 4.7.1 temporary failure of a list"},
		{name: "-c, allow list", f: filter.DNSLists{Lists: []filter.DNSList{wl}, FailClosed: true}, addr: "192.0.2.7", want: "451 4.7.1 temporary failure of a list"},
		{name: "refused query", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "192.0.2.6"},
		{name: "parked domain", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "192.0.2.5"},
		{name: "RBLSMTPD empty", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "192.0.2.9", vars: map[string]string{"RBLSMTPD": ""}},
		{name: "RBLSMTPD", f: filter.DNSLists{}, addr: "192.0.2.1", vars: map[string]string{"RBLSMTPD": "go away"}, want: "451 4.7.1 go away"},
		{name: "RBLSMTPD -", f: filter.DNSLists{}, addr: "192.0.2.1", vars: map[string]string{"RBLSMTPD": "-go away"}, want: "553 5.7.1 go away"},
		{name: "relay client", f: filter.DNSLists{Lists: []filter.DNSList{bl}}, addr: "192.0.2.9", relay: true},
		{name: "text", f: filter.DNSLists{Lists: []filter.DNSList{{Base: "bl.test", Text: "see l.test/%IP%"}}}, addr: "192.0.2.4", want: "451 4.7.1 see l.test/192.0.2.4"},
		{name: "text, TXT alone", f: filter.DNSLists{Lists: []filter.DNSList{{Base: "bl.test", Text: "x"}}}, addr: "192.0.2.9"},
		{name: "text, refused query", f: filter.DNSLists{Lists: []filter.DNSList{{Base: "bl.test", Text: "x"}}}, addr: "192.0.2.6"},
		{name: "text, refused query, -c", f: filter.DNSLists{Lists: []filter.DNSList{{Base: "bl.test", Text: "x"}}, FailClosed: true}, addr: "192.0.2.6", want: "451 4.7.1 temporary failure of a list"},
		{name: "-b of one list", f: filter.DNSLists{Lists: []filter.DNSList{{Base: "bl.test", Reject: true}}}, addr: "192.0.2.9", want: "553 5.7.1 spam"},
		{name: "-i", f: filter.DNSLists{Lists: []filter.DNSList{bl}, TagOnly: true}, addr: "192.0.2.9"},
	} {
		test.f.Resolver = dns
		env, err := rcptOf(t, &test.f, peerAt(test.addr), test.vars, test.relay)
		got := ""
		if err != nil {
			got = sqmail.ReplyFor(err).String()
		}
		if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if test.f.TagOnly && string(env.Header) != "X-RBL-Info: spam  source\n" {
			t.Errorf("%s: header %q", test.name, env.Header)
		}
	}
}

// What X-RBL-Info says (smtpd.md, 7.3).
func TestRBLInfo(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"Blocked - see x.test", "X-RBL-Info: Blocked - see x.test\n"},
		{"[192.0.2.9] listed at x.test", "X-RBL-Info: listed at x.test\n"},
		{"-[192.0.2.9]:listed_(twice)", "X-RBL-Info: listed??twice?\n"},
		{"listed [192.0.2.9]", "X-RBL-Info: listed ?192.0.2.9?\n"},
		{"x\r\nEvil: yes", "X-RBL-Info: x  Evil: yes\n"},
		{"", ""},
		{"-", ""},
	} {
		env, err := rcptOf(t, &filter.DNSLists{TagOnly: true}, peerAt("192.0.2.9"), map[string]string{"RBLSMTPD": test.text}, false)
		if got := string(env.Header); got != test.want || err != nil {
			t.Errorf("%q: %q, %v, want %q", test.text, got, err, test.want)
		}
	}
}

// rcptOf runs a session as far as a recipient.
func rcptOf(t *testing.T, f filter.Filter, peer *sqmail.Peer, vars map[string]string, relay bool) (*sqmail.Envelope, error) {
	t.Helper()
	chain := &filter.Chain{Filters: []filter.Filter{f, anybody{}}, NewSession: func(_ context.Context, s *filter.Session) error {
		s.Vars, s.Relayed = vars, relay
		return nil
	}}
	begun, _ := chain.BeginSession(t.Context(), peer)
	p := begun.(*filter.Policy)
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("a@b.test")}
	if err := p.CheckConnect(t.Context(), peer); err != nil {
		return env, err
	}
	if err := p.CheckReversePath(t.Context(), peer, env); err != nil {
		return env, err
	}
	return env, p.CheckRecipient(t.Context(), peer, env, &sqmail.Recipient{Path: sqmail.PathOf("c@d.test")})
}

func TestDNSListsAtConnect(t *testing.T) {
	dns := &lists{txt: map[string]string{"9.2.0.192.bl.test": "spam"}}
	for reject, want := range map[bool]int{true: 554, false: 421} {
		f := &filter.DNSLists{Lists: []filter.DNSList{{Base: "bl.test"}}, Resolver: dns, AtConnect: true, Reject: reject}
		v, err := f.Connect(t.Context(), &filter.Session{Peer: peerAt("192.0.2.9")})
		if err != nil || sqmail.ReplyFor(v.Err()).Code != want {
			t.Errorf("%v, %v", v, err)
		}
		v, err = f.Connect(t.Context(), &filter.Session{Peer: peerAt("192.0.2.9"), Relayed: true})
		if err != nil || v.Action != sqmail.ActionPass {
			t.Errorf("relay client: %v, %v", v, err)
		}
	}
}

func TestDNSListsAreAskedOnceAndAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &lists{txt: map[string]string{}}
		f := &filter.DNSLists{Resolver: dns, FailClosed: true}
		for i := range 40 {
			base := fmt.Sprintf("l%d.test", i)
			f.Lists = append(f.Lists, filter.DNSList{Base: base})
			dns.txt["9.2.0.192."+base] = "hang"
		}
		dns.txt["9.2.0.192.l0.test"] = "listed"
		s := &filter.Session{Peer: peerAt("192.0.2.9"), Envelope: new(sqmail.Envelope)}
		start := time.Now()
		for range 3 {
			v, err := f.Recipient(t.Context(), s, new(sqmail.Recipient))
			if v.Action != sqmail.ActionDefer || v.Rule != "l0.test" || err != nil {
				t.Errorf("%+v, %v", v, err)
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("the first list had answered, the others held it up for %v", took)
		}
		if len(dns.queries) > 41 {
			t.Errorf("%d queries", len(dns.queries))
		}
		f.Lists[0].Base = "none.test"
		s = &filter.Session{Peer: peerAt("192.0.2.9"), Envelope: new(sqmail.Envelope)}
		v, err := f.Recipient(t.Context(), s, new(sqmail.Recipient))
		if v.Action != sqmail.ActionDefer || err != nil || time.Since(start) != 15*time.Second {
			t.Errorf("%+v, %v after %v", v, err, time.Since(start))
		}
	})
}

func TestDNSListsEndWithTheSession(t *testing.T) {
	dns := &lists{txt: map[string]string{"9.2.0.192.l.test": "hang"}}
	f := &filter.DNSLists{Resolver: dns, Lists: []filter.DNSList{{Base: "l.test"}}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v, err := f.Recipient(ctx, &filter.Session{Peer: peerAt("192.0.2.9"), Envelope: new(sqmail.Envelope)}, new(sqmail.Recipient))
	if v.Action != sqmail.ActionPass || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", v, err)
	}
}
