package mailtest_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/resolver"
)

const zoneText = `
example.org        MX    20 backup.example.org
example.org        MX    10 mx.example.org
example.org        TXT   "v=spf1 ip4:192.0.2.0/24" " -all"
example.org        SOA   ns.example.org root.example.org 1 2 3 4 60
mx.example.org     A     192.0.2.1
mx.example.org     AAAA  2001:db8::1
backup.example.org CNAME mx.example.org
loop.example.org   CNAME loop.example.org
null.test          MX    0 .
quoted.test        TXT   "a\"b\\c\195\188"
*.wild.test        A     192.0.2.7
deep.sub.wild.test A     192.0.2.8
1.2.0.192.in-addr.arpa PTR mx.example.org
_25._tcp.mx.example.org TLSA 3 1 1 ( e3b0c44298fc1c149afbf4c8996fb924 27ae41e4649b934ca495991b7852b855 )
`

func TestZoneAnswersLikeAResolver(t *testing.T) {
	z := mailtest.NewZone(t, zoneText)
	ctx := t.Context()

	mx, err := z.LookupMX(ctx, "Example.ORG")
	if err != nil || len(mx) != 2 || mx[0].Host != "mx.example.org." || mx[0].Pref != 10 || mx[1].Pref != 20 {
		t.Errorf("LookupMX = %v, %v", mx, err)
	}
	if mx, err = z.LookupMX(ctx, "null.test."); err != nil || len(mx) != 1 || mx[0].Host != "." {
		t.Errorf("LookupMX of a null MX = %v, %v", mx, err)
	}
	txt, err := z.LookupTXT(ctx, "example.org")
	if err != nil || len(txt) != 1 || txt[0] != "v=spf1 ip4:192.0.2.0/24 -all" {
		t.Errorf("LookupTXT = %q, %v", txt, err)
	}
	if txt, err = z.LookupTXT(ctx, "quoted.test"); err != nil || txt[0] != `a"b\cü` {
		t.Errorf("LookupTXT of quoted characters = %q, %v", txt, err)
	}
	names, err := z.LookupAddr(ctx, "192.0.2.1")
	if err != nil || !slices.Equal(names, []string{"mx.example.org."}) {
		t.Errorf("LookupAddr = %v, %v", names, err)
	}
	for _, tc := range []struct{ network, host, want string }{
		{"ip", "mx.example.org", "192.0.2.1 2001:db8::1"},
		{"ip4", "mx.example.org", "192.0.2.1"},
		{"ip6", "mx.example.org", "2001:db8::1"},
		{"ip4", "backup.example.org", "192.0.2.1"}, // by its alias
		{"ip", "a.wild.test", "192.0.2.7"},
		{"ip", "a.b.wild.test", "192.0.2.7"},
		{"ip", "192.0.2.9", "192.0.2.9"},
	} {
		addrs, err := z.LookupNetIP(ctx, tc.network, tc.host)
		var got []string
		for _, a := range addrs {
			got = append(got, a.String())
		}
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("LookupNetIP(%s, %s) = %v, %v; want %s", tc.network, tc.host, got, err, tc.want)
		}
	}
	if hosts, err := z.LookupHost(ctx, "mx.example.org"); err != nil || len(hosts) != 2 {
		t.Errorf("LookupHost = %v, %v", hosts, err)
	}
}

func TestZoneKnowsWhatThereIsNot(t *testing.T) {
	z := mailtest.NewZone(t, zoneText)
	ctx := t.Context()
	for name, lookup := range map[string]func() error{
		"no such name":                     func() error { _, err := z.LookupMX(ctx, "other.test"); return err },
		"no such record":                   func() error { _, err := z.LookupTXT(ctx, "mx.example.org"); return err },
		"no address of the family":         func() error { _, err := z.LookupNetIP(ctx, "ip6", "a.wild.test"); return err },
		"no reverse name":                  func() error { _, err := z.LookupAddr(ctx, "192.0.2.250"); return err },
		"a wildcard is not for its parent": func() error { _, err := z.LookupHost(ctx, "wild.test"); return err },
		"nor beside an existing name":      func() error { _, err := z.LookupHost(ctx, "x.sub.wild.test"); return err },
	} {
		e, ok := errors.AsType[*net.DNSError](lookup())
		if !ok || !e.IsNotFound || e.IsTemporary {
			t.Errorf("%s: %v", name, lookup())
		}
	}
	_, err := z.LookupHost(ctx, "loop.example.org")
	if e, ok := errors.AsType[*net.DNSError](err); !ok || e.IsNotFound || !e.IsTemporary {
		t.Errorf("a loop of aliases: %v", err)
	}
	if _, err := z.LookupAddr(ctx, "mx.example.org"); err == nil {
		t.Error("LookupAddr of a name succeeds")
	}
}

func TestZoneTextIsChecked(t *testing.T) {
	var z mailtest.Zone
	if err := z.Add("a.test A 192.0.2.1\nb.test A 300.0.2.1\n"); err == nil {
		t.Fatal("an impossible address was taken")
	}
	if _, err := z.LookupHost(t.Context(), "a.test"); err == nil {
		t.Error("half of a broken text was taken")
	}
}

func TestZoneChangesWhileItIsUsed(t *testing.T) {
	z := mailtest.NewZone(t, "a.test A 192.0.2.1")
	z.Remove("a.test")
	if _, err := z.LookupHost(t.Context(), "a.test"); err == nil {
		t.Error("a removed name is there")
	}
	if err := z.Add("a.test A 192.0.2.2"); err != nil {
		t.Fatal(err)
	}
	if got, err := z.LookupHost(t.Context(), "a.test"); err != nil || got[0] != "192.0.2.2" {
		t.Errorf("%v, %v", got, err)
	}
	if want := []string{"a.test A", "a.test AAAA", "a.test A", "a.test AAAA"}; !slices.Equal(z.Asked(), want) {
		t.Errorf("asked %v", z.Asked())
	}
}

func TestZoneTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := mailtest.NewZone(t, zoneText)
		z.On("MX", mailtest.First(1)).ServFail()
		z.On("MX", mailtest.Nth(2)).Timeout()
		z.On("MX", mailtest.Nth(3)).NotFound()
		z.On(mailtest.Any, mailtest.For("mx.example.org")).Delay(3 * time.Second)

		var got []string
		for range 4 {
			_, err := z.LookupMX(t.Context(), "example.org")
			e, _ := errors.AsType[*net.DNSError](err)
			switch {
			case err == nil:
				got = append(got, "ok")
			case e.IsTimeout && e.IsTemporary:
				got = append(got, "timeout")
			case e.IsTemporary:
				got = append(got, "temporary")
			case e.IsNotFound:
				got = append(got, "none")
			}
		}
		if want := "temporary timeout none ok"; strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
		start := time.Now()
		if _, err := z.LookupNetIP(t.Context(), "ip4", "mx.example.org"); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := z.LookupNetIP(ctx, "ip4", "mx.example.org"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("delayed beyond its context: %v", err)
		}
	})
}

// exchange asks by the DNS's own protocol.
func exchange(t *testing.T, conn net.Conn, name string, qtype uint16, edns bool) *dns.Msg {
	t.Helper()
	query := new(dns.Msg).SetQuestion(name, qtype)
	if edns {
		query.SetEdns0(4096, true)
	}
	m, _, err := new(dns.Client).ExchangeWithConn(query, &dns.Conn{Conn: conn, UDPSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestZoneIsANameServer(t *testing.T) {
	z := mailtest.NewZone(t, zoneText+"big.test TXT "+strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 5))
	z.Secure("example.org")
	address := z.Start(t)
	dialers := map[string]func(network string) (net.Conn, error){
		"real":      func(network string) (net.Conn, error) { return net.Dial(network, address) },
		"in memory": func(network string) (net.Conn, error) { return z.DialContext(t.Context(), network, "192.0.2.53:53") },
	}
	for kind, dial := range dialers {
		for _, network := range []string{"udp", "tcp"} {
			if kind == "in memory" && network == "udp" {
				continue // dns.Conn takes what is no PacketConn for a stream
			}
			t.Run(kind+" "+network, func(t *testing.T) {
				conn, err := dial(network)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				m := exchange(t, conn, "_25._tcp.mx.example.org.", dns.TypeTLSA, true)
				if len(m.Answer) != 1 || !m.AuthenticatedData || m.Rcode != dns.RcodeSuccess {
					t.Errorf("secure TLSA: %v", m)
				}
				if m = exchange(t, conn, "null.test.", dns.TypeMX, true); len(m.Answer) != 1 || m.AuthenticatedData {
					t.Errorf("insecure MX: %v", m)
				}
				m = exchange(t, conn, "nope.example.org.", dns.TypeA, false)
				if m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 || m.AuthenticatedData {
					t.Errorf("no such name: %v", m)
				}
				m = exchange(t, conn, "big.test.", dns.TypeTXT, false)
				if m.Truncated != (network == "udp") {
					t.Errorf("1000 octets by %s: truncated %v", network, m.Truncated)
				}
			})
		}
	}
}

func TestZoneTakesDatagramsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := mailtest.NewZone(t, zoneText)
		z.On("A").Timeout()
		conn, err := z.DialContext(t.Context(), "udp", "192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		send := func(qtype uint16) (*dns.Msg, error) {
			packed, err := new(dns.Msg).SetQuestion("mx.example.org.", qtype).Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(packed); err != nil {
				t.Fatal(err)
			}
			conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			buf := make([]byte, 512)
			n, err := conn.Read(buf)
			if err != nil {
				return nil, err
			}
			m := new(dns.Msg)
			return m, m.Unpack(buf[:n])
		}
		if m, err := send(dns.TypeAAAA); err != nil || len(m.Answer) != 1 {
			t.Errorf("AAAA: %v, %v", m, err)
		}
		if m, err := send(dns.TypeA); err == nil {
			t.Errorf("a silent server said %v", m)
		}
	})
}

// The module's own client works on a Zone, in fake time: it asks again where
// it gets no answer, and sees what is authenticated.
func TestZoneServesTheResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := mailtest.NewZone(t, zoneText)
		z.Secure("example.org")
		z.On("MX", mailtest.First(2)).Timeout()
		client := &resolver.Client{Servers: []string{"192.0.2.53"}, Dialer: z, TrustAD: true}
		start := time.Now()
		mx, err := client.LookupMX(t.Context(), "example.org")
		if err != nil || len(mx) != 2 || time.Since(start) < time.Second {
			t.Errorf("%v, %v after %v", mx, err, time.Since(start))
		}
		tlsa, err := client.Lookup(t.Context(), "_25._tcp.mx.example.org", resolver.TypeTLSA)
		if err != nil || len(tlsa.TLSA) != 1 || !tlsa.Authenticated {
			t.Errorf("%+v, %v", tlsa, err)
		}
	})
}
