package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/filter"
)

func TestAddressesOfDaemons(t *testing.T) {
	for value, want := range map[string]string{
		"unix:/run/clamd.ctl": "/run/clamd.ctl", "/run/clamd.ctl": "/run/clamd.ctl",
		"127.0.0.1:783": "127.0.0.1:783", "[::1]:783": "[::1]:783", "scan.example.org:3310": "scan.example.org:3310",
		"": "", "unix:": "", "unix:clamd.ctl": "", "unix:/" + strings.Repeat("x", 107): "", "127.0.0.1": "", ":783": "",
		"127.0.0.1:0": "", "127.0.0.1:smtp": "", "127.0.0.1:65536": "", "::1:783": "",
	} {
		got, err := daemonAddress(value)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
}

// settingsOf returns what variables mean, one set behind the other.
func settingsOf(pairs ...string) (f FilterSettings, err error) {
	for i := 0; i < len(pairs) && err == nil; i += 2 {
		var known bool
		if known, err = f.set(pairs[i], pairs[i+1]); !known {
			err = fmt.Errorf("%s is not known", pairs[i])
		}
	}
	return f, err
}

func TestValuesOfFilterVariables(t *testing.T) {
	for _, test := range []struct {
		pairs []string
		show  func(*FilterSettings) any
		want  string
	}{
		{[]string{"RBL", ""}, func(f *FilterSettings) any { return f.DNSLists }, "{rbl false false false false 0s}"},
		{[]string{"RBL", "reject strict connect timeout=5 lists=rbl.hard"}, func(f *FilterSettings) any { return f.DNSLists }, "{rbl.hard true true false true 5s}"},
		{[]string{"RBL", "tag"}, func(f *FilterSettings) any { return f.DNSLists }, "{rbl false false true false 0s}"},
		{[]string{"RBL", "reject", "RBL", "-"}, func(f *FilterSettings) any { return f.DNSLists }, "{ false false false false 0s}"},
		{[]string{"RBL", "reject", "RBL", ""}, func(f *FilterSettings) any { return f.DNSLists.Reject }, "false"},
		{[]string{"RBLSMTPD", "-go away"}, func(f *FilterSettings) any { return f.Blocked }, "true"},
		{[]string{"GREYLIST", ""}, func(f *FilterSettings) any { return fmt.Sprint(f.Greylist.Delay, f.Greylist.Window) }, "0s 0s"},
		{[]string{"GREYLIST", "delay=60 window=3600 lifetime=86400"}, func(f *FilterSettings) any {
			return fmt.Sprint(f.Greylist.Delay, f.Greylist.Window, f.Greylist.Lifetime)
		}, "1m0s 1h0m0s 24h0m0s"},
		{[]string{"GREYLIST", "", "GREYLIST", "-"}, func(f *FilterSettings) any { return f.Greylist == nil }, "true"},
		{[]string{"POSTGREY", "127.0.0.1"}, func(f *FilterSettings) any { return f.Postgrey }, "127.0.0.1:60000"},
		{[]string{"POSTGREY", "127.0.0.1", "POSTGREY", "-"}, func(f *FilterSettings) any { return f.Postgrey }, ""},
		{[]string{"CLAMD", "unix:/c timeout=9 maxsize=1000 pass strangers"}, func(f *FilterSettings) any {
			return fmt.Sprintln(f.Clamd.Address, f.Clamd.Timeout, f.Clamd.MaxSize, f.Clamd.Pass, f.Clamd.Strangers)
		}, "/c 9s 1000 true true\n"},
		{[]string{"CLAMD", "/c", "CLAMD", "-"}, func(f *FilterSettings) any { return f.Clamd == nil }, "true"},
		{[]string{"SPAMD", "localhost:783 rejectat=7.5 user=mail pass"}, func(f *FilterSettings) any {
			return fmt.Sprintln(f.Spamd.Address, f.Spamd.RejectAt, f.Spamd.User, f.Spamd.Pass, f.Spamd.Strangers)
		}, "localhost:783 7.5 mail true false\n"},
		{[]string{"SPAMD", "/s", "SPAMD", "-"}, func(f *FilterSettings) any { return f.Spamd == nil }, "true"},
		{[]string{"RSPAMD", "/r tagonly rejectat=20 maxsize=5"}, func(f *FilterSettings) any {
			return fmt.Sprintln(f.Rspamd.Address, f.Rspamd.TagOnly, f.Rspamd.RejectAt, f.Rspamd.MaxSize)
		}, "/r true 20 5\n"},
		{[]string{"RSPAMD", "/s", "RSPAMD", "-"}, func(f *FilterSettings) any { return f.Rspamd == nil }, "true"},
		{[]string{"MILTER", "/a pass  unix:/b h:1 strangers timeout=3 endtimeout=4 ignorechanges"}, func(f *FilterSettings) any { return f.Milters },
			"[{/a 0s 0s false true false} {/b 0s 0s false false false} {h:1 3s 4s true false true}]"},
		{[]string{"MILTER", "/a", "MILTER", "-"}, func(f *FilterSettings) any { return len(f.Milters) }, "0"},
		{[]string{"MIMEFILTER", "depth=3 parts=4 header=5 fieldlines=6 line=7 strangers"}, func(f *FilterSettings) any {
			m := f.MIME
			return fmt.Sprint(m.MaxDepth, m.MaxParts, m.MaxHeader, m.MaxFieldLines, m.MaxLine, m.Strangers)
		}, "3 4 5 6 7 true"},
		{[]string{"MIMEFILTER", "", "MIMEFILTER", "-"}, func(f *FilterSettings) any { return f.MIME == nil }, "true"},
		{[]string{"QHPSI", "clamdscan", "QHPSIARG1", "--fdpass", "QHPSIARG3", "x", "QHPSIRC", "7", "QHPSIMINSIZE", "1", "QHPSIMAXSIZE", "9", "BASE64", ""},
			func(f *FilterSettings) any { return f.Scanner }, "{clamdscan [--fdpass  x] 7 1 9 true}"},
		{[]string{"QHPSI", "x", "QHPSI", "-"}, func(f *FilterSettings) any { return f.Scanner.Program }, ""},
		{[]string{"QMAILQUEUE", "bin/qq"}, func(f *FilterSettings) any { return f.QueueProgram }, "bin/qq"},
		{[]string{"QMAILQUEUE", "bin/qq", "QMAILQUEUE", ""}, func(f *FilterSettings) any { return f.QueueProgram }, ""},
		{[]string{"DELIVERTO", "a@x.test  b@y.test"}, func(f *FilterSettings) any { return f.DeliverTo }, "[a@x.test b@y.test]"},
	} {
		f, err := settingsOf(test.pairs...)
		if err != nil {
			t.Errorf("%q: %v", test.pairs, err)
			continue
		}
		if got := fmt.Sprint(test.show(&f)); got != test.want {
			t.Errorf("%q: %s, want %s", test.pairs, got, test.want)
		}
	}
}

// TestValuesThatMeanNothing: each is an error that keeps the configuration from
// being used, and tells the file, the line and the variable.
func TestValuesThatMeanNothing(t *testing.T) {
	for _, v := range []Variable{
		{"RBL", "rejct"}, {"RBL", "reject=1"}, {"RBL", "timeout"}, {"RBL", "timeout=0"}, {"RBL", "timeout=61"}, {"RBL", "lists=../x"}, {"RBL", "lists="},
		{"RBL", "tag reject"}, {"RBL", "tag connect"}, {"RBL", ""}, {"RBL", "lists=nowhere"},
		{"RBLSMTPD", strings.Repeat("x", 301)}, {"RBLSMTPD", "a\tb"},
		{"GREYLIST", "delay"}, {"GREYLIST", "delay=86401"}, {"GREYLIST", "window=300"}, {"GREYLIST", "delay=60 window=60"}, {"GREYLIST", "yes"},
		{"POSTGREY", ""}, {"POSTGREY", "localhost"}, {"POSTGREY", "127.0.0.1;0"},
		{"CLAMD", ""}, {"CLAMD", "pass"}, {"CLAMD", "/c rejectat=1"}, {"CLAMD", "/c /d"}, {"CLAMD", "/c maxsize=0"}, {"CLAMD", "/c timeout=541"},
		{"SPAMD", "/s rejectat=0"}, {"SPAMD", "/s rejectat=-1"}, {"SPAMD", "/s rejectat=NaN"}, {"SPAMD", "/s rejectat=inf"}, {"SPAMD", "/s user="}, {"SPAMD", "/s tagonly"},
		{"RSPAMD", ""}, {"RSPAMD", "/s user=x"},
		{"MILTER", ""}, {"MILTER", "pass /a"}, {"MILTER", "/a oops"},
		{"MIMEFILTER", "depth=257"}, {"MIMEFILTER", "depth=0"}, {"MIMEFILTER", "pass"},
		{"QHPSIRC", "0"}, {"QHPSIRC", "256"}, {"QHPSIMINSIZE", "x"}, {"QHPSIMAXSIZE", "-1"}, {"QHPSI", " x"}, {"QMAILQUEUE", "x\ty"},
		{"DELIVERTO", "a"}, {"DELIVERTO", "a@elsewhere.test"}, {"DELIVERTO", "a@mx.test b@elsewhere.test"},
		{"REPLY_MAXSIZE", "two\rlines"},
	} {
		files := map[string]string{"control/services": fmt.Sprintf("# one\nsmtpd smtp 127.0.0.1:0 %s=%q\n", v.Name, v.Value)}
		if strings.Contains(v.Value, "\t") || strings.Contains(v.Value, "\r") {
			files["control/services"] = "# one\nsmtpd smtp 127.0.0.1:0 " + v.Name + "='" + v.Value + "'\n"
		}
		_, err := LoadFS(homeOf(files), "/nowhere")
		if err == nil || !strings.Contains(err.Error(), "control/services:2: "+v.Name+": ") || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s=%q: %v", v.Name, v.Value, err)
		}
		if err != nil && strings.Count(err.Error(), v.Name+": "+v.Name) > 0 {
			t.Errorf("%v: told twice", err)
		}
	}
}

// TestRulesChangeFilters: what a rule says holds for its clients alone.
func TestRulesChangeFilters(t *testing.T) {
	c, err := LoadFS(homeOf(map[string]string{
		"control/services": `smtpd smtp 127.0.0.1:0 GREYLIST="" CLAMD="/c timeout=9" SITE=1 rules=rules.x` + "\n",
		"control/rules.x":  "10.:allow,GREYLIST=\"-\",CLAMD=\"-\",RBLSMTPD=\"\",SITE=\"2\",MILTER=\"/m\"\n192.0.2.:allow,GREYLIST=\"delay=60\",DELIVERTO=\"log@mx.test\"\n",
	}), "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"198.51.100.1": "rcpthosts relayclient badmailfrom badrcptto greylist clamd",
		"10.0.0.1":     "rblsmtpd rcpthosts relayclient badmailfrom badrcptto milter",
		"192.0.2.1":    "rcpthosts relayclient badmailfrom badrcptto greylist deliverto clamd",
	} {
		if got := strings.TrimPrefix(namesOf(c, addr), "localiphost "); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := profileOf(c, "10.0.0.1").Vars; got["SITE"] != "2" || got["CLAMD"] != "-" || profileOf(c, "192.0.2.1").Vars["SITE"] != "1" {
		t.Errorf("%q", got)
	}
	grey := c.Filters(Parts{}).For(profileOf(c, "192.0.2.1"))
	i := slices.IndexFunc(grey, func(f filter.Filter) bool { return f.Name() == "greylist" })
	if g := grey[i].(*filter.Greylist); g.Delay != time.Minute {
		t.Errorf("%+v", g)
	}
}

// TestOrderOfFilters is that of spec/smtpd.md 4.5 and 5.4.
func TestOrderOfFilters(t *testing.T) {
	got, _ := filterNames(t, `RBL="" HELOCHECK="." MFDNSCHECK="" TARPITCOUNT=2 LOCALMFCHECK="" GREYLIST="" POSTGREY="127.0.0.1" DELIVERTO="log@mx.test" BADMIMETYPE="" BADLOADERTYPE=M MIMEFILTER="" CLAMD="/c" QHPSI="x" SPAMD="/s" RSPAMD="/r" MILTER="/m /n"`,
		map[string]string{"control/rbl": "bl.test\n", "control/recipients": "!*\n", "control/badmimetypes": "TVqQAAMAA\n", "control/badloadertypes": "Mi5kb\n"})
	const want = "rblsmtpd badhelo mfdnscheck rcpthosts tarpit recipients localmfcheck relayclient badmailfrom badrcptto greylist postgrey deliverto " +
		"badmimetypes badloadertypes mime clamd qhpsi spamd rspamd milter /m milter /n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestVariablesOfTheSite: what means nothing to us is no slip of the pen where a
// program finds it in its environment.
func TestVariablesOfTheSite(t *testing.T) {
	for variables, doubtful := range map[string]bool{`SITE=1`: true, `SITE=1 QMAILQUEUE="/bin/sh"`: false, `QHPSI="/bin/sh" SITE=1`: false} {
		c, err := LoadFS(homeOf(map[string]string{"control/services": "smtpd smtp 127.0.0.1:0 " + variables + "\n"}), "/nowhere")
		if err != nil {
			t.Fatal(err)
		}
		told := slices.ContainsFunc(c.Problems, func(p Problem) bool { return strings.HasPrefix(p.Text, "SITE is a variable that nothing looks at") })
		if told != doubtful {
			t.Errorf("%s: %v", variables, c.Problems)
		}
	}
}

func TestSlipsOfThePen(t *testing.T) {
	for _, test := range []struct {
		name, meant string
	}{
		{"GREYLST", "GREYLIST"}, {"GREYLISTT", "GREYLIST"}, {"GREYLYST", "GREYLIST"}, {"GERYLIST", "GREYLIST"}, {"greylist", "GREYLIST"},
		{"GREYLISTS", "GREYLIST"}, {"XGREYLIST", "GREYLIST"}, {"QHSPI", "QHPSI"}, {"rbl", "RBL"}, {"UTF", ""}, {"RBLX", ""},
		{"RSAPMD", "RSPAMD"}, {"GREYLISTING", ""}, {"SITE", ""}, {"QHPSIARG4", "QHPSIARG1"}, {"", ""}, {"A", ""},
	} {
		if got := likely(test.name); got != test.meant {
			t.Errorf("%s: %q, want %q", test.name, got, test.meant)
		}
	}
}
