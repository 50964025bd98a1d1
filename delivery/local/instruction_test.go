package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
)

func TestLines(t *testing.T) {
	for line, want := range map[string]string{
		"./mbox":               "mbox ./mbox",
		".mbox":                "mbox .mbox",
		"/var/mail/u":          "mbox /var/mail/u",
		"/var/mail/":           "maildir /var/mail/",
		"./Maildir/ \t":        "maildir ./Maildir/",
		"./Maildir/\r":         "maildir ./Maildir/",
		"|a b":                 "program a b",
		"| a":                  "program  a",
		"&a@b.test":            "forward a@b.test",
		"a@b.test":             "forward a@b.test",
		"root":                 "forward root",
		"&root":                "forward root",
		"postmaster":           "forward postmaster",
		"& a@b.test":           "forward a@b.test",
		" a@b.test":            "forward a@b.test",
		"<a@b.test>":           "forward a@b.test",
		`&"a b"@c.test`:        "forward a b@c.test",
		"&a b@c.test":          "forward a b@c.test",
		"a@[192.0.2.1]":        "forward a@[192.0.2.1]",
		"#c":                   "",
		"+list":                "",
		"+other":               "",
		"&":                    "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"& ":                   "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"<>":                   "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"<a@b.test":            "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"a@":                   "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"@b.test":              "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"a@b test":             "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"a@b.test, c@d.test":   "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		" |prog":               "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		" ./Maildir/":          "Uh-oh: .qmail has no valid address in line 2. (#4.2.1)",
		"+list\n./mbox":        "Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)",
		"+list\n|x":            "Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)",
		"+list\na@b.test\n#\n": "forward a@b.test",
	} {
		dir := home(t, map[string]string{".qmail": "#\n" + line})
		a := &local.Agent{Users: only(dir), Programs: &local.Programs{}, Receiver: &sent{}}
		p, err := a.Plan(t.Context(), sqmail.Path{}, sqmail.PathOf("u@h.test"))
		got := ""
		if e, ok := errors.AsType[*sqmail.Error](err); ok {
			got = e.Err.Error()
		} else {
			got, _, _ = strings.Cut(p.String(), "did ")
		}
		if strings.TrimSuffix(got, "\n") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestFirstLineMustNotBeBlank(t *testing.T) {
	for _, text := range []string{"\n", "\n./mbox\n", "  \t\n./mbox\n", "\r\n"} {
		dir := home(t, map[string]string{".qmail": text})
		want(t, deliver(t, &local.Agent{Users: only(dir)}, message("x\n", "", "u@h.test")), sqmail.Deferral,
			"Uh-oh: first line of .qmail file is blank. (#4.2.1)\n")
	}
}

func TestOwnersExecuteBitAllowsForwardsOnly(t *testing.T) {
	for text, report := range map[string]string{
		"./mbox":    "Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n",
		"|true":     "Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n",
		"&a@b.test": "did 0+1+0\nqp 4711\n",
	} {
		dir := home(t, map[string]string{".qmail 0700": text})
		a := &local.Agent{Users: only(dir), Programs: &local.Programs{}, Receiver: &sent{}}
		if o := deliver(t, a, message("x\n", "", "u@h.test")); o.Text != report {
			t.Errorf("%s: %s", text, o.Text)
		}
	}
}

func TestCommentsAloneDeliverNothing(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "# no thanks\n"})
	want(t, deliver(t, &local.Agent{Users: only(dir)}, message("x\n", "", "u@h.test")), sqmail.Accepted, "did 0+0+0\n")
}

// A mistake far down defers the mail before anything is delivered twenty
// times.
func TestFileWithAMistakeDeliversNothing(t *testing.T) {
	for _, mistake := range []string{"&", "+list\n|true", "|true"} {
		dir := home(t, map[string]string{".qmail": "./Maildir/\n" + mistake + "\n"})
		o := deliver(t, &local.Agent{Users: only(dir), Receiver: &sent{}}, message("x\n", "", "u@h.test"))
		if o.Class != sqmail.Deferral || len(mails(t, filepath.Join(dir, "Maildir"))) > 0 {
			t.Errorf("%q: %+v", mistake, o)
		}
	}
}

func TestHugeFileIsDeferred(t *testing.T) {
	dir := home(t, map[string]string{".qmail": strings.Repeat("#", 4<<20+1)})
	want(t, deliver(t, &local.Agent{Users: only(dir)}, message("x\n", "", "u@h.test")), sqmail.Deferral,
		"Unable to open .qmail: trouble. (#4.3.0)\n")
	os.Truncate(filepath.Join(dir, ".qmail"), 4<<20)
	want(t, deliver(t, &local.Agent{Users: only(dir)}, message("x\n", "", "u@h.test")), sqmail.Accepted, "did 0+0+0\n")
}
