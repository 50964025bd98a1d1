package local_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
)

// show is a program that writes its variables down, a line for each.
const show = `|for v in USER HOME LOCAL HOST RECIPIENT EXT EXT2 EXT3 EXT4 HOST2 HOST3 HOST4 SENDER NEWSENDER DTLINE RPLINE UFLINE BASE; do
`

func showEnv(t *testing.T, files map[string]string, from, to string) map[string]string {
	t.Helper()
	files["show"] = strings.TrimPrefix(show, "|") + `eval "printf '%s=%s;' $v \"\$$v\""; done >out; printf 'DEFAULT=%s;' "${DEFAULT-unset}" >>out`
	for name, text := range files {
		files[name] = strings.ReplaceAll(text, "SHOW", "|. ./show")
	}
	dir := home(t, files)
	a := &local.Agent{Users: only(dir), Programs: &local.Programs{Env: []string{"BASE=base", "PATH=/usr/bin:/bin"}}, Receiver: &sent{}}
	if o := deliver(t, a, message("x\n", from, to)); o.Class != sqmail.Accepted {
		t.Fatalf("%+v", o)
	}
	vars := make(map[string]string)
	for v := range strings.SplitSeq(strings.TrimSuffix(read(t, dir, "out"), ";"), ";") {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = strings.ReplaceAll(value, dir, "~")
	}
	return vars
}

// The example of spec/local.md §3.4.
func TestEnvironmentOfPrograms(t *testing.T) {
	got := showEnv(t, map[string]string{".qmail-default": "SHOW"}, `a b"c@x.y`, "u-A.b-C.d-e@host.dom.org")
	for name, value := range map[string]string{
		"USER": "u", "HOME": "~", "BASE": "base",
		"LOCAL": "u-A.b-C.d-e", "HOST": "host.dom.org", "RECIPIENT": "u-A.b-C.d-e@host.dom.org",
		"EXT": "A.b-C.d-e", "EXT2": "C.d-e", "EXT3": "e", "EXT4": "", "DEFAULT": "A.b-C.d-e",
		"HOST2": "host.dom", "HOST3": "host", "HOST4": "host",
		"SENDER": `a b"c@x.y`, "NEWSENDER": `a b"c@x.y`,
		"DTLINE": "Delivered-To: u-A.b-C.d-e@host.dom.org\n",
		"RPLINE": `Return-Path: <"a b\"c"@x.y>` + "\n",
	} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	if from := regexp.MustCompile(`^From a-b"c@x\.y (Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z][a-z] [0-3][0-9] [0-9:]{8} 20[0-9]{2}\n$`); !from.MatchString(got["UFLINE"]) {
		t.Errorf("UFLINE is %q", got["UFLINE"])
	}
}

func TestEnvironmentOfAListsProgram(t *testing.T) {
	got := showEnv(t, map[string]string{".qmail-l": "SHOW", ".qmail-l-owner": "#"}, "", "u-l@h")
	for name, value := range map[string]string{
		"DEFAULT": "unset", "SENDER": "", "NEWSENDER": "", "HOST2": "h", "RPLINE": "Return-Path: <>\n",
	} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	if !strings.HasPrefix(got["UFLINE"], "From MAILER-DAEMON ") {
		t.Errorf("UFLINE is %q", got["UFLINE"])
	}
	got = showEnv(t, map[string]string{".qmail-l": "SHOW", ".qmail-l-owner": "#"}, "s@x.test", "u-l@h")
	if got["SENDER"] != "s@x.test" || got["NEWSENDER"] != "u-l-owner@h" {
		t.Errorf("%v", got)
	}
}

// No address may add a field or a line of its own.
func TestLineEndsInAddressesAreHarmless(t *testing.T) {
	got := showEnv(t, map[string]string{".qmail-default": "SHOW"}, "a\nEvil: 1@x.test", "u-b\r\nEvil: 2@h.test")
	for name, value := range map[string]string{
		"DTLINE": "Delivered-To: u-b__Evil: 2@h.test\n", "RPLINE": "Return-Path: <\"a\\_Evil: 1\"@x.test>\n",
	} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	if !strings.HasPrefix(got["UFLINE"], "From a-Evil:-1@x.test ") {
		t.Errorf("UFLINE is %q", got["UFLINE"])
	}
}
