package tcprules_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/control/tcprules"
	"github.com/sqmail/sqmail/filter"
)

func Example() {
	db := filter.Keys{}
	err := tcprules.Compile(strings.NewReader("127.:allow,RELAYCLIENT=\"\"\n:deny\n"), db.Put)
	if err != nil {
		panic(err)
	}
	rules := &tcprules.Rules{Database: db}
	for _, addr := range []string{"127.0.0.1", "192.0.2.1"} {
		rule, err := rules.Match(control.Client{Addr: netip.MustParseAddr(addr)})
		if err != nil {
			panic(err)
		}
		fmt.Println(addr, rule.Allow, rule.Variables)
	}
	// Output:
	// 127.0.0.1 true [{RELAYCLIENT }]
	// 192.0.2.1 false []
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		rules, addr, host, info string
		want                    string
	}{
		// smtpd.md, 11.2
		{rules: "127.:allow,A=\"1\"\n:deny", addr: "127.0.0.1", want: "allow A=1"},
		{rules: "127.:allow,A=\"1\"\n:deny", addr: "10.0.0.1", want: "deny"},
		{rules: "joe@127.0.0.1:deny\n127.0.0.1:allow", addr: "127.0.0.1", info: "joe", want: "deny"},
		{rules: "joe@127.0.0.1:deny\n127.0.0.1:allow", addr: "127.0.0.1", info: "sue", want: "allow"},
		{rules: "=.example.com:allow,RELAYCLIENT=\"\"\n:allow", addr: "192.0.2.1", host: "a.b.example.com", want: "allow RELAYCLIENT="},
		{rules: "192.0.2.0/24:allow,X=\"n\"\n192.0.2.0/28:allow,X=\"s\"", addr: "192.0.2.5", want: "allow X=s"},
		{rules: "192.0.2.5:deny\n=mx.example.com:allow", addr: "192.0.2.5", host: "mx.example.com", want: "deny"},

		{rules: "192.0.0.0/16:deny\n192.0.2.:allow", addr: "192.0.2.5", want: "allow"},
		{rules: "192.0.2.:allow\n192.0.2.0/28:deny", addr: "192.0.2.5", want: "deny"},
		{rules: "1.2.3.37-53:deny", addr: "1.2.3.40", want: "deny"},
		{rules: "1.2.3.37-53:deny", addr: "1.2.3.54", want: "none"},
		{rules: "10.2-3.:deny", addr: "10.3.1.1", want: "deny"},
		{rules: "fe80::/10:deny", addr: "fe80::1", want: "deny"},
		{rules: "::1/127:deny", addr: "::1", want: "deny"},
		{rules: "2001:db8:::deny", addr: "2001:db8:1::1", want: "deny"},
		{rules: "2001:DB8::1:deny", addr: "2001:db8:0::1", want: "deny"},
		{rules: "=:deny", addr: "192.0.2.1", want: "none"},
		{rules: "=:deny", addr: "192.0.2.1", host: "h.test", want: "deny"},
		{rules: "joe@=H.test:deny", addr: "192.0.2.1", host: "h.TEST", info: "joe", want: "deny"},
		{rules: ":allow,X=/a/,Y='b,c'", addr: "192.0.2.1", want: "allow X=a Y=b,c"},
		{rules: "192.0.2.1:allow\n192.0.2.1:deny", addr: "192.0.2.1", want: "allow"}, // the first counts
		{rules: ":deny", want: "deny"},
		{rules: "# none", addr: "192.0.2.1", want: "none"},
	} {
		db := filter.Keys{}
		if err := tcprules.Compile(strings.NewReader(test.rules), db.Put); err != nil {
			t.Errorf("%q: %v", test.rules, err)
			continue
		}
		c := control.Client{Host: test.host, Info: test.info}
		if test.addr != "" {
			c.Addr = netip.MustParseAddr(test.addr)
		}
		rule, err := (&tcprules.Rules{Database: db}).Match(c)
		if got := describe(rule); got != test.want || err != nil {
			t.Errorf("%q for %s (%s): %s, %v, want %s", test.rules, test.addr, test.host, got, err, test.want)
		}
	}
}

func describe(rule *control.Rule) string {
	if rule == nil {
		return "none"
	}
	words := []string{map[bool]string{true: "allow", false: "deny"}[rule.Allow]}
	for _, v := range rule.Variables {
		words = append(words, v.Name+"="+v.Value)
	}
	return strings.Join(words, " ")
}

func TestValueLayout(t *testing.T) {
	db := filter.Keys{}
	if err := tcprules.Compile(strings.NewReader("192.0.2.1:deny,X=\"1\",Y=\"\"\n010.:allow"), db.Put); err != nil {
		t.Fatal(err)
	}
	if got := string(db["192.0.2.1"]); got != "D+X=1\x00+Y=\x00" {
		t.Errorf("%q", got)
	}
	if got, found := db["10."]; !found || len(got) != 0 {
		t.Errorf("%q, %v", got, found)
	}
}

func TestWrongLinesAreNamed(t *testing.T) {
	err := tcprules.Compile(strings.NewReader("10.:allow\nnonsense\n300-2.:deny\n1.2.3.4/99:deny\n::ffff:192.0.2.1:deny\n1.2.3:deny\n"), filter.Keys{}.Put)
	var got []int
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		bad, ok := errors.AsType[*filter.LineError](err)
		if !ok {
			t.Fatal(err)
		}
		got = append(got, bad.Line)
	}
	if !slices.Equal(got, []int{2, 3, 4, 5, 6}) {
		t.Errorf("lines %v", got)
	}
}

func TestDamagedRulesLetNobodyIn(t *testing.T) {
	for _, value := range []string{"x", "D+", "+X=1", "+X\x00", "X=1\x00", "DD"} {
		rule, err := (&tcprules.Rules{Database: filter.Keys{"": []byte(value)}}).Match(control.Client{})
		if err == nil {
			t.Errorf("%q: %+v", value, rule)
		}
	}
	broken := &tcprules.Rules{Database: &filter.CDB{Path: t.TempDir()}}
	if rule, err := broken.Match(control.Client{}); err == nil {
		t.Errorf("%+v", rule)
	}
}

// FuzzRules compiles a text and looks a client up: what the text's own reader
// decides and what the database says must agree as far as both take the text.
func FuzzRules(f *testing.F) {
	f.Add("127.:allow,A=\"1\"\n:deny", "127.0.0.1")
	f.Add("192.0.2.0/24:deny", "192.0.2.1")
	f.Fuzz(func(t *testing.T, text, addr string) {
		client, err := netip.ParseAddr(addr)
		db := filter.Keys{}
		if err != nil || tcprules.Compile(strings.NewReader(text), db.Put) != nil {
			return
		}
		rules, problems := control.ParseRules("rules", []byte(text))
		for _, p := range problems {
			if p.Fatal {
				return
			}
		}
		want := rules.Match(control.Client{Addr: client})
		got, err := (&tcprules.Rules{Database: db}).Match(control.Client{Addr: client})
		if err != nil || describe(got) != describe(want) {
			t.Errorf("%q for %s: %s, %v, want %s", text, addr, describe(got), err, describe(want))
		}
	})
}
