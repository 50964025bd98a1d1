package control_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/filter"
)

// Whatever has become of rcpthosts, we are no open relay.
func TestWithoutRcptHostsWeRelayForNobody(t *testing.T) {
	const elsewhere, here, virtual = "elsewhere.example", "mx.example.org", "virtual.example"
	files := map[string]string{"virtualdomains": "virtual.example:joe\ninfo@Mail.example:joe\n.below.example:joe\n:joe\nexempt.example:\n", "locals": here + "\n"}
	with := func(text string) map[string]string {
		all := map[string]string{"rcpthosts": text}
		for name, text := range files {
			all[name] = text
		}
		return all
	}
	t.Run("missing", func(t *testing.T) {
		c := load(t, with(absent))
		warned(t, c.Problems, "control/rcpthosts: warning: does not exist")
		for domain, want := range map[string]bool{
			here: true, virtual: true, "mail.example": true, "x.below.example": true,
			elsewhere: false, "exempt.example": false, "sub." + virtual: false, "below.example": false, "": false, ".": false,
		} {
			if _, got := c.Accepts(domain); got != want {
				t.Errorf("%s: %v", domain, got)
			}
		}
	})
	for name, text := range map[string]string{"empty": "", "comments alone": "# example.org\n\n"} {
		t.Run(name, func(t *testing.T) {
			c := load(t, with(text))
			warned(t, c.Problems, "control/rcpthosts: warning: is empty")
			for _, domain := range []string{here, virtual, elsewhere} {
				if _, got := c.Accepts(domain); got {
					t.Errorf("%s is taken", domain)
				}
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		refuse(t, unreadable{home(files), "control/rcpthosts"}, "control/rcpthosts: cannot be read: permission denied")
	})
	t.Run("a directory", func(t *testing.T) {
		fsys := home(with(absent))
		fsys["control/rcpthosts"] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
		refuse(t, fsys, "control/rcpthosts: cannot be read: it is not a regular file")
	})
	t.Run("missing, with morercpthosts", func(t *testing.T) {
		files := with(absent)
		files["morercpthosts"] = elsewhere
		refuse(t, home(files), "control/rcpthosts: does not exist")
	})
	t.Run("morercpthosts unreadable", func(t *testing.T) {
		refuse(t, unreadable{home(files), "control/morercpthosts"}, "control/morercpthosts: cannot be read")
	})
}

func TestAcceptsTellsTheRule(t *testing.T) {
	c := load(t, map[string]string{"rcpthosts": "# ours\nexample.com\n.Example.net\n", "morercpthosts": "more.example\n"})
	tests := []struct {
		domain, file string
		line         int
	}{
		{"example.com", "control/rcpthosts", 2},
		{"EXAMPLE.com", "control/rcpthosts", 2},
		{"a.b.example.net", "control/rcpthosts", 3},
		{"example.net", "", 0},
		{"sub.example.com", "", 0},
		{"notexample.com", "", 0},
		{"More.example", "control/morercpthosts", 1},
	}
	for _, tt := range tests {
		if e, ok := c.Accepts(tt.domain); e.File != tt.file || e.Line != tt.line || ok != (tt.file != "") {
			t.Errorf("%s: %+v, %v", tt.domain, e, ok)
		}
	}
}

func TestRcptFilterIsTheListAsAFilter(t *testing.T) {
	c := load(t, map[string]string{"rcpthosts": "example.com\n.example.net\n", "morercpthosts": "more.example\n"})
	for domain, want := range map[string]sqmail.Action{
		"example.com": sqmail.ActionPass, "x.example.net": sqmail.ActionPass, "more.example": sqmail.ActionPass, "elsewhere.example": sqmail.ActionReject,
	} {
		s := &filter.Session{Peer: &sqmail.Peer{}, Envelope: &sqmail.Envelope{}}
		v, err := c.RcptFilter().Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf("joe@" + domain)})
		if err != nil || v.Action != want {
			t.Errorf("%s: %+v, %v", domain, v, err)
		}
		if want == sqmail.ActionPass && (v.File == "" || v.Line == 0) {
			t.Errorf("%s: no origin in %+v", domain, v)
		}
	}
}

func TestRouterDecidesAndExplainsByTheFiles(t *testing.T) {
	c := load(t, map[string]string{
		"locals": "# here\nexample.org\n", "virtualdomains": "virtual.example:joe\n", "percenthack": "example.org\n",
		"smtproutes": ".example:gw.example;26|u|p\n:smart.example\n", "qmtproutes": "q.example:q1\n", "authsenders": "boss@example.org:r.example\n",
	})
	r := c.Router()
	tests := []struct {
		to, channel, relay, deliver, file string
		line                              int
	}{
		{"joe@example.org", "local", "", "joe@example.org", "control/locals", 2},
		{"info@Virtual.example", "local", "", "joe-info@Virtual.example", "control/virtualdomains", 1},
		{"a@x.example", "remote", "gw.example", "a@x.example", "control/smtproutes", 1},
		{"a@elsewhere.test", "remote", "smart.example", "a@elsewhere.test", "control/smtproutes", 2},
		{"a@q.example", "remote", "q1", "a@q.example", "control/qmtproutes", 1},
	}
	for _, tt := range tests {
		plan, err := r.Explain(&sqmail.Envelope{}, sqmail.PathOf(tt.to))
		if err != nil || len(plan.Steps) == 0 {
			t.Errorf("%s: %v, %v", tt.to, plan, err)
			continue
		}
		last := plan.Steps[len(plan.Steps)-1]
		if plan.Route.Channel != tt.channel || plan.Route.Relay.Host != tt.relay || plan.Deliver.String() != tt.deliver || last.File != tt.file || last.Line != tt.line {
			t.Errorf("%s: %+v", tt.to, plan)
		}
	}
	if !c.IsLocal("EXAMPLE.org") || c.IsLocal("virtual.example") {
		t.Error("IsLocal is about locals")
	}
}

func TestOriginOfDefaults(t *testing.T) {
	c := load(t, nil)
	if file, line := c.Origin("locals", "MX.example.org"); file != "control/me" || line != 1 {
		t.Errorf("%s:%d", file, line)
	}
	if file, line := c.Origin("smtproutes", "x"); file != "control/smtproutes" || line != 0 {
		t.Errorf("%s:%d", file, line)
	}
}

func TestDoubtfulEntries(t *testing.T) {
	c := load(t, map[string]string{"locals": "joe@example.org\nok.example\n", "rcpthosts": "*.example.org\n.\n", "smtproutes": "example.org\n"})
	for _, want := range []string{"control/locals:1: warning:", "control/rcpthosts:1: warning:", "control/rcpthosts:2: warning:", "control/smtproutes:1: warning: a line without colon"} {
		warned(t, c.Problems, want)
	}
}

func TestBadListsKeepTheirLines(t *testing.T) {
	c := load(t, map[string]string{"badmailfrom": "# no\nspam@example.net\n!ham@example.net\n", "badrcptto": "*\n!ok@example.org\n"})
	if rules := c.BadMailFromRules(); len(rules) != 2 || rules[0] != (filter.Rule{Text: "spam@example.net", File: "control/badmailfrom", Line: 2}) || len(c.BadRcptToRules()) != 2 {
		t.Errorf("%v", rules)
	}
	if len(c.BadMailFrom) != 2 || c.BadMailFrom[1] != (control.Entry{Key: "!ham@example.net", File: "control/badmailfrom", Line: 3}) || len(c.BadRcptTo) != 2 {
		t.Errorf("%v %v", c.BadMailFrom, c.BadRcptTo)
	}
}
