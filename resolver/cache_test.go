package resolver_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/sqmail/sqmail/resolver"
)

func TestAnswersAreKeptForTheirTTL(t *testing.T) {
	for _, tt := range []struct {
		name, record string
		kept, gone   time.Duration
	}{
		{"ttl", "a.test. 120 IN TXT x", 119 * time.Second, 121 * time.Second},
		{"at most an hour", "a.test. 999999 IN TXT x", 59 * time.Minute, 61 * time.Minute},
		{"zero", "a.test. 0 IN TXT x", -1, 0},
		{"shortest of the chain", "b.test. 300 IN CNAME a.test.", 59 * time.Second, 61 * time.Second},
		{"denied", "b.test. 300 IN TXT x", 59 * time.Second, 61 * time.Second}, // the SOA's minimum
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, n := client(zone(t, tt.record), silent)
				start := time.Now()
				c.LookupTXT(t.Context(), "a.test")
				for _, at := range []time.Duration{tt.kept, tt.gone} {
					if at < 0 {
						continue
					}
					time.Sleep(at - time.Since(start))
					before := len(n.asked())
					c.LookupTXT(t.Context(), "a.test")
					if asked := len(n.asked()) > before; asked != (at == tt.gone) {
						t.Errorf("after %v: asked = %v", at, asked)
					}
				}
			})
		})
	}
}

func TestDenialWithoutSOAIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n := client(withCode(dns.RcodeNameError), silent)
		c.LookupTXT(t.Context(), "a.test")
		c.LookupTXT(t.Context(), "a.test")
		if len(n.asked()) != 2 {
			t.Errorf("asked %d times", len(n.asked()))
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answerAll := func(_ string, query *dns.Msg) []*dns.Msg {
			m := new(dns.Msg).SetReply(query)
			rr, _ := dns.NewRR(query.Question[0].Name + " 300 IN TXT " + strings.Repeat("x", 200))
			m.Answer = []dns.RR{rr}
			return []*dns.Msg{m}
		}
		c, n := client(answerAll, silent)
		c.CacheSize = 20_000
		for i := range 50 {
			c.LookupTXT(t.Context(), fmt.Sprintf("n%d.test", i))
			c.LookupTXT(t.Context(), "n0.test") // in use: it stays
		}
		if len(n.asked()) != 50 {
			t.Errorf("asked %d times for 50 names", len(n.asked()))
		}
		c.LookupTXT(t.Context(), "n49.test")
		c.LookupTXT(t.Context(), "n1.test")
		if last := n.asked(); len(last) != 51 || !strings.Contains(last[50], " n1.test.") {
			t.Errorf("the oldest should have left, the newest not: %q", last[50:])
		}
		off := &resolver.Client{Servers: c.Servers, Dialer: n, CacheSize: -1}
		off.LookupTXT(t.Context(), "n49.test")
		off.LookupTXT(t.Context(), "n49.test")
		if len(n.asked()) != 53 {
			t.Error("a negative CacheSize keeps answers")
		}
	})
}
