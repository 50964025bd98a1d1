package filter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// rulesOf returns the lines of a list file as rules, numbered from 1.
func rulesOf(lines ...string) []filter.Rule {
	var rules []filter.Rule
	for i, line := range lines {
		rules = append(rules, filter.Rule{Text: line, File: "list", Line: i + 1})
	}
	return rules
}

func TestPatternsLastMatchWins(t *testing.T) {
	a := []string{"*", "!", "!*@*.*", "*viagra*"}
	b := []string{"*@earthlink.net", "!fred@earthlink.net", "[0-9][0-9][0-9][0-9][0-9]@[0-9][0-9][0-9].com", "answerme@save*", "*%*"}
	for _, test := range []struct {
		list []string
		text string
		want bool
	}{
		// filter.md, 1.3
		{a, "", false},
		{a, "root", true},
		{a, "a@b", true},
		{a, "a@b.c", false},
		{a, "cheapviagra@b.c", true},
		{b, "joe@earthlink.net", true},
		{b, "fred@earthlink.net", false},
		{b, "Fred@earthlink.net", true},
		{b, "joe@EARTHLINK.NET", true}, // REQ: the domain's case does not matter
		{b, "12345@123.com", true},
		{b, "1234@123.com", false},
		{b, "answerme@savetrees.com", true},
		{b, "a%b@c.d", true},
		{b, "joe@sub.earthlink.net", false},

		{[]string{"*NET"}, "joe@a.NET", true},
		{[]string{"*net"}, "joe@a.NET", true},
		{[]string{"joe@a.b", "!joe@a.b"}, "joe@a.b", false},
		{[]string{"!joe@a.b", "joe@a.b"}, "joe@a.b", true},
		{[]string{"joe*", "!*@a.b"}, "joe@a.b", false},
		{[]string{"!*@a.b", "joe*"}, "joe@a.b", true},
		{[]string{"a[b"}, "a[b", false},
		{nil, "x", false},
	} {
		_, yes, found := filter.NewPatterns(rulesOf(test.list...)).Match(test.text)
		if got := found && yes; got != test.want {
			t.Errorf("%q in %q: %v", test.text, test.list, got)
		}
	}
}

func TestMalformedPatternsAreNamed(t *testing.T) {
	bad := filter.NewPatterns(rulesOf("ok*", "a[b", `c\`)).Malformed()
	if len(bad) != 2 || bad[0].Line+bad[1].Line != 5 {
		t.Errorf("%+v", bad)
	}
}

// FuzzPatterns compares the indexed look-up with trying every pattern in turn.
func FuzzPatterns(f *testing.F) {
	f.Add("*@a.b\n!joe*\n*x*\n", "joe@a.b")
	f.Fuzz(func(t *testing.T, list, text string) {
		lines := strings.Split(list, "\n")
		whole := filter.NewPatterns(rulesOf(lines...))
		line := 0
		for i := range lines {
			if _, _, found := filter.NewPatterns(rulesOf(lines[i])).Match(text); found {
				line = i + 1
			}
		}
		if rule, _, _ := whole.Match(text); rule.Line != line {
			t.Errorf("%q in %q: line %d, want %d", text, lines, rule.Line, line)
		}
	})
}

func TestBadRcptTo(t *testing.T) {
	only := []string{"*", "!user1@mydomain.com", "!*@anotherdomain.com"}
	for _, test := range []struct {
		list []string
		to   string
		code int
	}{
		// filter.md, 14
		{[]string{"root@example.com"}, "ROOT@Example.com", 553},
		{[]string{"@old.example.com"}, "x@OLD.example.com", 553},
		{[]string{"*%*"}, "a%b@c.d", 553},
		{only, "user1@mydomain.com", 250},
		{only, "user2@mydomain.com", 553},
		{only, "x@anotherdomain.com", 250},
		{only, "x@sub.anotherdomain.com", 553},
		{[]string{"!*@anotherdomain.com", "*"}, "x@anotherdomain.com", 553},
		{nil, "x@y.z", 250},
		{[]string{"a@b.c"}, `"a"@b.c`, 553}, // the same mailbox
	} {
		f := filter.NewBadRcptTo(rulesOf(test.list...), "")
		to, err := sqmail.ParsePath(test.to)
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.Recipient(t.Context(), &filter.Session{Peer: &sqmail.Peer{User: "relay"}}, &sqmail.Recipient{Path: to})
		if err != nil {
			t.Fatal(err)
		}
		if got := sqmail.ReplyFor(v.Err()).Code; got != test.code {
			t.Errorf("%s with %q: %d, want %d", test.to, test.list, got, test.code)
		}
		if v.Action == sqmail.ActionReject && v.Line == 0 {
			t.Errorf("%s with %q: no line", test.to, test.list)
		}
	}
}

func TestBadMailFrom(t *testing.T) {
	list := rulesOf("?boss@spam.example", "@corp.example+", "@yahoo.com-", "@hotmail.com=", "~aol.com",
		"joe@bad.example", "@bad.net", "*@*.evil", "!ok@x.evil")
	for _, test := range []struct {
		from, host string
		relay      bool
		line       int // of the rule that refuses; 0 for none
	}{
		// filter.md, 3
		{"boss@spam.example", "", false, 0},
		{"ceo@corp.example", "mx.foo.org", false, 2},
		{"ceo@corp.example", "mx.foo.org", true, 0},
		{"a@yahoo.com", "", false, 3},
		{"a@yahoo.com", "mx.yahoo.com", false, 0},
		{"a@hotmail.com", "mail.evil-host.example", false, 4},
		{"a@hotmail.com", "out1.hotmail.com", false, 0},
		{"a@hotmail.com", "", false, 0},
		{"x@foo.org", "mx1.mail.aol.com", false, 5},
		{"x@aol.com", "mx1.mail.aol.com", false, 0},
		{"x@foo.org", "", false, 0},
		{"JOE@bad.example", "any.host.tld", false, 6},
		{"jim@bad.example", "any.host.tld", false, 0},
		{"any@BAD.net", "any.host.tld", true, 7},
		{"z@x.evil", "any.host.tld", false, 8},
		{"ok@x.evil", "any.host.tld", false, 0},
		{"", "any.host.tld", false, 0},

		// REQ: a short host name and a missing label boundary do not help.
		{"a@hotmail.com", "gmx.de", false, 4},
		{"a@hotmail.com", "evilhotmail.com", false, 4},
		{"x@evilaol.com", "mx.aol.com", false, 5},

		// The details of the table of markers.
		{"x@foo.org", "aol.com", false, 5},
		{"x@foo.org", "evilaol.com", false, 0},
		{"x@deep.mx1.mail.aol.com", "mx1.mail.aol.com", false, 0},
		{"x@foo.org", "mx1.mail.aol.com", true, 5}, // relay clients too, but for "+"
		{"a@HOTMAIL.com", "HotMail.com", false, 0},
		{"a@sub.hotmail.com", "h.test", false, 0}, // an entry is its domain alone
		{"BOSS@spam.example", "", false, 0},
	} {
		f := filter.NewBadMailFrom(list, "")
		s := &filter.Session{
			Peer: &sqmail.Peer{Name: test.host}, Relayed: test.relay,
			Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf(test.from)},
		}
		v, err := f.Recipient(t.Context(), s, new(sqmail.Recipient))
		line := 0
		if v.Action == sqmail.ActionReject {
			line = v.Line
		}
		if err != nil || line != test.line {
			t.Errorf("%q from %q, relay %v: refused by line %d, want %d (%v)", test.from, test.host, test.relay, line, test.line, err)
		}
	}
}

func TestMarkedEntriesAreNoPatterns(t *testing.T) {
	f := filter.NewBadMailFrom(rulesOf("?nobody@example.com", "@*.net-"), "")
	s := &filter.Session{Peer: &sqmail.Peer{Name: "h.test"}, Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("xnobody@example.com")}}
	if v, _ := f.Recipient(t.Context(), s, new(sqmail.Recipient)); v.Action != sqmail.ActionPass {
		t.Errorf("%+v", v)
	}
}

func TestNullPathCanBeListedByPatternAlone(t *testing.T) {
	for list, want := range map[string]sqmail.Action{"*": sqmail.ActionReject, "*\n!": sqmail.ActionPass} {
		f := filter.NewBadMailFrom(rulesOf(strings.Split(list, "\n")...), "")
		s := &filter.Session{Peer: &sqmail.Peer{}, Envelope: new(sqmail.Envelope)}
		if v, _ := f.Recipient(t.Context(), s, new(sqmail.Recipient)); v.Action != want {
			t.Errorf("%q: %v, want %v", list, v.Action, want)
		}
	}
}

func BenchmarkPatterns(b *testing.B) {
	var rules []filter.Rule
	for i := range 100_000 {
		rules = append(rules, filter.Rule{Text: fmt.Sprintf("*@host%d.example", i)})
	}
	p := filter.NewPatterns(rules)
	for b.Loop() {
		p.Match("somebody@host.not-in.example")
	}
}

func TestAddressThatLooksLikeAnEntryWithAMarker(t *testing.T) {
	f := filter.NewBadMailFrom(rulesOf("?boss@spam.example"), "")
	s := &filter.Session{Peer: &sqmail.Peer{}, Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("?boss@spam.example")}}
	if v, _ := f.Recipient(t.Context(), s, new(sqmail.Recipient)); v.Action != sqmail.ActionPass {
		t.Errorf("%+v", v)
	}
}

func BenchmarkListOf100000(b *testing.B) {
	var rules []filter.Rule
	for i := range 100_000 {
		rules = append(rules, filter.Rule{Text: fmt.Sprintf("user%d@host%d.example", i, i)})
	}
	f := filter.NewBadRcptTo(rules, "")
	to := &sqmail.Recipient{Path: sqmail.PathOf("User99999@host99999.Example")}
	b.ReportAllocs()
	for b.Loop() {
		if v, _ := f.Recipient(b.Context(), nil, to); v.Action != sqmail.ActionReject {
			b.Fatal(v)
		}
	}
}
