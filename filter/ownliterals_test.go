package filter_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

func ExampleOwnLiterals() {
	own := netip.MustParseAddr("192.0.2.1")
	f := &filter.OwnLiterals{Domain: "mx.example.com", IsOwn: func(addr netip.Addr) bool { return addr == own }}
	to := &sqmail.Recipient{Path: sqmail.PathOf("joe@[192.0.2.1]")}
	v, err := f.Recipient(context.Background(), &filter.Session{Peer: new(sqmail.Peer)}, to)
	fmt.Println(to.Path, v.Input, err)
	// Output: joe@mx.example.com joe@[192.0.2.1] <nil>
}

func TestOwnLiterals(t *testing.T) {
	peer := &sqmail.Peer{Local: netip.MustParseAddrPort("[::ffff:198.51.100.1]:25")}
	own := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	for path, want := range map[string]string{
		"joe@[127.0.0.1]":            "joe@mx.example.com", // smtpd.md, 4.3
		"joe@[192.0.2.1]":            "joe@mx.example.com",
		"joe@[198.51.100.1]":         "joe@mx.example.com",
		"joe@[IPv6:2001:db8::1]":     "joe@mx.example.com",
		"joe@[ipv6:2001:DB8:0::1]":   "joe@mx.example.com",
		"joe@[IPv6:::ffff:c000:201]": "joe@mx.example.com",
		"joe@[IPv6:::1]":             "joe@mx.example.com",
		`"a b"@[127.0.0.1]`:          `"a b"@mx.example.com`,
		"joe@[192.0.2.2]":            "joe@[192.0.2.2]",
		"joe@[IPv6:2001:db8::2]":     "joe@[IPv6:2001:db8::2]",
		"joe@[x:192.0.2.1]":          "joe@[x:192.0.2.1]",
		"joe@[0.0.0.0]":              "joe@[0.0.0.0]",
		"joe@example.org":            "joe@example.org",
		"postmaster":                 "postmaster",
		"":                           "",
	} {
		f := &filter.OwnLiterals{Domain: "mx.example.com", IsOwn: func(addr netip.Addr) bool { return slices.Contains(own, addr) }}
		p, err := sqmail.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		s := &filter.Session{Peer: peer, Envelope: &sqmail.Envelope{ReversePath: p}}
		to := &sqmail.Recipient{Path: p}
		v, err := f.Recipient(t.Context(), s, to)
		if got := to.Path.String(); got != want || err != nil || (v.Rule != "") != (got != path) {
			t.Errorf("%s: %s, %+v, %v, want %s", path, got, v, err, want)
		}
		if _, err := f.ReversePath(t.Context(), s); s.Envelope.ReversePath.String() != want || err != nil {
			t.Errorf("reverse-path %s: %s, %v, want %s", path, s.Envelope.ReversePath, err, want)
		}
		if _, err := (&filter.OwnLiterals{}).Recipient(t.Context(), s, &sqmail.Recipient{Path: p}); err != nil {
			t.Error(err)
		}
	}
	to := &sqmail.Recipient{Path: sqmail.PathOf("joe@[127.0.0.1]")}
	if (&filter.OwnLiterals{}).Recipient(t.Context(), &filter.Session{Peer: peer}, to); to.Path.Domain != "[127.0.0.1]" {
		t.Errorf("%s, without a domain to stand for it", to.Path)
	}
}

// A recipient at an address of ours is in a domain of ours.
func TestOwnLiteralsAreNotRelayed(t *testing.T) {
	chain := &filter.Chain{Filters: []filter.Filter{&filter.OwnLiterals{Domain: "mx.example.com"}, &filter.RcptHosts{Domains: filter.ListOf("mx.example.com")}}}
	for to, want := range map[string]int{"joe@[127.0.0.1]": 250, "joe@[192.0.2.1]": 553} {
		begun, err := chain.BeginSession(t.Context(), new(sqmail.Peer))
		if err != nil {
			t.Fatal(err)
		}
		err = begun.CheckRecipient(t.Context(), new(sqmail.Peer), new(sqmail.Envelope), &sqmail.Recipient{Path: sqmail.PathOf(to)})
		if got := sqmail.ReplyFor(err).Code; got != want {
			t.Errorf("%s: %d, want %d", to, got, want)
		}
	}
}
