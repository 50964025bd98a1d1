package filter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/mailtest"
)

// lived leads a session through a chain as a server does, and returns its
// story.
func lived(t testing.TB, c *filter.Chain, peer sqmail.Peer, from string, to ...string) *sqmail.Trace {
	t.Helper()
	ctx := t.Context()
	peer.Trace = new(sqmail.Trace)
	tell := func(stage, input string, check func() error) bool {
		peer.Trace.Begin(stage, input)
		err := check()
		r := sqmail.Reply{}
		if err != nil {
			r = sqmail.ReplyFor(err)
		}
		peer.Trace.End(r)
		return err == nil
	}
	p, err := c.BeginSession(ctx, &peer)
	if err != nil {
		t.Fatal(err)
	}
	policy, env := p.(*filter.Policy), &sqmail.Envelope{ReversePath: sqmail.PathOf(from), Peer: &peer}
	ok := tell("connect", peer.Remote.Addr().String(), func() error { return policy.CheckConnect(ctx, &peer) }) &&
		tell("hello", peer.Hello, func() error { return policy.CheckHello(ctx, &peer) }) &&
		tell("reverse-path", from, func() error { return policy.CheckReversePath(ctx, &peer, env) })
	for _, a := range to {
		r := &sqmail.Recipient{Path: sqmail.PathOf(a)}
		if ok && tell("recipient", a, func() error { return policy.CheckRecipient(ctx, &peer, env, r) }) {
			env.Recipients = append(env.Recipients, *r)
		}
	}
	if len(env.Recipients) > 0 && tell("data", "", func() error { return policy.CheckData(ctx, &peer, env) }) {
		tell("body", "", func() error {
			_, err := bytes.NewBuffer(nil).ReadFrom(policy.FilterBody(ctx, &peer, env, strings.NewReader("Subject: x\n\nhello\n")))
			return err
		})
	}
	return peer.Trace.Ended(&peer, env)
}

var unknownClient = sqmail.Peer{Session: "s1", Remote: netip.MustParseAddrPort("192.0.2.7:1234"), Hello: "client.test"}

func hosts(line int, names ...string) *filter.RcptHosts {
	var rules []filter.Rule
	for i, n := range names {
		rules = append(rules, filter.Rule{Text: n, File: "control/rcpthosts", Line: line + i})
	}
	return &filter.RcptHosts{Domains: filter.NewList(rules)}
}

func ExampleChain_Replay() {
	// Of a log, by filter.LogReader.
	t := &sqmail.Trace{Remote: netip.MustParseAddrPort("192.0.2.7:1234"), Steps: []sqmail.Step{
		{Stage: sqmail.StageConnect, Reply: sqmail.Reply{Code: 250}},
		{Stage: sqmail.StageReversePath, Input: "evil@x.test", Reply: sqmail.Reply{Code: 250}},
		{Stage: sqmail.StageRecipient, Input: "joe@example.org", Reply: sqmail.Reply{Code: 250}},
	}}
	chain := &filter.Chain{Filters: []filter.Filter{
		&filter.RcptHosts{Domains: filter.ListOf("example.org")},
		filter.NewBadMailFrom([]filter.Rule{{Text: "evil@*", File: "badmailfrom", Line: 2}}, ""),
	}}
	done, _ := chain.Replay(context.Background(), t, filter.Limits{})
	for _, c := range done.Changes {
		v := c.New.Decided()
		fmt.Println(c.New.Input, c.Old.Reply.Code, "->", c.New.Reply.Code, v.Filter, v.Rule, v.File, v.Line)
	}
	// Output:
	// joe@example.org 250 -> 553 badmailfrom evil@* badmailfrom 2
}

func TestReplayTellsWhatHasChanged(t *testing.T) {
	old := &filter.Chain{Filters: []filter.Filter{hosts(1, "example.org"), filter.NewBadRcptTo([]filter.Rule{{Text: "bob@example.org", File: "control/badrcptto", Line: 1}}, "")}}
	tr := lived(t, old, unknownClient, "a@client.test", "joe@example.org", "bob@example.org", "x@example.net")
	for _, test := range []struct {
		name           string
		filters        []filter.Filter
		limits         filter.Limits
		changes, moved []string // recipient: old code, new code, filter
	}{
		{name: "the same", filters: old.Filters},
		{name: "another line", filters: []filter.Filter{hosts(7, "example.org"), old.Filters[1]}},
		{name: "a domain more", filters: []filter.Filter{hosts(1, "example.org", "example.net"), old.Filters[1]},
			changes: []string{"recipient x@example.net 553 250 rcpthosts"}},
		{name: "none", filters: []filter.Filter{hosts(1), old.Filters[1]},
			changes: []string{"recipient joe@example.org 250 553 rcpthosts"}, moved: []string{"recipient bob@example.org badrcptto rcpthosts"}},
		{name: "limit", filters: old.Filters, limits: filter.Limits{MaxRecipients: 1},
			changes: []string{"recipient bob@example.org 553 452 maxrecipients", "recipient x@example.net 553 452 maxrecipients"}},
		{name: "TLS", filters: old.Filters, limits: filter.Limits{NeedTLS: true}, changes: []string{"reverse-path a@client.test 250 530 starttls"}},
		{name: "AUTH", filters: old.Filters, limits: filter.Limits{NeedAuth: true}, changes: []string{"reverse-path a@client.test 250 530 auth"}},
		{name: "nobody", filters: []filter.Filter{&filter.ConnectionRule{Deny: true}}, changes: []string{"connect 192.0.2.7 250 554 rules"}},
	} {
		done, err := (&filter.Chain{Filters: test.filters}).Replay(t.Context(), tr, test.limits)
		if err != nil {
			t.Fatal(err)
		}
		var changes, moved []string
		for _, c := range done.Changes {
			changes = append(changes, fmt.Sprint(c.New.Stage, " ", c.New.Input, " ", c.Old.Reply.Code, " ", c.New.Reply.Code, " ", c.New.Decided().Filter))
		}
		for _, c := range done.Moved {
			moved = append(moved, fmt.Sprint(c.New.Stage, " ", c.New.Input, " ", c.Old.Decided().Filter, " ", c.New.Decided().Filter))
		}
		if !slices.Equal(changes, test.changes) || !slices.Equal(moved, test.moved) || len(done.Unknown) > 0 {
			t.Errorf("%s: changes %q, moved %q, unknown %q", test.name, changes, moved, done.Unknown)
		}
	}
}

// asked counts who is asked.
type asked struct {
	filter.DNS
	n int
}

func (a *asked) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a.n++
	return a.DNS.LookupMX(ctx, name)
}

func (a *asked) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	a.n++
	return a.DNS.LookupNetIP(ctx, network, host)
}

func TestReplayAsksNobody(t *testing.T) {
	zone := mailtest.NewZone(t, "client.test MX 10 mx.client.test\nmx.client.test A 192.0.2.9\n")
	zone.On(mailtest.Any, mailtest.For("broken.test")).ServFail()
	dns := &asked{DNS: zone}
	chain := func(text string) *filter.Chain {
		return &filter.Chain{Filters: []filter.Filter{&filter.SenderDomain{Resolver: filter.RecordDNS(dns), Text: text}, hosts(1, "example.org")}}
	}
	for from, want := range map[string]int{"a@client.test": 250, "a@none.test": 553, "a@broken.test": 451, "": 250} {
		tr := lived(t, chain(""), unknownClient, from, "joe@example.org")
		dns.n = 0
		done, err := chain("call us").Replay(t.Context(), tr, filter.Limits{})
		if err != nil || dns.n > 0 || len(done.Changes)+len(done.Unknown) > 0 {
			t.Errorf("%q: %+v, %d questions, %v", from, done, dns.n, err)
			continue
		}
		if last := done.Steps[min(3, len(done.Steps)-1)]; last.Reply.Code != want || want == 553 && !strings.Contains(last.Reply.Text, "call us") {
			t.Errorf("%q: %+v", from, last)
		}
	}
	// A rule that asks what nobody had asked.
	tr := lived(t, &filter.Chain{Filters: []filter.Filter{hosts(1, "example.org")}}, unknownClient, "a@client.test", "joe@example.org")
	done, err := chain("").Replay(t.Context(), tr, filter.Limits{})
	if err != nil || len(done.Changes) > 0 || !slices.Equal(done.Unknown, []string{"MX client.test"}) || dns.n > 0 {
		t.Errorf("%+v, %d questions, %v", done, dns.n, err)
	}
}

func TestRecordedDNSIsTheDNS(t *testing.T) {
	zone := mailtest.NewZone(t, "a.test MX 10 b.test\na.test MX 20 c.test\na.test TXT \"x y\"\na.test A 192.0.2.1\na.test AAAA 2001:db8::1\n1.2.0.192.in-addr.arpa PTR a.test\n")
	zone.On(mailtest.Any, mailtest.For("broken.test")).ServFail()
	look := func(ctx context.Context, dns filter.DNS) (answers []string) {
		for _, name := range []string{"a.test", "A.TEST", "none.test", "broken.test"} {
			mx, err := dns.LookupMX(ctx, name)
			for _, m := range mx {
				answers = append(answers, m.Host, fmt.Sprint(m.Pref))
			}
			answers = append(answers, kind(err))
			ips, err := dns.LookupNetIP(ctx, "ip", name)
			answers = append(answers, fmt.Sprint(ips), kind(err))
			ips, err = dns.LookupNetIP(ctx, "ip4", name)
			answers = append(answers, fmt.Sprint(ips), kind(err))
			texts, err := dns.LookupTXT(ctx, name)
			answers = append(answers, fmt.Sprintf("%q", texts), kind(err))
		}
		ptr, err := dns.(interface {
			LookupAddr(context.Context, string) ([]string, error)
		}).LookupAddr(ctx, "192.0.2.1")
		return append(answers, fmt.Sprint(ptr), kind(err))
	}
	want := look(t.Context(), zone)
	recorded := filter.RecordDNS(zone)
	if got := look(t.Context(), recorded); !slices.Equal(got, want) {
		t.Errorf("without a session: %q", got)
	}
	var live, again []string
	f := &whileConnecting{func(ctx context.Context) { live = look(ctx, recorded) }}
	tr := lived(t, &filter.Chain{Filters: []filter.Filter{f}}, unknownClient, "")
	f.f = func(ctx context.Context) { again = look(ctx, filter.RecordDNS(mailtest.NewZone(t, ""))) }
	if _, err := (&filter.Chain{Filters: []filter.Filter{f}}).Replay(t.Context(), tr, filter.Limits{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(live, want) || !slices.Equal(again, want) {
		t.Errorf("want  %q\nlive  %q\nagain %q", want, live, again)
	}
	if filter.RecordDNS(nil) != nil {
		t.Error("nothing is something")
	}
}

func kind(err error) string {
	dns := new(net.DNSError)
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "not found"
	case errors.Is(err, filter.ErrNotRecorded):
		return "not recorded"
	}
	return "temporary"
}

type whileConnecting struct{ f func(context.Context) }

func (f *whileConnecting) Name() string { return "looking" }
func (f *whileConnecting) Connect(ctx context.Context, _ *filter.Session) (sqmail.Verdict, error) {
	f.f(ctx)
	return sqmail.Verdict{}, nil
}

// daemonFilter is a filter that asks a daemon, at two stages.
type daemonFilter struct {
	where  string
	answer sqmail.Verdict
	err    error
	asked  int
}

func (f *daemonFilter) Name() string { return "daemon" }
func (f *daemonFilter) Asks(s *filter.Session) string {
	if s.RelayClient() {
		return ""
	}
	return f.where
}
func (f *daemonFilter) Recipient(_ context.Context, s *filter.Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	if s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	f.asked++
	return f.answer, f.err
}
func (f *daemonFilter) Body(context.Context, *filter.Session) (filter.Scanner, error) { return f, nil }
func (f *daemonFilter) Write(p []byte) (int, error)                                   { return len(p), nil }
func (f *daemonFilter) End() (sqmail.Verdict, error)                                  { f.asked++; return f.answer, f.err }
func (f *daemonFilter) Close()                                                        {}

func TestReplayRecallsWhatDaemonsSaid(t *testing.T) {
	reject := sqmail.Verdict{Action: sqmail.ActionReject, Rule: "virus", Reply: sqmail.Reply{Code: 554, Text: "no"}}
	for _, f := range []*daemonFilter{{where: "d1", answer: reject}, {where: "d1"}, {where: "d1", err: errors.New("down")}} {
		tr := lived(t, &filter.Chain{Filters: []filter.Filter{hosts(1, "example.org"), f}}, unknownClient, "", "joe@example.org")
		f.asked = 0
		same, err := (&filter.Chain{Filters: []filter.Filter{f, hosts(1, "example.org")}}).Replay(t.Context(), tr, filter.Limits{})
		if err != nil || f.asked > 0 || len(same.Changes)+len(same.Unknown)+len(same.Moved) > 0 {
			t.Errorf("the same: %+v, asked %d, %v", same, f.asked, err)
		}
		f.where = "d2"
		other, err := (&filter.Chain{Filters: []filter.Filter{f}}).Replay(t.Context(), tr, filter.Limits{})
		if err != nil || f.asked > 0 || len(other.Unknown) == 0 {
			t.Errorf("another daemon: %+v, asked %d, %v", other, f.asked, err)
		}
	}
}

func TestDryRunsLeaveNoTrace(t *testing.T) {
	store := &fakeStore{records: map[string]filter.GreyRecord{}}
	chain := &filter.Chain{Filters: []filter.Filter{&filter.Greylist{Store: store}}}
	steps, err := chain.Explain(t.Context(), &filter.Facts{Peer: &unknownClient, To: []sqmail.Path{sqmail.PathOf("a@b.test")}})
	last := steps[len(steps)-1]
	if err != nil || last.Reply.Code != 450 || len(store.records) > 0 {
		t.Errorf("%+v, %v, %v", last, store.records, err)
	}
	store.err = errors.New("locked by the daemon")
	steps, _ = chain.Explain(t.Context(), &filter.Facts{Peer: &unknownClient, To: []sqmail.Path{sqmail.PathOf("a@b.test")}})
	if v := steps[3].Verdicts[0]; v.Rule != "would ask the greylist" || v.Action != sqmail.ActionPass {
		t.Errorf("%+v", v)
	}
}

type fakeStore struct {
	records map[string]filter.GreyRecord
	err     error
}

func (s *fakeStore) Update(_ context.Context, key string, f func(filter.GreyRecord) filter.GreyRecord) error {
	if s.err != nil {
		return s.err
	}
	if is, was := f(s.records[key]), s.records[key]; is != was {
		s.records[key] = is
	}
	return nil
}

func TestEnvelopeHasRoomForSoManyVerdicts(t *testing.T) {
	chain := &filter.Chain{Filters: []filter.Filter{hosts(1, "example.org")}}
	begun, err := chain.BeginSession(t.Context(), &unknownClient)
	if err != nil {
		t.Fatal(err)
	}
	p, env := begun.(*filter.Policy), new(sqmail.Envelope)
	if err := p.CheckReversePath(t.Context(), &unknownClient, env); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := p.CheckRecipient(t.Context(), &unknownClient, env, &sqmail.Recipient{Path: sqmail.PathOf("a@example.org")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(env.Verdicts); n != 100 || env.Verdicts[99].Rule != "further verdicts: 901" {
		t.Errorf("%d verdicts, the last %+v", n, env.Verdicts[n-1])
	}
}

func TestReplayRefusesWhatIsNoStory(t *testing.T) {
	for _, tr := range []*sqmail.Trace{
		{},
		{Steps: []sqmail.Step{{Stage: "end"}}},
		{Steps: []sqmail.Step{{Stage: "recipient", Input: "@@"}}},
	} {
		if done, err := new(filter.Chain).Replay(t.Context(), tr, filter.Limits{}); err == nil {
			t.Errorf("%+v: %+v", tr, done)
		}
	}
}
