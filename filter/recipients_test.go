package filter_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// recipients makes a filter of lines, whose databases are keys by name, and
// whose programs know the addresses in them.
func recipients(t *testing.T, sources map[string][]string, lines ...string) *filter.Recipients {
	t.Helper()
	rules, err := filter.ParseRecipients(rulesOf(lines...))
	if err != nil {
		t.Fatal(err)
	}
	for i := range rules {
		r := &rules[i]
		switch {
		case len(r.Program) > 0:
			known := sources[r.Program[0]]
			r.Source = filter.MailboxesFunc(func(_ context.Context, _ *filter.Session, to sqmail.Path) (bool, error) {
				if to.LocalPart() == "later" {
					return false, errors.New("exited 111")
				}
				return strings.Contains(" "+strings.Join(known, " ")+" ", " "+to.Unquoted()+" "), nil
			})
		case r.Database != "":
			r.Source = &filter.UserDatabase{Users: filter.KeysOf(sources[r.Database]...)}
		}
	}
	return &filter.Recipients{Rules: rules}
}

// stranger is a session of no relay client.
func stranger() *filter.Session { return &filter.Session{Peer: &sqmail.Peer{}} }

func TestRecipients(t *testing.T) {
	sources := map[string][]string{
		"users/recipients.cdb": {":me@mydomain.com", ":list-@mydomain.com"},
		"bin/pam":              {"a@example.com", "a@sub.example.com", "verp-@example.com", "a@badexample.com"},
		"etc/fastforward.cdb":  {":info@other.org", ":old@localhost"},
	}
	worked := []string{"!nocheck.com", "@mydomain.com:users/recipients.cdb", "example.com|bin/pam", "*:etc/fastforward.cdb", "!*"}
	for _, test := range []struct {
		lines []string
		to    string
		code  int
		line  int // of the rule that decided
	}{
		// filter.md, 7.4
		{worked, "x@nocheck.com", 250, 1},
		{worked, "ME@MyDomain.com", 250, 2},
		{worked, "list-foo-bar@mydomain.com", 250, 2},
		{worked, "list@mydomain.com", 550, 4},
		{worked, "me@sub.mydomain.com", 250, 5},
		{worked, "a@sub.example.com", 250, 3},
		{worked, "b@example.com", 550, 4},
		{worked, "info@other.org", 250, 4},
		{worked, "zzz@unlisted.tld", 250, 5},
		{worked, "later@example.com", 451, 3},

		{worked, "verp-joe=x.test@example.com", 250, 3},
		{worked, "x@sub.nocheck.com", 250, 5},
		{worked, "x@notnocheck.com", 250, 5},
		{worked, "a@example.cox", 250, 5},                           // the last byte counts
		{worked[:4], "a@badexample.com", 550, 4},                    // and the label boundary
		{worked, "postmaster", 250, 0},                              // RFC 5321, 4.5.1
		{worked[:4], "old", 250, 4},                                 // stands for old@localhost
		{[]string{"etc/fastforward.cdb"}, "info@other.org", 250, 1}, // legacy
		{[]string{"other.org:none", "etc/fastforward.cdb"}, "info@other.org", 550, 1},
		{[]string{"*:none", "!*"}, "x@y.test", 250, 2}, // "*" names no domain
		{[]string{"@[IPv6:2001:db8::1]:none", "!*"}, "x@[ipv6:2001:DB8::1]", 550, 1},
		{nil, "x@y.test", 550, 0}, // fail closed
	} {
		f := recipients(t, sources, test.lines...)
		s := stranger()
		to := sqmail.Recipient{Path: sqmail.PathOf(test.to)}
		v, err := f.Recipient(t.Context(), s, &to)
		code := sqmail.ReplyFor(errors.Join(err, v.Err())).Code
		if code != test.code || v.Line != test.line {
			t.Errorf("%s with %q: %d by line %d, want %d by line %d", test.to, test.lines, code, v.Line, test.code, test.line)
		}
		if (s.Unknown == 1) != (test.code == 550) {
			t.Errorf("%s: %d unknown recipients", test.to, s.Unknown)
		}
	}
}

func TestRecipientsLineOfOneDomainSaysNothingOfOthers(t *testing.T) {
	// The original's sticky flag let lines of other domains apply.
	f := recipients(t, map[string][]string{"b": {":x@a.test"}}, "a.test:a", "b.test:b")
	v, err := f.Recipient(t.Context(), stranger(), &sqmail.Recipient{Path: sqmail.PathOf("x@a.test")})
	if err != nil || v.Action != sqmail.ActionReject {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestRecipientsAreForStrangers(t *testing.T) {
	f := &filter.Recipients{}
	s := &filter.Session{Peer: &sqmail.Peer{User: "joe"}}
	if v, err := f.Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf("x@y.test")}); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestRecipientsReply(t *testing.T) {
	to := &sqmail.Recipient{Path: sqmail.PathOf("x@y.test")}
	f := &filter.Recipients{Text: "call us"}
	v, _ := f.Recipient(t.Context(), stranger(), to)
	if got := v.Reply.String(); got != "550 5.7.1 sorry, no mailbox here by that name; call us" {
		t.Error(got)
	}
	f.Defer = true // RECIPIENTS450
	v, _ = f.Recipient(t.Context(), stranger(), to)
	if got := v.Reply.String(); got != "450 4.2.1 sorry, mailbox currently unavailable; call us" || v.Action != sqmail.ActionDefer {
		t.Error(got)
	}
}

// Some programs take a password as an argument.
func TestArgumentsOfProgramsAreNotTold(t *testing.T) {
	asks := func(line string) *filter.Chain {
		rules, err := filter.ParseRecipients(rulesOf(line))
		if err != nil {
			t.Fatal(err)
		}
		rules[0].Source = filter.MailboxesFunc(func(context.Context, *filter.Session, sqmail.Path) (bool, error) { return true, nil })
		return chainOf(&filter.Recipients{Rules: rules})
	}
	tr := lived(t, asks("y.test|bin/ldapam host cn=a secret"), unknownClient, "a@b.test", "x@y.test")
	if text := tr.String(); strings.Contains(text, "secret") || !strings.Contains(text, "y.test|bin/ldapam") {
		t.Error(text)
	}
	for line, unknown := range map[string]int{"y.test|bin/ldapam host cn=a secret": 0, "y.test|bin/ldapam host cn=b secret": 1} {
		done, err := asks(line).Replay(t.Context(), tr, filter.Limits{})
		if err != nil || len(done.Unknown) != unknown || strings.Contains(fmt.Sprint(done), "secret") {
			t.Errorf("%s: %+v, %v", line, done, err)
		}
	}
	nobody, _ := filter.ParseRecipients(rulesOf("y.test|bin/ldapam secret"))
	_, err := (&filter.Recipients{Rules: nobody}).Recipient(t.Context(), stranger(), &sqmail.Recipient{Path: sqmail.PathOf("x@y.test")})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestRecipientsThatCannotBeLookedUpAreDeferred(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty.cdb": "", "short.cdb": strings.Repeat("\x00", 100), "assign.cdb": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeCDB(t, filepath.Join(dir, "keyless.cdb"))
	for _, line := range []string{"empty.cdb", "*:short.cdb", "*:absent.cdb", "*:keyless.cdb", "y.test:assign.cdb", "*|bin/absent", "*|absent"} {
		rules, err := filter.ParseRecipients(rulesOf(line, "!*"))
		if err != nil {
			t.Fatal(err)
		}
		rules[0].Locate(dir)
		f := &filter.Recipients{Rules: rules}
		s := stranger()
		v, err := f.Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf("x@y.test")})
		if err == nil || sqmail.ClassOf(err) != sqmail.Deferral || v.Line != 1 || s.Unknown != 0 {
			t.Errorf("%s: %+v, %v", line, v, err)
		}
	}
	f := &filter.Recipients{Rules: []filter.RecipientRule{{Database: "nobody opened it"}}}
	if _, err := f.Recipient(t.Context(), stranger(), new(sqmail.Recipient)); err == nil {
		t.Error("a rule without source decided")
	}
}

func TestParseRecipients(t *testing.T) {
	for line, want := range map[string]string{
		"# comment":                  "",
		"   ":                        "",
		"!dom.Test":                  "dom.test exact accept",
		"!*":                         "accept unnamed",
		"dom.test:users/x.cdb":       "dom.test db=users/x.cdb",
		"@dom.test:/etc/x.cdb":       "dom.test exact db=/etc/x.cdb",
		"dom.test|pam a:b |c  ":      "dom.test program=[pam a:b |c]",
		"@dom.test|bin/pam":          "dom.test exact program=[bin/pam]",
		"*:x.cdb":                    "db=x.cdb",
		"*|pam":                      "program=[pam]",
		"etc/fastforward.cdb \t\r":   "unnamed db=etc/fastforward.cdb",
		"[IPv6:::1]:x.cdb":           "[ipv6:::1] db=x.cdb",
		"dom.test:":                  "names neither",
		"dom.test|  ":                "names neither",
		":x.cdb":                     "is no domain",
		"!":                          "is no domain",
		"!.dom.test":                 "is no domain",
		"a b:x.cdb":                  "is no domain",
		"joe@dom.test:x.cdb":         "is no domain",
		"@@dom.test:x.cdb":           "is no domain",
		"*.dom.test|bin/pam 1 2 3 4": "is no domain",
	} {
		rules, err := filter.ParseRecipients([]filter.Rule{{Text: line, File: "recipients", Line: 7}})
		got := ""
		if err != nil {
			got = err.Error()
			bad, ok := errors.AsType[*filter.LineError](err)
			if !ok || bad.Line != 7 || bad.File != "recipients" {
				t.Errorf("%q: %v does not name the line", line, err)
			}
		}
		for _, r := range rules {
			got = r.Domain
			for word, set := range map[string]bool{"exact": r.Exact, "accept": r.Accept, "unnamed": r.Unnamed} {
				if set {
					got += " " + word
				}
			}
			if r.Database != "" {
				got += " db=" + r.Database
			}
			if r.Program != nil {
				got += fmt.Sprintf(" program=%v", r.Program)
			}
		}
		for _, word := range strings.Fields(want) {
			if !strings.Contains(got, word) {
				t.Errorf("%q: %q, want %q", line, got, want)
			}
		}
		if want == "" && got != "" {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func FuzzParseRecipients(f *testing.F) {
	for _, line := range []string{"!dom", "!*", "dom:cdb", "@dom|p a", "[::1]:x", "cdb", "#"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		rules, err := filter.ParseRecipients([]filter.Rule{{Text: line}})
		for _, r := range rules {
			sources := 0
			for _, is := range []bool{r.Accept, r.Database != "", len(r.Program) > 0} {
				if is {
					sources++
				}
			}
			if sources != 1 || err != nil {
				t.Errorf("%q: %+v, %v", line, r, err)
			}
		}
	})
}

func TestAssignments(t *testing.T) {
	keys := filter.Keys{
		"!joe\x00": nil, "!joe-": nil, "!sue+": nil, "!": nil, "!vir-tual-": nil, "": []byte("-+"),
	}
	for _, test := range []struct {
		local, prefix string
		want          bool
	}{
		{local: "joe", want: true},
		{local: "JOE", want: true},
		{local: "joe-list", want: true},
		{local: "joe-list-x", want: true},
		{local: "joel"},
		{local: "sue"},
		{local: "sue+x", want: true},
		{local: "nobody"}, // the catch-all is nobody
		{local: "nobody-x"},
		{local: "x", prefix: "vir-tual-", want: true},
		{local: "x", prefix: "vir-"},
	} {
		a := &filter.Assignments{Users: keys}
		if test.prefix != "" {
			a.Prefix = func(string) string { return test.prefix }
		}
		got, err := a.HasMailbox(t.Context(), nil, sqmail.Path{Local: test.local, Domain: "d.test"})
		if got != test.want || err != nil {
			t.Errorf("%s behind %q: %v, %v", test.local, test.prefix, got, err)
		}
	}
	if _, err := (&filter.Assignments{Users: filter.KeysOf("!joe")}).HasMailbox(t.Context(), nil, sqmail.PathOf("x@y.test")); err == nil {
		t.Error("a database without break characters was not made of users/assign")
	}
}
