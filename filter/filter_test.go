package filter_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

func Example() {
	chain := &filter.Chain{Filters: []filter.Filter{
		&filter.RcptHosts{Domains: filter.ListOf("example.org", ".example.org")},
	}}
	policy, err := chain.BeginSession(context.Background(), &sqmail.Peer{})
	if err != nil {
		panic(err)
	}
	env := new(sqmail.Envelope)
	for _, to := range []string{"joe@example.org", "sue@lists.example.org", "bob@example.net"} {
		r := &sqmail.Recipient{Path: sqmail.PathOf(to)}
		err := policy.CheckRecipient(context.Background(), &sqmail.Peer{}, env, r)
		fmt.Println(to, sqmail.ReplyFor(err).Code)
	}
	// Output:
	// joe@example.org 250
	// sue@lists.example.org 250
	// bob@example.net 553
}

// stub is a filter for every stage.
type stub struct {
	name    string
	verdict sqmail.Verdict
	err     error
	asked   []string
	seen    bytes.Buffer
	closed  int
}

func (f *stub) Name() string { return f.name }

func (f *stub) answer(stage string) (sqmail.Verdict, error) {
	f.asked = append(f.asked, stage)
	return f.verdict, f.err
}

func (f *stub) Connect(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.answer("connect")
}
func (f *stub) Hello(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.answer("hello")
}
func (f *stub) ReversePath(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.answer("reverse-path")
}
func (f *stub) Recipient(context.Context, *filter.Session, *sqmail.Recipient) (sqmail.Verdict, error) {
	return f.answer("recipient")
}
func (f *stub) Data(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.answer("data")
}
func (f *stub) Body(context.Context, *filter.Session) (filter.Scanner, error) { return f, nil }
func (f *stub) Write(p []byte) (int, error)                                   { return f.seen.Write(p) }
func (f *stub) End() (sqmail.Verdict, error)                                  { return f.answer("body") }
func (f *stub) Close()                                                        { f.closed++ }

// anybody relays for everybody, in tests that are about something else.
type anybody struct{}

func (anybody) Name() string  { return "anybody" }
func (anybody) DecidesRelay() {}
func (anybody) Recipient(context.Context, *filter.Session, *sqmail.Recipient) (sqmail.Verdict, error) {
	return sqmail.Verdict{}, nil
}

// chainOf is a chain that relays for everybody.
func chainOf(filters ...filter.Filter) *filter.Chain {
	return &filter.Chain{Filters: append(filters, anybody{})}
}

// TestChainRelaysForNobody: unless a filter says for whom, or the client may.
func TestChainRelaysForNobody(t *testing.T) {
	stranger, user := sqmail.Peer{}, sqmail.Peer{User: "joe"}
	accepts := &stub{name: "a", verdict: sqmail.Verdict{Action: sqmail.ActionAccept}}
	for _, test := range []struct {
		rule  string
		chain *filter.Chain
		peer  sqmail.Peer
		to    string
		code  int
	}{
		{"no filter", new(filter.Chain), stranger, "u@example.com", 553},
		{"none that says for whom", &filter.Chain{Filters: []filter.Filter{filter.MaxRecipients(9), &stub{name: "a"}}}, stranger, "u@example.com", 553},
		{"no filter, relay client", new(filter.Chain), user, "u@example.com", 250},
		{"no filter, a recipient of ours", new(filter.Chain), stranger, "postmaster", 250},
		{"a filter accepts", &filter.Chain{Filters: []filter.Filter{accepts}}, stranger, "u@example.com", 250},
		{"a filter of the embedder says for whom", chainOf(), stranger, "u@example.com", 250},
		{"RcptHosts", &filter.Chain{Filters: []filter.Filter{&filter.RcptHosts{Domains: filter.ListOf("example.com")}}}, stranger, "u@example.com", 250},
	} {
		begun, err := test.chain.BeginSession(t.Context(), &test.peer)
		if err != nil {
			t.Fatal(err)
		}
		p, env := begun.(*filter.Policy), new(sqmail.Envelope)
		err = p.CheckReversePath(t.Context(), &test.peer, env)
		if err == nil {
			err = p.CheckRecipient(t.Context(), &test.peer, env, &sqmail.Recipient{Path: sqmail.PathOf(test.to)})
		}
		if code := sqmail.ReplyFor(err).Code; code != test.code {
			t.Errorf("%s: %d, want %d", test.rule, code, test.code)
		}
	}
}

// dialogue runs a whole transaction through a chain, and returns the first
// refusal.
func dialogue(t *testing.T, c *filter.Chain, env *sqmail.Envelope, message string) error {
	t.Helper()
	ctx, peer := t.Context(), &sqmail.Peer{}
	begun, err := c.BeginSession(ctx, peer)
	if err != nil {
		return err
	}
	p := begun.(*filter.Policy)
	steps := []func() error{
		func() error { return p.CheckConnect(ctx, peer) },
		func() error { return p.CheckHello(ctx, peer) },
		func() error { return p.CheckReversePath(ctx, peer, env) },
		func() error { return p.CheckRecipient(ctx, peer, env, new(sqmail.Recipient)) },
		func() error { return p.CheckData(ctx, peer, env) },
		func() error {
			r := p.FilterBody(ctx, peer, env, strings.NewReader(message))
			if c, ok := r.(io.Closer); ok {
				defer c.Close()
			}
			_, err := io.Copy(io.Discard, r)
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func TestEveryStageIsAskedInOrder(t *testing.T) {
	a, b := &stub{name: "a"}, &stub{name: "b"}
	if err := dialogue(t, &filter.Chain{Filters: []filter.Filter{a, b}}, new(sqmail.Envelope), "x\n"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*stub{a, b} {
		if got := strings.Join(f.asked, " "); got != "connect hello reverse-path recipient data body" {
			t.Errorf("%s was asked at %s", f.name, got)
		}
		if f.seen.String() != "x\n" || f.closed != 1 {
			t.Errorf("%s saw %q and was closed %d times", f.name, &f.seen, f.closed)
		}
	}
}

func TestUnknownErrorOfAFilterIsADeferral(t *testing.T) {
	f := &stub{name: "a", err: errors.New("disk on fire")}
	err := dialogue(t, &filter.Chain{Filters: []filter.Filter{f}}, new(sqmail.Envelope), "")
	if sqmail.ClassOf(err) != sqmail.Deferral || sqmail.ReplyFor(err).Code != 451 {
		t.Errorf("%v: %v", err, sqmail.ReplyFor(err))
	}
	if strings.Contains(sqmail.ReplyFor(err).String(), "fire") || !strings.Contains(err.Error(), "fire") {
		t.Errorf("the cause is for the log alone: %v", sqmail.ReplyFor(err))
	}
}

func TestVerdicts(t *testing.T) {
	refusal := sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "no"}
	for _, test := range []struct {
		action    sqmail.Action
		reply     sqmail.Reply
		code      int // of the answer; 250 goes on
		nextAsked bool
		close     bool
	}{
		{action: sqmail.ActionPass, code: 250, nextAsked: true},
		{action: sqmail.ActionTag, code: 250, nextAsked: true},
		{action: sqmail.ActionAccept, code: 250},
		{action: sqmail.ActionDefer, code: 451},
		{action: sqmail.ActionReject, code: 554},
		{action: sqmail.ActionReject, reply: refusal, code: 550},
		{action: sqmail.ActionDrop, reply: refusal, code: 550, close: true},
	} {
		a := &stub{name: "a", verdict: sqmail.Verdict{Action: test.action, Reply: test.reply, Header: "X-Seen: a\n"}}
		b := &stub{name: "b"}
		env := new(sqmail.Envelope)
		err := dialogue(t, &filter.Chain{Filters: []filter.Filter{a, b}}, env, "x\n")
		if got := sqmail.ReplyFor(err).Code; got != test.code {
			t.Errorf("%v: code %d, want %d", test.action, got, test.code)
		}
		if got := len(b.asked) > 0; got != test.nextAsked {
			t.Errorf("%v: the next filter asked: %v", test.action, got)
		}
		if e, ok := errors.AsType[*sqmail.Error](err); ok && e.Close != test.close {
			t.Errorf("%v: close is %v", test.action, e.Close)
		}
		if tagged := len(env.Header) > 0; tagged != (test.action == sqmail.ActionTag) {
			t.Errorf("%v: header %q", test.action, env.Header)
		}
	}
}

func TestTagBeforeTheTransactionReachesTheMessage(t *testing.T) {
	tag := &stub{name: "rbl", verdict: sqmail.Verdict{Action: sqmail.ActionTag, Header: "X-RBL-Info: listed\n"}}
	env := new(sqmail.Envelope)
	if err := dialogue(t, &filter.Chain{Filters: []filter.Filter{onlyConnect{tag}}}, env, ""); err != nil {
		t.Fatal(err)
	}
	if got := string(env.Header); got != "X-RBL-Info: listed\n" {
		t.Errorf("header %q", got)
	}
}

// onlyConnect hides the other stages of a stub.
type onlyConnect struct{ f *stub }

func (o onlyConnect) Name() string { return o.f.name }
func (o onlyConnect) Connect(ctx context.Context, s *filter.Session) (sqmail.Verdict, error) {
	return o.f.Connect(ctx, s)
}

func TestDelayEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &filter.Chain{Filters: []filter.Filter{
			&stub{name: "a", verdict: sqmail.Verdict{Action: sqmail.ActionDelay, Delay: time.Hour}},
		}}
		begun, _ := chain.BeginSession(t.Context(), &sqmail.Peer{})
		p := begun.(*filter.Policy)
		start := time.Now()
		if err := p.CheckConnect(t.Context(), nil); err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.CheckConnect(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the client is gone: %v", err)
		}
	})
}

func TestVerdictsAreKeptWithTheMessage(t *testing.T) {
	a := &stub{name: "a", verdict: sqmail.Verdict{Rule: "r", File: "f", Line: 7}}
	env := new(sqmail.Envelope)
	if err := dialogue(t, &filter.Chain{Filters: []filter.Filter{a}}, env, ""); err != nil {
		t.Fatal(err)
	}
	var stages []string
	for _, v := range env.Verdicts {
		if v.Filter != "a" || v.Rule != "r" || v.File != "f" || v.Line != 7 {
			t.Errorf("%+v", v)
		}
		stages = append(stages, v.Stage)
	}
	if got := strings.Join(stages, " "); got != "connect hello reverse-path recipient data body" {
		t.Errorf("verdicts of the stages %s", got)
	}
}

func TestOnceForgetsWithTheTransaction(t *testing.T) {
	calls := 0
	f := &counter{calls: &calls}
	chain := &filter.Chain{Filters: []filter.Filter{f}}
	begun, _ := chain.BeginSession(t.Context(), &sqmail.Peer{})
	p := begun.(*filter.Policy)
	for range 2 {
		env := new(sqmail.Envelope)
		p.CheckReversePath(t.Context(), nil, env)
		for range 3 {
			p.CheckRecipient(t.Context(), nil, env, new(sqmail.Recipient))
		}
	}
	if calls != 2 {
		t.Errorf("%d calls in 2 transactions", calls)
	}
}

type counter struct{ calls *int }

func (f *counter) Name() string { return "counter" }
func (f *counter) Recipient(_ context.Context, s *filter.Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	return s.Once(f, func() (sqmail.Verdict, error) {
		*f.calls++
		return sqmail.Verdict{}, nil
	})
}

func TestRcptHosts(t *testing.T) {
	rules := filter.NewList([]filter.Rule{{Text: "example.com", File: "rcpthosts", Line: 1}, {Text: ".example.ORG", File: "rcpthosts", Line: 2}})
	for _, test := range []struct {
		to      string
		user    string
		relayed bool // by the rules for connections
		line    int  // of the rule
		code    int
	}{
		{to: "u@example.com", line: 1, code: 250},
		{to: "u@EXAMPLE.COM", line: 1, code: 250},
		{to: "u@host.example.com", code: 553},
		{to: "u@host.example.org", line: 2, code: 250},
		{to: "u@a.b.example.org", line: 2, code: 250},
		{to: "u@example.org", code: 553},
		{to: "postmaster", code: 250},
		{to: "u@[127.0.0.1]", code: 553},
		{to: `"a@example.com"@evil.test`, code: 553},
		{to: "a%example.com@evil.test", code: 553},
		{to: "u@evil.test", user: "joe", code: 250},
		{to: "u@evil.test", relayed: true, code: 250},
		{to: "u@evil.test", code: 553},
	} {
		f := &filter.RcptHosts{Domains: rules}
		s := &filter.Session{Peer: &sqmail.Peer{User: test.user}, Relayed: test.relayed}
		to, err := sqmail.ParsePath(test.to)
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.Recipient(t.Context(), s, &sqmail.Recipient{Path: to})
		if err != nil {
			t.Fatal(err)
		}
		if got := sqmail.ReplyFor(v.Err()).Code; got != test.code || v.Line != test.line {
			t.Errorf("%s: %d by line %d, want %d by line %d", test.to, got, v.Line, test.code, test.line)
		}
	}
}

func TestRcptHostsWithoutDomainsRelaysForNobody(t *testing.T) {
	for _, f := range []*filter.RcptHosts{{}, {Domains: filter.ListOf()}} {
		s := &filter.Session{Peer: &sqmail.Peer{}}
		v, err := f.Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf("u@example.com")})
		if err != nil || v.Action != sqmail.ActionReject {
			t.Errorf("%v, %v", v, err)
		}
	}
}

func TestDamagedDatabaseNeverRelays(t *testing.T) {
	broken := errors.New("damaged")
	f := &filter.RcptHosts{Listed: func(context.Context, string) (bool, error) { return true, broken }}
	s := &filter.Session{Peer: &sqmail.Peer{}}
	if _, err := f.Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf("u@example.com")}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestRelaySuffix(t *testing.T) {
	for relay, want := range map[bool]string{true: "joe@example.org.gateway", false: "joe@example.org"} {
		to := &sqmail.Recipient{Path: sqmail.PathOf("joe@example.org")}
		s := &filter.Session{Peer: &sqmail.Peer{}, Relayed: relay}
		v, err := filter.RelaySuffix(".gateway").Recipient(t.Context(), s, to)
		if err != nil || to.Path.String() != want || (v.Rule == "RELAYCLIENT, .gateway") != relay {
			t.Errorf("relay %v: %v, %+v, %v", relay, to.Path, v, err)
		}
	}
}

// TestVerdictTellsOfRelayClients: the log of accepted recipients rests on it.
func TestVerdictTellsOfRelayClients(t *testing.T) {
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}
	for want, s := range map[string]*filter.Session{
		"":              {Peer: &sqmail.Peer{}},
		"RELAYCLIENT":   {Peer: &sqmail.Peer{}, Relayed: true},
		"authenticated": {Peer: &sqmail.Peer{User: "joe"}, Relayed: true},
		"certificate":   {Peer: &sqmail.Peer{TLS: verified}, CertRelayed: true},
	} {
		v, err := filter.RelaySuffix("").Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf("joe@example.org")})
		if err != nil || v.Rule != want || v.Action != sqmail.ActionPass {
			t.Errorf("%q: %+v, %v", want, v, err)
		}
	}
}
