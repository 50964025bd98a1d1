package sqmail_test

import (
	"testing"

	"github.com/sqmail/sqmail"
)

func TestVERP(t *testing.T) {
	for _, test := range []struct {
		reverse, to string
		want, base  string
		alone       bool
	}{
		// queue.md, 7
		{"list-owner-@l.org-@[]", "r@r.net", "list-owner-r=r.net@l.org", "list-owner-@l.org", true},
		{"list-owner-@l.org-@[]", "bare", "list-owner-@l.org-@[]", "list-owner-@l.org", true},
		{"x-@[]", "r@r.net", "x-@[]", "x-@[]", false},
		{"#@[]", "r@r.net", "#@[]", "#@[]", false},
		{"joe@a.test", "r@r.net", "joe@a.test", "joe@a.test", false},
		{"", "r@r.net", "", "", false},
		{"l-@a.test-@[]", "a b@r.net", "l-a b=r.net@a.test", "l-@a.test", true},
	} {
		p := sqmail.PathOf(test.reverse)
		got, alone := p.VERP(sqmail.PathOf(test.to))
		if got.Unquoted() != test.want || alone != test.alone {
			t.Errorf("%s for %s: %s, %v; want %s, %v", test.reverse, test.to, got.Unquoted(), alone, test.want, test.alone)
		}
		base, asks := p.VERPBase()
		if base.Unquoted() != test.base || asks != test.alone {
			t.Errorf("base of %s: %s, %v; want %s", test.reverse, base.Unquoted(), asks, test.base)
		}
	}
}
