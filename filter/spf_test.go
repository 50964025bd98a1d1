package filter_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// checker gives one SPF result to everybody.
type checker struct {
	result, explanation string
	err                 error
	asked               []string
}

func (c *checker) Check(_ context.Context, ip netip.Addr, helo string, from sqmail.Path) (string, string, error) {
	c.asked = append(c.asked, ip.String()+" "+helo+" "+from.String())
	return c.result, c.explanation, c.err
}

// transactionOf runs a transaction with recipients as far as DATA, and returns
// the first refusal.
func transactionOf(t *testing.T, f filter.Filter, peer *sqmail.Peer, from string, recipients int) (*sqmail.Envelope, error) {
	t.Helper()
	begun, _ := chainOf(f).BeginSession(t.Context(), peer)
	p := begun.(*filter.Policy)
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf(from)}
	err := p.CheckReversePath(t.Context(), peer, env)
	for range recipients {
		err = errors.Join(err, p.CheckRecipient(t.Context(), peer, env, &sqmail.Recipient{Path: sqmail.PathOf("c@d.test")}))
	}
	if err == nil {
		err = p.CheckData(t.Context(), peer, env)
	}
	return env, err
}

func TestSPFModes(t *testing.T) {
	results := []string{"none", "permerror", "neutral", "softfail", "fail", "temperror", "pass", "nonsense"}
	// filter.md, 5.2
	codes := [][]int{
		{250, 250, 250, 250, 250, 250, 250, 250},
		{250, 250, 250, 250, 250, 250, 250, 250},
		{250, 250, 250, 250, 250, 451, 250, 451},
		{250, 250, 250, 250, 550, 451, 250, 451},
		{250, 250, 250, 550, 550, 451, 250, 451},
		{250, 250, 550, 550, 550, 451, 250, 451},
		{550, 550, 550, 550, 550, 451, 250, 451},
	}
	for mode, row := range codes {
		for i, result := range results {
			c := &checker{result: result}
			f := &filter.SPF{Checker: c, Mode: mode}
			env, err := transactionOf(t, f, peerAt("192.0.2.9"), "a@b.test", 3)
			if got := sqmail.ReplyFor(err).Code; got != row[i] {
				t.Errorf("mode %d, %s: %d, want %d", mode, result, got, row[i])
			}
			if want := min(mode, 1); len(c.asked) != want {
				t.Errorf("mode %d: evaluated %d times for three recipients", mode, len(c.asked))
			}
			fields := strings.Count(string(env.Header), "Received-SPF: ")
			word := result // unless nobody knows it
			if result == "nonsense" {
				word = "temperror"
			}
			if err == nil && mode > 0 && !strings.HasPrefix(string(env.Header), "Received-SPF: "+word+" (") {
				t.Errorf("mode %d, %s: header %q", mode, result, env.Header)
			}
			if err == nil && fields != min(mode, 1) {
				t.Errorf("mode %d, %s: header %q", mode, result, env.Header)
			}
		}
	}
}

func TestReceivedSPF(t *testing.T) {
	peer := peerAt("192.0.2.9")
	peer.Hello = "mail(x)\"\n.test"
	f := &filter.SPF{Checker: &checker{result: "pass"}, Mode: 1, Receiver: "mx.example.com"}
	env, err := transactionOf(t, f, peer, "a@b.test", 1)
	want := "Received-SPF: pass (mx.example.com: domain of a@b.test designates 192.0.2.9 as permitted sender)\n" +
		" client-ip=192.0.2.9; envelope-from=\"a@b.test\";\n" +
		" helo=\"mail?x???.test\"; receiver=mx.example.com; identity=mailfrom;\n"
	if got := string(env.Header); got != want || err != nil {
		t.Errorf("%s%v, want\n%s", got, err, want)
	}
}

func TestSPFOfTheNullPathIsThatOfTheHelloName(t *testing.T) {
	c := &checker{result: "fail"}
	peer := peerAt("::ffff:192.0.2.9")
	peer.Hello = "mail.test"
	if _, err := transactionOf(t, &filter.SPF{Checker: c, Mode: 3}, peer, "", 1); sqmail.ReplyFor(err).Code != 550 {
		t.Errorf("%v", err)
	}
	if len(c.asked) != 1 || c.asked[0] != "192.0.2.9 mail.test postmaster@mail.test" {
		t.Errorf("asked %q", c.asked)
	}
}

func TestSPFIsForStrangersAndOthers(t *testing.T) {
	local := peerAt("192.0.2.1")
	local.Local = netip.MustParseAddrPort("192.0.2.1:25")
	relay := peerAt("192.0.2.9")
	relay.User = "joe"
	for name, test := range map[string]struct {
		peer   *sqmail.Peer
		header string
	}{
		"relay client":           {relay, ""},
		"the same address":       {local, "Received-SPF: pass"},
		"loopback":               {peerAt("127.0.0.1"), "Received-SPF: pass"},
		"an address of our own":  {peerAt("2001:db8::1"), "Received-SPF: pass"},
		"a connection in memory": {&sqmail.Peer{}, ""},
	} {
		c := &checker{result: "fail"}
		f := &filter.SPF{Checker: c, Mode: 6, Own: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}
		env, err := transactionOf(t, f, test.peer, "a@b.test", 1)
		if err != nil || len(c.asked) > 0 || !strings.HasPrefix(string(env.Header), test.header) || (test.header == "") != (len(env.Header) == 0) {
			t.Errorf("%s: %v, asked %q, header %q", name, err, c.asked, env.Header)
		}
	}
}

func TestSPFExplanation(t *testing.T) {
	for _, test := range []struct{ theirs, ours, want string }{
		{"", "", "550 5.7.1 sorry, the SPF policy of your sender domain says fail for this host"},
		{"go\r\naway", "see us", "550-5.7.1 sorry, the SPF policy of your sender domain says fail for this host\n550-5.7.1 b.test explains:\n550-5.7.1 go\n550 5.7.1 away"},
		{"", "see us", "550 5.7.1 sorry, the SPF policy of your sender domain says fail for this host; see us"},
	} {
		f := &filter.SPF{Checker: &checker{result: "fail", explanation: test.theirs}, Mode: 3, Explanation: test.ours}
		_, err := transactionOf(t, f, peerAt("192.0.2.9"), "a@b.test", 1)
		if got := sqmail.ReplyFor(err).String(); got != test.want {
			t.Errorf("%q", got)
		}
	}
	f := &filter.SPF{Checker: &checker{result: "fail", explanation: strings.Repeat("x\n", 1<<20)}, Mode: 3}
	_, err := transactionOf(t, f, peerAt("192.0.2.9"), "a@b.test", 1)
	if got := sqmail.ReplyFor(err).Text; len(got) > 1000 || strings.Count(got, "\n") > 6 {
		t.Errorf("%d octets", len(got))
	}
}

func TestErrorOfACheckerIsATemporaryError(t *testing.T) {
	for _, result := range []string{"", "pass", "temperror"} {
		f := &filter.SPF{Checker: &checker{result: result, err: errors.New("no answer")}, Mode: 2}
		if _, err := transactionOf(t, f, peerAt("192.0.2.9"), "a@b.test", 1); sqmail.ReplyFor(err).Code != 451 {
			t.Errorf("%q: %v", result, err)
		}
	}
	f := &filter.SPF{Checker: &checker{result: "permerror", err: errors.New("bad record")}, Mode: 2}
	if _, err := transactionOf(t, f, peerAt("192.0.2.9"), "a@b.test", 1); err != nil {
		t.Errorf("permerror: %v", err)
	}
}
