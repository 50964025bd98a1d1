package control

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// filterNames loads a home with one service, and returns the names of the
// filters for clients without a rule.
func filterNames(t *testing.T, variables string, files map[string]string) (names string, list []filter.Filter) {
	t.Helper()
	fsys := fstest.MapFS{
		"control/me":       {Data: []byte("mx.test\n")},
		"control/services": {Data: []byte("smtpd smtp 127.0.0.1:0 " + variables + "\n")},
	}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	c, err := LoadFS(fsys, "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	list = c.Filters(Parts{}).For(c.Services[0].For(Client{}))
	for _, f := range list {
		names += f.Name() + " "
	}
	names, first := strings.CutPrefix(strings.TrimSpace(names), "localiphost ")
	if !first {
		t.Errorf("%s: what gives own addresses a name is to come first", names)
	}
	return names, list
}

func TestFiltersOfVariables(t *testing.T) {
	const always = "rcpthosts relayclient badmailfrom badrcptto"
	for variables, want := range map[string]string{
		"":                               always,
		`HELOCHECK="."`:                  "badhelo " + always,
		`HELOCHECK=""`:                   "badhelo " + always,
		`MFDNSCHECK=""`:                  "mfdnscheck " + always,
		`TARPITCOUNT=2 TARPITDELAY=5`:    "rcpthosts tarpit relayclient badmailfrom badrcptto",
		`TARPITDELAY=5`:                  always,
		`BADMIMETYPE=""`:                 always + " badmimetypes",
		`BADMIMETYPE="-"`:                always,
		`BADLOADERTYPE=M`:                always + " badloadertypes",
		`BADLOADERTYPE=""`:               always,
		`HELOCHECK="A" MFDNSCHECK="yes"`: "badhelo mfdnscheck " + always,
	} {
		got, _ := filterNames(t, variables, map[string]string{"control/badloadertypes": "Mi5kb\n", "control/badmimetypes": "TVqQAAMAA\n"})
		if got != want {
			t.Errorf("%s: %s, want %s", variables, got, want)
		}
	}
}

func TestFiltersOfFiles(t *testing.T) {
	for _, test := range []struct{ variables, file, text, want string }{
		{"", "recipients", "!*\n", "rcpthosts recipients relayclient badmailfrom badrcptto"},
		{"", "recipients", "# nobody\n", "rcpthosts recipients relayclient badmailfrom badrcptto"},
		{`LOCALMFCHECK="!"`, "mailfromrules", "joe&joe@mx.test\n", "rcpthosts localmfcheck relayclient badmailfrom badrcptto"},
		{`POSTGREY="127.0.0.1"`, "locals", "mx.test\n", "rcpthosts relayclient badmailfrom badrcptto postgrey"},
	} {
		got, _ := filterNames(t, test.variables, map[string]string{"control/" + test.file: test.text})
		if got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.variables, test.file, got, test.want)
		}
	}
}

// TestEmptyRecipientsFileKnowsNobody: a file that is there is asked, whatever
// is in it.
func TestEmptyRecipientsFileKnowsNobody(t *testing.T) {
	_, list := filterNames(t, "", map[string]string{"control/recipients": ""})
	for _, f := range list {
		if r, ok := f.(*filter.Recipients); ok {
			s := &filter.Session{Peer: &sqmail.Peer{}, Envelope: new(sqmail.Envelope)}
			v, err := r.Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf("joe@mx.test")})
			if err != nil || v.Action != sqmail.ActionReject {
				t.Errorf("%+v, %v", v, err)
			}
			return
		}
	}
	t.Error("there is no filter")
}

func TestLinesWithoutMeaningAreFatal(t *testing.T) {
	for file, text := range map[string]string{
		"control/recipients":    "!*\ndom:\n",
		"control/mailfromrules": "# rules\nno ampersand\n",
	} {
		_, err := LoadFS(fstest.MapFS{"control/me": {Data: []byte("mx.test\n")}, file: {Data: []byte(text)}}, "/nowhere")
		if err == nil || !strings.Contains(err.Error(), file+":2: ") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestFilterValues(t *testing.T) {
	for _, test := range []struct {
		variable, value string
		check           func(*FilterSettings) bool
	}{
		{"TARPITDELAY", "999", func(f *FilterSettings) bool { return f.Tarpit.Notorious }},
		{"TARPITDELAY", "5", func(f *FilterSettings) bool { return f.Tarpit.Delay == 5*time.Second && !f.Tarpit.Notorious }},
		{"GREETDELAY", "3", func(f *FilterSettings) bool { return f.GreetDelay == 3*time.Second }},
		{"BADMIMETYPE", "!", func(f *FilterSettings) bool { return f.MIMETypes.Blanks && !f.MIMETypes.Strangers }},
		{"BADMIMETYPE", "+", func(f *FilterSettings) bool { return f.MIMETypes.Blanks && f.MIMETypes.Strangers }},
		{"BADLOADERTYPE", "+", func(f *FilterSettings) bool { return f.LoaderTypes.First == 'M' && f.LoaderTypes.Strangers }},
		{"BADLOADERTYPE", "T", func(f *FilterSettings) bool { return f.LoaderTypes.First == 'T' && !f.LoaderTypes.Strangers }},
		{"REPLY_HELO", "go away", func(f *FilterSettings) bool { return f.Texts["HELO"] == "go away" }},
	} {
		var f FilterSettings
		if known, err := f.set(test.variable, test.value); !known || err != nil || !test.check(&f) {
			t.Errorf("%s=%q: %+v, %v, %v", test.variable, test.value, f, known, err)
		}
	}
	for _, bad := range [][2]string{
		{"TARPITCOUNT", "many"}, {"GREETDELAY", "-1"}, {"BADMIMETYPE", "ab"}, {"BADLOADERTYPE", "ab"},
		{"REPLY_HELO", "two\r\nlines"}, {"REPLY_HELO", strings.Repeat("x", 301)},
	} {
		var f FilterSettings
		if _, err := f.set(bad[0], bad[1]); err == nil {
			t.Errorf("%s=%q was taken", bad[0], bad[1])
		}
	}
}

func TestTextsOfOneRuleAreNotThoseOfAnother(t *testing.T) {
	var base FilterSettings
	base.set("REPLY_HELO", "base")
	other := base
	other.set("REPLY_HELO", "other")
	if base.Texts["HELO"] != "base" || other.Texts["HELO"] != "other" {
		t.Errorf("%v, %v", base.Texts, other.Texts)
	}
}

// TestFilesOfFiltersAreNamed: a verdict names the file and the line of its
// rule, and has the service's text.
func TestFilesOfFiltersAreNamed(t *testing.T) {
	_, list := filterNames(t, `REPLY_BADRCPTTO="ask the postmaster"`, map[string]string{"control/badrcptto": "# list\nroot@mx.test\n"})
	for _, f := range list {
		r, ok := f.(filter.RecipientFilter)
		if !ok || f.Name() != "badrcptto" {
			continue
		}
		v, err := r.Recipient(t.Context(), &filter.Session{Peer: &sqmail.Peer{}}, &sqmail.Recipient{Path: sqmail.PathOf("root@mx.test")})
		if err != nil || v.File != "control/badrcptto" || v.Line != 2 || !strings.HasSuffix(v.Reply.Text, "ask the postmaster") {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

func TestMalformedPatternIsFatal(t *testing.T) {
	for _, file := range []string{"badhelo", "badmailfrom", "badrcptto"} {
		fsys := fstest.MapFS{
			"control/me":      {Data: []byte("mx.test\n")},
			"control/" + file: {Data: []byte("fine*\n*[a\n")},
		}
		_, err := LoadFS(fsys, "/nowhere")
		if err == nil || !strings.Contains(err.Error(), "control/"+file+":2: ") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
