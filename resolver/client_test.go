package resolver_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/sqmail/sqmail/resolver"
)

func dnsError(t *testing.T, err error) *net.DNSError {
	t.Helper()
	e, ok := errors.AsType[*net.DNSError](err)
	if !ok {
		t.Fatalf("error %v is no *net.DNSError", err)
	}
	if e.IsNotFound == e.IsTemporary {
		t.Fatalf("error %+v: IsNotFound and IsTemporary are equal", e)
	}
	return e
}

func TestSilentServerIsLeftForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n := client(silent, zone(t, "a.test. 300 IN TXT ok", "b.test. 300 IN TXT ok"))
		start := time.Now()
		if _, err := c.LookupTXT(t.Context(), "a.test"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v, want the timeout of one server", took)
		}
		start = time.Now()
		if _, err := c.LookupTXT(t.Context(), "b.test"); err != nil || time.Since(start) != 0 {
			t.Errorf("second question: %v after %v; the silent server should come last now", err, time.Since(start))
		}
		if len(n.asked()) != 3 {
			t.Errorf("asked %q", n.asked())
		}
	})
}

func TestNobodyAnswersIsTemporary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n := client(silent, silent)
		start := time.Now()
		_, err := c.LookupMX(t.Context(), "a.test")
		if e := dnsError(t, err); !e.IsTemporary || !e.IsTimeout || e.Name != "a.test" {
			t.Errorf("error %+v", e)
		}
		if took := time.Since(start); took < 18*time.Second || took > 20*time.Second || len(n.asked()) != 6 {
			t.Errorf("%d queries in %v, want 6 in about 18 s", len(n.asked()), took)
		}
		if _, err := c.LookupMX(t.Context(), "a.test"); !dnsError(t, err).IsTemporary || len(n.asked()) != 6 {
			t.Errorf("a failure is not remembered: %v", err)
		}
		time.Sleep(6 * time.Second)
		c.LookupMX(t.Context(), "a.test")
		if len(n.asked()) != 12 {
			t.Errorf("a failure is remembered for more than 5 s")
		}
	})
}

func TestServfailIsTemporaryAndAsksTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotAuth} {
			c, n := client(withCode(code), withCode(code))
			_, err := c.LookupTXT(t.Context(), "a.test")
			if e := dnsError(t, err); !e.IsTemporary || len(n.asked()) != 2 {
				t.Errorf("code %d: %+v after %q", code, e, n.asked())
			}
			c, _ = client(withCode(code), zone(t, "a.test. 300 IN TXT ok"))
			if txt, err := c.LookupTXT(t.Context(), "a.test"); err != nil || txt[0] != "ok" {
				t.Errorf("code %d, then an answer: %q, %v", code, txt, err)
			}
		}
	})
}

func TestServerWithoutEDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := zone(t, "a.test. 300 IN TXT ok")
		for _, bare := range []bool{false, true} {
			c, _ := client(func(proto string, query *dns.Msg) []*dns.Msg {
				if query.IsEdns0() == nil {
					return good(proto, query)
				}
				m := new(dns.Msg).SetRcode(query, dns.RcodeFormatError)
				if bare {
					m.Question = nil
				}
				return []*dns.Msg{m}
			}, silent)
			if txt, err := c.LookupTXT(t.Context(), "a.test"); err != nil || txt[0] != "ok" {
				t.Errorf("%q, %v", txt, err)
			}
		}
	})
}

func TestQueryAsksForADAndEDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *dns.Msg
		c, _ := client(func(_ string, query *dns.Msg) []*dns.Msg {
			got = query
			return withCode(dns.RcodeNameError)("", query)
		}, silent)
		c.LookupTXT(t.Context(), "a.test")
		opt := got.IsEdns0()
		if opt == nil || opt.UDPSize() != 1232 || !got.AuthenticatedData || !got.RecursionDesired || got.CheckingDisabled {
			t.Errorf("query %v", got)
		}
	})
}

func TestTruncatedAnswerIsAskedForByTCP(t *testing.T) {
	big := zone(t, "a.test. 300 IN TXT "+strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 20))
	h := func(proto string, query *dns.Msg) []*dns.Msg {
		m := big(proto, query)
		if proto == "udp" {
			m[0].Truncate(1232)
		}
		return m
	}
	check := func(t *testing.T, c *resolver.Client) {
		txt, err := c.LookupTXT(t.Context(), "a.test")
		if err != nil || len(txt) != 1 || len(txt[0]) != 4000 {
			t.Errorf("got %d strings, %v", len(txt), err)
		}
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, _ := client(h, silent)
			check(t, c)
		})
	})
	t.Run("loopback", func(t *testing.T) {
		check(t, &resolver.Client{Servers: []string{listen(t, h)}})
	})
}

func TestLiesAreNotTaken(t *testing.T) {
	truth := zone(t, "a.test. 300 IN TXT truth")
	lies := map[string]func(m *dns.Msg){
		"id":       func(m *dns.Msg) { m.Id++ },
		"name":     func(m *dns.Msg) { m.Question[0].Name = "b.test." },
		"type":     func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA },
		"class":    func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"query":    func(m *dns.Msg) { m.Response = false },
		"opcode":   func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate },
		"question": func(m *dns.Msg) { m.Question = nil },
	}
	for what, lie := range lies {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				liar := func(proto string, query *dns.Msg) []*dns.Msg {
					m := truth(proto, query)
					forged := m[0].Copy()
					forged.Answer[0].(*dns.TXT).Txt = []string{"lie"}
					lie(forged)
					return []*dns.Msg{forged, m[0]}
				}
				c, n := client(liar, silent)
				txt, err := c.LookupTXT(t.Context(), "a.test")
				if err != nil || txt[0] != "truth" || len(n.asked()) != 1 {
					t.Errorf("%q, %v, asked %q", txt, err, n.asked())
				}
			})
		})
	}
	t.Run("many", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			flood := func(proto string, query *dns.Msg) []*dns.Msg {
				m := truth(proto, query)
				if proto == "tcp" {
					return m
				}
				forged := m[0].Copy()
				forged.Id++
				all := make([]*dns.Msg, 100)
				for i := range all {
					all[i] = forged
				}
				return all
			}
			c, n := client(flood, silent)
			if txt, err := c.LookupTXT(t.Context(), "a.test"); err != nil || txt[0] != "truth" {
				t.Errorf("%q, %v, asked %q", txt, err, n.asked())
			}
		})
	})
}

func TestCallersShareOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		slow := func(proto string, query *dns.Msg) []*dns.Msg {
			<-release
			return withCode(dns.RcodeNameError)(proto, query)
		}
		c, n := client(slow, silent)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := c.LookupTXT(t.Context(), "a.test"); !dnsError(t, err).IsNotFound {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if len(n.asked()) != 1 {
			t.Errorf("asked %d times", len(n.asked()))
		}
	})
}

func TestCallerWhoLeavesDoesNotTakeTheOthersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := zone(t, "a.test. 300 IN TXT ok")
		slow := func(proto string, query *dns.Msg) []*dns.Msg {
			time.Sleep(2 * time.Second)
			return good(proto, query)
		}
		c, _ := client(slow, silent)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := c.LookupTXT(impatient, "a.test"); !dnsError(t, err).IsTimeout || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient: %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := c.LookupTXT(t.Context(), "a.test"); err != nil {
				t.Errorf("patient: %v", err)
			}
		})
		all.Wait()
	})
}

func TestCancelledLookupReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := client(silent, silent)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := c.LookupTXT(ctx, "a.test")
		if e := dnsError(t, err); !errors.Is(e, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestADCountsOnlyFromTrustedServers(t *testing.T) {
	good := zone(t, "a.test. 300 IN TXT ok")
	signed := func(proto string, query *dns.Msg) []*dns.Msg {
		m := good(proto, query)
		m[0].AuthenticatedData = true
		return m
	}
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			server string
			trust  bool
			want   bool
		}{
			{"192.0.2.1:53", false, false},
			{"192.0.2.1:53", true, true},
			{"127.0.0.53:53", false, true},
			{"[::1]:53", false, true},
		} {
			n := &network{servers: map[string]handler{tt.server: signed}}
			c := &resolver.Client{Servers: []string{tt.server}, Dialer: n, TrustAD: tt.trust}
			a, err := c.Lookup(t.Context(), "a.test", resolver.TypeTXT)
			if err != nil || a.Authenticated != tt.want {
				t.Errorf("%s trust=%v: %+v, %v", tt.server, tt.trust, a, err)
			}
		}
	})
}

func TestZeroClientNeedsNoServersToFailWell(t *testing.T) {
	c := &resolver.Client{Servers: []string{}}
	if _, err := c.LookupTXT(t.Context(), "a.test"); !dnsError(t, err).IsTemporary {
		t.Error(err)
	}
}
