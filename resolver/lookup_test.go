package resolver_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
	"github.com/sqmail/sqmail/resolver"
)

var records = []string{
	"mx.test. 300 IN MX 20 b.mx.test.",
	"mx.test. 300 IN MX 10 A.mx.test.",
	`mx.test. 300 IN MX 5 bad\032name.test.`,
	"null.test. 300 IN MX 0 .",
	"a.mx.test. 300 IN A 192.0.2.10",
	"a.mx.test. 300 IN AAAA 2001:db8::10",
	"b.mx.test. 300 IN A 192.0.2.11",
	"alias.test. 300 IN CNAME two.test.",
	"two.test. 300 IN CNAME a.mx.test.",
	`txt.test. 300 IN TXT "v=spf1 " "-all"`,
	`txt.test. 300 IN TXT "quote \" back \\ tab \009 umlaut \195\188"`,
	"xn--mnchen-3ya.test. 300 IN MX 1 a.mx.test.",
	"10.2.0.192.in-addr.arpa. 300 IN PTR a.mx.test.",
	"0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 300 IN PTR six.test.",
	"_25._tcp.a.mx.test. 300 IN TLSA 3 1 1 abcd",
	`a\@b\'c.test. 300 IN TXT odd`,
	"loop.test. 300 IN CNAME loop.test.",
}

func inBubble(t *testing.T, f func(t *testing.T, c *resolver.Client, n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, n := client(zone(t, records...), silent)
		f(t, c, n)
	})
}

func TestLookupMX(t *testing.T) {
	inBubble(t, func(t *testing.T, c *resolver.Client, _ *network) {
		for name, want := range map[string]string{
			"mx.test":      "10 a.mx.test. 20 b.mx.test.",
			"MX.Test.":     "10 a.mx.test. 20 b.mx.test.",
			"null.test":    "0 .",
			"münchen.test": "1 a.mx.test.",
			"MÜNCHEN.test": "1 a.mx.test.",
		} {
			mxs, err := c.LookupMX(t.Context(), name)
			var got []string
			for _, mx := range mxs {
				got = append(got, fmt.Sprint(mx.Pref), strings.ToLower(mx.Host))
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s: %q, %v, want %q", name, got, err, want)
			}
		}
		mxs, _ := c.LookupMX(t.Context(), "mx.test")
		mxs[0].Host = "changed."
		if again, _ := c.LookupMX(t.Context(), "mx.test"); again[0].Host == "changed." {
			t.Error("the caller's slice is the cache's")
		}
	})
}

func TestNotFoundTellsNoNameFromNoRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, c *resolver.Client, _ *network) {
		for name, noData := range map[string]bool{
			"nowhere.test":                      false,
			"a.mx.test":                         true,
			"":                                  false,
			"a..test":                           false,
			strings.Repeat("x", 64) + ".test":   false,
			strings.Repeat("x.", 130) + "test":  false,
			strings.Repeat("@.", 130) + "test":  false,
			strings.Repeat("@", 64) + ".test":   false,
			"xn--ü.test":                        false,
			strings.Repeat("ü", 100) + ".test.": false,
		} {
			_, err := c.LookupMX(t.Context(), name)
			if e := dnsError(t, err); !e.IsNotFound || errors.Is(err, resolver.ErrNoData) != noData || e.Name != name {
				t.Errorf("%q: %+v", name, e)
			}
		}
	})
}

func TestLookupNetIP(t *testing.T) {
	inBubble(t, func(t *testing.T, c *resolver.Client, n *network) {
		for _, tt := range []struct{ network, host, want string }{
			{"ip", "a.mx.test", "[2001:db8::10 192.0.2.10]"},
			{"ip4", "a.mx.test", "[192.0.2.10]"},
			{"ip6", "a.mx.test", "[2001:db8::10]"},
			{"ip", "b.mx.test", "[192.0.2.11]"},
			{"ip", "alias.test", "[2001:db8::10 192.0.2.10]"},
			{"ip", "192.0.2.77", "[192.0.2.77]"},
			{"ip", "2001:db8::77", "[2001:db8::77]"},
			{"ip", "localhost", "[::1 127.0.0.1]"},
			{"ip4", "x.LocalHost.", "[127.0.0.1]"},
		} {
			addrs, err := c.LookupNetIP(t.Context(), tt.network, tt.host)
			if got := fmt.Sprint(addrs); got != tt.want || err != nil {
				t.Errorf("%s %s: %s, %v, want %s", tt.network, tt.host, got, err, tt.want)
			}
		}
		for _, host := range []string{"nowhere.test", "mx.test", "::1%eth0x"} {
			if _, err := c.LookupNetIP(t.Context(), "ip4", host); !dnsError(t, err).IsNotFound {
				t.Errorf("%s: %v", host, err)
			}
		}
		if _, err := c.LookupNetIP(t.Context(), "tcp", "mx.test"); !dnsError(t, err).IsTemporary {
			t.Error(err)
		}
	})
}

func TestHalfAnAddressAnswer(t *testing.T) {
	good := zone(t, "a.test. 300 IN A 192.0.2.1", "none.test. 300 IN TXT x")
	half := func(proto string, query *dns.Msg) []*dns.Msg {
		if query.Question[0].Qtype == dns.TypeAAAA {
			return withCode(dns.RcodeServerFailure)(proto, query)
		}
		return good(proto, query)
	}
	synctest.Test(t, func(t *testing.T) {
		c, _ := client(half, half)
		addrs, err := c.LookupNetIP(t.Context(), "ip", "a.test")
		if err != nil || len(addrs) != 1 {
			t.Errorf("what was obtained is not used: %v, %v", addrs, err)
		}
		if _, err := c.LookupNetIP(t.Context(), "ip", "none.test"); !dnsError(t, err).IsTemporary {
			t.Errorf("no A, AAAA unknown: %v, want temporary", err)
		}
	})
}

func TestLookupTXTUndoesEscapes(t *testing.T) {
	inBubble(t, func(t *testing.T, c *resolver.Client, _ *network) {
		got, err := c.LookupTXT(t.Context(), "txt.test")
		want := []string{"v=spf1 -all", "quote \" back \\ tab \t umlaut ü"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		if got, err := c.LookupTXT(t.Context(), "a@b'c.test"); err != nil || got[0] != "odd" {
			t.Errorf("odd name: %q, %v", got, err)
		}
	})
}

func TestLookupAddr(t *testing.T) {
	inBubble(t, func(t *testing.T, c *resolver.Client, _ *network) {
		for addr, want := range map[string]string{
			"192.0.2.10":        "a.mx.test.",
			"::ffff:192.0.2.10": "a.mx.test.",
			"2001:db8::10":      "six.test.",
		} {
			if got, err := c.LookupAddr(t.Context(), addr); err != nil || got[0] != want {
				t.Errorf("%s: %q, %v", addr, got, err)
			}
		}
		for _, addr := range []string{"192.0.2.99", "not an address"} {
			if _, err := c.LookupAddr(t.Context(), addr); !dnsError(t, err).IsNotFound || dnsError(t, err).Name != addr {
				t.Errorf("%s: %v", addr, err)
			}
		}
	})
}

func TestLookupCNAME(t *testing.T) {
	inBubble(t, func(t *testing.T, c *resolver.Client, _ *network) {
		for host, want := range map[string]string{
			"alias.test": "a.mx.test.",
			"two.test":   "a.mx.test.",
			"A.MX.test.": "a.mx.test.",
		} {
			if got, err := c.LookupCNAME(t.Context(), host); err != nil || got != want {
				t.Errorf("%s: %q, %v", host, got, err)
			}
		}
		if _, err := c.LookupCNAME(t.Context(), "nowhere.test"); !dnsError(t, err).IsNotFound {
			t.Error(err)
		}
		if _, err := c.LookupCNAME(t.Context(), "loop.test"); !dnsError(t, err).IsTemporary {
			t.Error(err)
		}
	})
}

func TestAnswerTellsTheChain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *resolver.Client, _ *network) {
		a, err := c.Lookup(t.Context(), "Alias.test", resolver.TypeA)
		if err != nil || a.Name != "a.mx.test." || !slices.Equal(a.Aliases, []string{"alias.test.", "two.test."}) ||
			!slices.Equal(a.Addrs, []netip.Addr{netip.MustParseAddr("192.0.2.10")}) {
			t.Errorf("%+v, %v", a, err)
		}
		a, err = c.Lookup(t.Context(), "_25._tcp.a.mx.test", resolver.TypeTLSA)
		if err != nil || len(a.TLSA) != 1 || a.TLSA[0] != (resolver.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: "abcd"}) {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestAliasesAreFollowedWhereTheServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lazy := func(proto string, query *dns.Msg) []*dns.Msg {
			m := zone(t, records...)(proto, query)
			m[0].Answer, m[0].Ns = m[0].Answer[:1], nil
			return m
		}
		c, n := client(lazy, silent)
		a, err := c.Lookup(t.Context(), "alias.test", resolver.TypeA)
		if err != nil || a.Name != "a.mx.test." || len(a.Aliases) != 2 || len(n.asked()) != 3 {
			t.Errorf("%+v, %v, asked %q", a, err, n.asked())
		}
	})
}

func TestTooManyAliases(t *testing.T) {
	chain := func(links int) []string {
		var all []string
		for i := range links {
			all = append(all, fmt.Sprintf("n%d.test. 300 IN CNAME n%d.test.", i, i+1))
		}
		return append(all, fmt.Sprintf("n%d.test. 300 IN A 192.0.2.1", links))
	}
	for _, split := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			for links, ok := range map[int]bool{10: true, 11: false} {
				h := zone(t, chain(links)...)
				c, _ := client(func(proto string, query *dns.Msg) []*dns.Msg {
					m := h(proto, query)
					if split {
						m[0].Answer, m[0].Ns = m[0].Answer[:1], nil
					}
					return m
				}, silent)
				_, err := c.Lookup(t.Context(), "n0.test", resolver.TypeA)
				if ok && err != nil || !ok && !dnsError(t, err).IsTemporary {
					t.Errorf("%d aliases, split %v: %v", links, split, err)
				}
			}
			c, n := client(zone(t, records...), silent)
			if _, err := c.LookupMX(t.Context(), "loop.test"); !dnsError(t, err).IsTemporary || len(n.asked()) > 12 {
				t.Errorf("loop: %v after %d queries", err, len(n.asked()))
			}
		})
	}
}
