package remote_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
)

const (
	takesAll = greets + mails + rcpts + datas + takes
	loopText = "DSorry. Although I'm listed as a best-preference MX or A for that host,\n" +
		"it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n"
	noAddress = "DSorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n"
	softText  = "ZSorry, I couldn't find any host named: x.test. (#4.1.2)\n"
)

// TestWhoIsCalled is spec/remote.md 3: who is called, in which order, and what
// is said if nobody is. Nobody answers here.
func TestWhoIsCalled(t *testing.T) {
	for _, tt := range []struct {
		name, mx string
		addrs    map[string]string
		calls    string
		want     string
	}{
		{"order of preference", "20 b 10 a", map[string]string{"a": "192.0.2.1", "b": "192.0.2.2"}, "192.0.2.1:25 192.0.2.2:25", noConn},
		{"IPv6 first", "10 a", map[string]string{"a": "192.0.2.1 2001:db8::2 192.0.2.3 2001:db8::1"},
			"[2001:db8::2]:25 [2001:db8::1]:25 192.0.2.1:25 192.0.2.3:25", noConn},
		{"each address once", "10 a 20 b", map[string]string{"a": "192.0.2.1", "b": "192.0.2.1 ::ffff:192.0.2.1 192.0.2.2"}, "192.0.2.1:25 192.0.2.2:25", noConn},
		{"dots and case", "10 A.", map[string]string{"a": "192.0.2.1"}, "192.0.2.1:25", noConn},
		{"implicit MX", "", map[string]string{"x.test": "192.0.2.7"}, "192.0.2.7:25", noConn},
		{"MX lookup fails", "soft", nil, "", softText},
		{"no such host", "", nil, "", "DSorry, I couldn't find any host named x.test. (#5.1.2)\n"},
		{"host without address", "", map[string]string{"x.test": "nodata"}, "", noAddress},
		{"exchanger that does not exist", "0 a", nil, "", noAddress},
		{"exchanger without address is skipped", "10 a 20 b", map[string]string{"b": "192.0.2.2"}, "192.0.2.2:25", noConn},
		{"exchanger unknown for now", "10 a", map[string]string{"a": "soft"}, "", softText},
		{"one unknown, one without address", "10 a 20 b", map[string]string{"a": "soft", "b": "nodata"}, "", softText},
		{"one unknown, one called", "10 a 20 b", map[string]string{"a": "soft", "b": "192.0.2.2"}, "192.0.2.2:25", noConn},
		{"null MX", "0 .", map[string]string{"x.test": "192.0.2.7"}, "", "DSorry, x.test does not accept mail (null MX). (#5.1.10)\n"},
		{"null MX among others", "0 . 10 a", map[string]string{"a": "192.0.2.1"}, "192.0.2.1:25", noConn},

		{"before us", "10 a 20 me 30 b", map[string]string{"a": "192.0.2.1", "me": "192.0.2.99", "b": "192.0.2.2"}, "192.0.2.1:25", noConn},
		{"we are best", "10 me 20 b", map[string]string{"me": "192.0.2.99", "b": "192.0.2.2"}, "", loopText},
		{"equal to us", "10 a 10 me", map[string]string{"a": "192.0.2.1", "me": "192.0.2.99"}, "", loopText},
		{"we are implicit", "", map[string]string{"x.test": "192.0.2.99"}, "", loopText},
		{"better one unknown", "10 a 20 me", map[string]string{"a": "soft", "me": "192.0.2.99"}, "", softText},
		{"one of our addresses", "10 me", map[string]string{"me": "192.0.2.1 192.0.2.99"}, "", loopText},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				delete(w.mx, "x.test")
				if tt.mx != "" {
					w.mx["x.test"] = tt.mx
				}
				w.addrs = tt.addrs
				a := w.agent()
				if got := one(t, a); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				if calls := strings.Join(w.calls(), " "); calls != tt.calls {
					t.Errorf("called %q, want %q", calls, tt.calls)
				}
				w.done(a)
			})
		})
	}
}

func TestEqualPreferenceIsShuffled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.mx["x.test"] = "10 a 10 b"
		w.addrs = map[string]string{"a": "192.0.2.1", "b": "192.0.2.2"}
		first := map[string]bool{}
		for range 64 {
			a := w.agent()
			one(t, a)
			first[w.calls()[len(w.calls())-2]] = true
		}
		if len(first) != 2 {
			t.Errorf("first was always %v", first)
		}
	})
}

func TestStrangersDNSIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var all []string
		for i := range 1000 {
			all = append(all, netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}).String())
		}
		w.addrs["mx.x.test"] = strings.Join(all, " ")
		a := w.agent()
		one(t, a)
		if n := len(w.calls()); n != 100 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestLiteralsAndNames(t *testing.T) {
	for domain, call := range map[string]string{
		"[192.0.2.7]":        "192.0.2.7:25",
		"192.0.2.7":          "192.0.2.7:25",
		"[IPv6:2001:db8::7]": "[2001:db8::7]:25",
		"[ipv6:2001:db8::7]": "[2001:db8::7]:25",
		"[2001:db8::7]":      "[2001:db8::7]:25",
		"[nonsense]":         "",
		"[192.0.2.7":         "",
		"[192.0.2.99]":       "",
		"münchen.test":       "192.0.2.8:25",
		"MÜNCHEN.TEST":       "192.0.2.8:25",
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.addrs["xn--mnchen-3ya.test"] = "192.0.2.8"
			a := w.agent()
			m := message(mail, "u@x.test")
			m.Envelope.Recipients[0].Path.Domain = domain
			o := deliver(t, a, m)[0]
			if got := strings.Join(w.calls(), " "); got != call {
				t.Errorf("%s: called %q, want %q", domain, got, call)
			}
			if want := map[bool]sqmail.Class{true: sqmail.Rejection}[call == ""]; o.Class != want {
				t.Errorf("%s: %q", domain, short(o))
			}
		})
	}
}

func TestRelay(t *testing.T) {
	for _, tt := range []struct {
		name  string
		relay sqmail.Relay
		call  string
		want  sqmail.Class
	}{
		{"by name, without MX", sqmail.Relay{Host: "gw.test"}, "192.0.2.50:25", sqmail.Accepted},
		{"port", sqmail.Relay{Host: "gw.test", Port: 26}, "192.0.2.50:26", sqmail.Accepted},
		{"literal", sqmail.Relay{Host: "[192.0.2.50]", Port: 26}, "192.0.2.50:26", sqmail.Accepted},
		{"at our own address", sqmail.Relay{Host: "192.0.2.99", Port: 26}, "192.0.2.99:26", sqmail.Accepted},
		{"unknown for now", sqmail.Relay{Host: "soft.test"}, "", sqmail.Deferral},
		{"does not exist: a slip in smtproutes", sqmail.Relay{Host: "none.test"}, "", sqmail.Deferral},
		{"unknown protocol", sqmail.Relay{Host: "gw.test", Protocol: "uucp"}, "", sqmail.Deferral},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.mx["gw.test"] = "10 elsewhere.test"
				w.addrs["gw.test"] = "192.0.2.50"
				w.addrs["soft.test"] = "soft"
				w.hosts[tt.call] = []string{takesAll}
				a := w.agent()
				m := message(mail, "u@x.test")
				m.Route.Relay = tt.relay
				if o := deliver(t, a, m)[0]; o.Class != tt.want {
					t.Errorf("%q", short(o))
				}
				if got := strings.Join(w.calls(), " "); got != tt.call {
					t.Errorf("called %q", got)
				}
				w.done(a)
			})
		})
	}
}

func TestDomainsOfOneMessageGoTheirWays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.addrs["y.test"] = "192.0.2.2"
		w.hosts["192.0.2.1:25"] = []string{greets + mails + "C: RCPT TO:<u@x.test>\nS: 250 ok\nC: RCPT TO:<w@X.test>\nS: 250 ok\n" + datas + takes}
		w.hosts["192.0.2.2:25"] = []string{greets + mails + "C: RCPT TO:<v@y.test>\nS: 550 no"}
		a := w.agent()
		out := deliver(t, a, message(mail, "u@x.test", "v@y.test", "w@X.test"))
		classes := []sqmail.Class{out[0].Class, out[1].Class, out[2].Class}
		if !slices.Equal(classes, []sqmail.Class{sqmail.Accepted, sqmail.Rejection, sqmail.Accepted}) {
			t.Errorf("%v", out)
		}
		w.done(a)
	})
}

func TestOwnAddrs(t *testing.T) {
	own := remote.OwnAddrs(netip.MustParseAddr("203.0.113.5"))
	for addr, want := range map[string]bool{
		"203.0.113.5": true, "::ffff:203.0.113.5": true, "203.0.113.6": false,
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "0.0.0.0": true, "::": true, "::ffff:127.0.0.1": true,
		"2001:db8::1": false,
	} {
		if own(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
}

// ownDialer is the network of a test, which knows whose address is whose.
type ownDialer struct {
	remote.Dialer
	own func(netip.Addr) bool
}

func (d ownDialer) IsOwn(addr netip.Addr) bool { return d.own(addr) }

// Which addresses this machine has says nothing about another network: an
// Agent without IsOwn asks its Dialer first.
func TestDialerKnowsOwnAddresses(t *testing.T) {
	for own, want := range map[bool]string{true: loopText, false: noConn} {
		bubble(t, func(t *testing.T, w *world) {
			w.addrs["x.test"] = "127.0.0.9" // which every machine has
			a := w.agent()
			a.IsOwn, a.Dialer = nil, ownDialer{w, func(netip.Addr) bool { return own }}
			if got := one(t, a); !strings.HasPrefix(got, want) {
				t.Errorf("the Dialer says %v: got %q, want %q", own, got, want)
			}
			w.done(a)
		})
	}
}
