package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/control"
)

// runCommand runs a command line in this process.
func runCommand(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), stdio{strings.NewReader(stdin), &out, &errs}, args)
	return out.String(), errs.String(), code
}

func explainedHome(t *testing.T) string {
	t.Helper()
	dir := t.TempDir() + "/home"
	if err := control.Init(dir, "mx.example.org", control.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, dir: dir}
	h.write("control/badmailfrom", "# list\nevil@*\n")
	h.write("control/smtproutes", "foreign.example:relay.example;2525|joe|hush\n")
	h.write("control/rules.smtpd", "192.0.2.66:deny\n:allow\n")
	return dir
}

func TestExplainNamesTheRule(t *testing.T) {
	dir := explainedHome(t)
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-from", "evil@x.test", "-to", "joe@mx.example.org"},
			[]string{"recipient joe@mx.example.org: 553 5.7.1", `rule "evil@*" on "evil@x.test" (control/badmailfrom:2)`}},
		{[]string{"-from", "a@x.test", "-to", "joe@mx.example.org"},
			[]string{"recipient joe@mx.example.org: 250", `locals: "mx.example.org" (control/locals:1)`}},
		{[]string{"-from", "a@x.test", "-to", "b@foreign.example"},
			[]string{"recipient b@foreign.example: 553 5.7.1", `smtproutes: "foreign.example" is "relay.example;2525" (control/smtproutes:1)`}},
		{[]string{"-from", "a@x.test", "-to", "b@foreign.example", "-user", "joe"}, []string{"recipient b@foreign.example: 250"}},
		{[]string{"-ip", "192.0.2.66", "-from", "a@x.test", "-to", "joe@mx.example.org"},
			[]string{"the client is turned away, by control/rules.smtpd:1"}},
	} {
		args := append([]string{"explain", "-home", dir, "-ip", "192.0.2.7"}, test.args...)
		out, errs, code := runCommand(t, "", args...)
		if code != exitDone {
			t.Errorf("%q: exit %d: %s", args, code, errs)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q lacks %q:\n%s", args, want, out)
			}
		}
		if strings.Contains(out, "hush") {
			t.Errorf("%q shows a password:\n%s", args, out)
		}
	}
}

func TestExplainLooksAtTheMessage(t *testing.T) {
	dir := explainedHome(t)
	h := &home{t: t, dir: dir}
	h.write("control/services", "smtpd smtp 127.0.0.1:0 BADMIMETYPE=\"\"\n")
	h.write("control/badmimetypes", "TVqQAAMAA\n")
	out, errs, code := runCommand(t, "Content-Transfer-Encoding: base64\n\nTVqQAAMAAAAEAAAA\n",
		"explain", "-home", dir, "-ip", "192.0.2.7", "-from", "a@x.test", "-to", "joe@mx.example.org", "-json", "-")
	if code != exitDone {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var e explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatal(err)
	}
	last := e.Steps[len(e.Steps)-1]
	if last.Stage != "body" || last.Reply.Code != 554 || last.Verdicts[0].Rule != "TVqQAAMAA" {
		t.Errorf("%+v", last)
	}
}

func TestExplainRefusesNonsense(t *testing.T) {
	dir := explainedHome(t)
	for _, args := range [][]string{
		{"explain", "-home", dir, "-from", "a@x.test"},
		{"explain", "-home", dir, "-to", "a@x.test"},
		{"explain", "-home", dir, "-from", "a@x.test", "-to", "<a@", "-ip", "1"},
		{"explain", "-home", dir, "-from", "a@x.test", "-to", "b@x.test", "-ip", "nowhere"},
		{"explain", "-home", dir, "-from", "a@x.test", "-to", "b@x.test", "-service", "none"},
		{"explain", "-home", dir + "/none", "-from", "a@x.test", "-to", "b@x.test"},
		{"route", "-home", dir},
	} {
		if _, errs, code := runCommand(t, "", args...); code != exitPermanent || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
}

// TestExplainTakesWhatServersTake: paths without a domain are none, but for
// postmaster's (RFC 5321, 4.1.1.3).
func TestExplainTakesWhatServersTake(t *testing.T) {
	dir := explainedHome(t)
	for _, test := range []struct {
		from, to string
		want     int
	}{
		{"a@x.test", "joe", exitPermanent},
		{"a", "joe@mx.example.org", exitPermanent},
		{"postmaster", "joe@mx.example.org", exitPermanent},
		{"a@x.test", "Postmaster", exitDone},
		{"", "joe@mx.example.org", exitDone},
	} {
		out, errs, code := runCommand(t, "", "explain", "-home", dir, "-from", test.from, "-to", test.to)
		if code != test.want || code != exitDone && !strings.Contains(errs, "the server answers 501") {
			t.Errorf("from %q to %q: exit %d %s\n%s", test.from, test.to, code, errs, out)
		}
	}
}
