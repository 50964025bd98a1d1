package control_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/control"
)

func TestParseService(t *testing.T) {
	tests := []struct{ line, want string }{
		{`smtpd smtp 0.0.0.0:25`, `smtpd smtp 0.0.0.0:25 [] ""`},
		{`smtpd   smtp  0.0.0.0:25    UCSPITLS="" rules=rules.smtpd`, `smtpd smtp 0.0.0.0:25 [{"UCSPITLS" ""}] "rules.smtpd"`},
		{"sub\tsubmission [::]:587 UCSPITLS='!'\tSMTPAUTH=!cram", `sub submission [::]:587 [{"UCSPITLS" "!"} {"SMTPAUTH" "!cram"}] ""`},
		{`a smtps :465 X= Y="a b" Z='"' rules=r Q=1`, `a smtps :465 [{"X" ""} {"Y" "a b"} {"Z" "\""} {"Q" "1"}] "r"`},
		{`pop-3_s pop3s localhost:995`, `pop-3_s pop3s localhost:995 [] ""`},
		{`q qmtp 127.0.0.1:0 A==b=c`, `q qmtp 127.0.0.1:0 [{"A" "=b=c"}] ""`},
	}
	for _, tt := range tests {
		s, err := control.ParseService(tt.line)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		if got := fmt.Sprintf("%s %s %s %q %q", s.Name, s.Protocol, s.Address, s.Variables, s.RulesFile); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestServicesThatAreRefused(t *testing.T) {
	for _, line := range []string{
		"smtpd", "smtpd smtp", "smtpd imap :143", "smt/pd smtp :25", "smtpd smtp 25", "smtpd smtp :smtp", "smtpd smtp :65536", "smtpd smtp mx.example.org:25",
		"smtpd smtp :25 X", "smtpd smtp :25 =x", `smtpd smtp :25 X="a`, `smtpd smtp :25 X="a"b`, `smtpd smtp :25 X=a"b"`, "smtpd smtp :25 X=1 X=2",
		"smtpd smtp :25 rules=../x", "smtpd smtp :25 rules=", "smtpd smtp :25 rules=/etc/passwd", "smtpd smtp :25 rules=rules.none",
		"smtpd smtp :25 DATABYTES=big", "smtpd smtp :25 DATABYTES=-1", "smtpd smtp :25 MAXRECIPIENTS=x", "smtpd smtp :25 MAXTRANSACTIONS=-1",
		"smtpd smtp :25 PROXYFROM=", "smtpd smtp :25 PROXYFROM=::/0", "smtpd smtp :25 XCLIENTFROM=0.0.0.0/0", "smtpd smtp :25 XCLIENTFROM=mx.example.org", `smtpd smtp :25 RELAYCLIENT="a b"`,
		"sub submission :587 SMTPAUTH=!oops", "sub submission :587 SMTPAUTH=cert", "smtpd smtp :25 CERTFILE=",
		"smtpd smtp :25\nsmtpd smtp :26", "a smtp :25\nb smtp :25",
	} {
		refuse(t, home(map[string]string{"services": "# x\n\n" + line + "\n"}), "control/services:")
	}
}

func TestServicesAreKeptInOrder(t *testing.T) {
	c := load(t, map[string]string{"services": "# listeners\nb smtp 127.0.0.1:0\na pop3 127.0.0.1:0\r\n"})
	if len(c.Services) != 2 || c.Services[0].Name != "b" || c.Services[1].Line != 3 || c.Services[1].File != "control/services" {
		t.Errorf("%+v", c.Services)
	}
}

// settings returns what a variable means, without problems.
func settings(t *testing.T, variable string) control.Settings {
	t.Helper()
	c := load(t, map[string]string{"services": "x smtp 127.0.0.1:0 " + variable, "databytes": "77", "ssl/localhost.pem": certificate, "ssl/localhost.key": key})
	return *c.Services[0].For(control.Client{}).Settings
}

func TestVariables(t *testing.T) {
	type s = control.Settings
	all := "LOGIN PLAIN CRAM-MD5"
	tests := []struct {
		variable string
		show     func(s) any
		want     any
	}{
		{``, func(s s) any { return s.STARTTLS }, control.Off},
		{`UCSPITLS=-`, func(s s) any { return s.STARTTLS }, control.Off},
		{`UCSPITLS=""`, func(s s) any { return s.STARTTLS }, control.Offered},
		{`UCSPITLS=yes`, func(s s) any { return s.STARTTLS }, control.Offered},
		{`UCSPITLS=!`, func(s s) any { return s.STARTTLS }, control.Required},
		{`UCSPITLS=?`, func(s s) any { return fmt.Sprint(s.STARTTLS, s.CertRelay, s.CertUser) }, "required true false"},
		{`UCSPITLS=@`, func(s s) any { return fmt.Sprint(s.STARTTLS, s.CertRelay, s.CertUser) }, "required true true"},
		{``, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "off []"},
		{`SMTPAUTH=-`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "off []"},
		{`SMTPAUTH=""`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "offered [LOGIN PLAIN]"},
		{`SMTPAUTH=x`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "offered [LOGIN PLAIN]"},
		{`SMTPAUTH=!`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "required [LOGIN PLAIN]"},
		{`SMTPAUTH=cram`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "offered [CRAM-MD5]"},
		{`SMTPAUTH=+cram`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "offered [" + all + "]"},
		{`SMTPAUTH=!cram`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "required [CRAM-MD5]"},
		{`SMTPAUTH=!+CRAM`, func(s s) any { return fmt.Sprint(s.Auth, s.Mechanisms) }, "required [" + all + "]"},
		{``, func(s s) any { return s.CleartextAuth }, false},
		{`AUTHTLS=""`, func(s s) any { return s.CleartextAuth }, false},
		{`AUTHTLS=-`, func(s s) any { return s.CleartextAuth }, true},
		{``, func(s s) any { return fmt.Sprint(s.UserPass, s.APOP) }, "true false"},
		{`POP3AUTH=apop`, func(s s) any { return fmt.Sprint(s.UserPass, s.APOP) }, "false true"},
		{`POP3AUTH=+apop`, func(s s) any { return fmt.Sprint(s.UserPass, s.APOP) }, "true true"},
		{``, func(s s) any { return fmt.Sprintf("%v %s", s.RelayClient, s.RelaySuffix) }, "false "},
		{`RELAYCLIENT=""`, func(s s) any { return fmt.Sprintf("%v %s", s.RelayClient, s.RelaySuffix) }, "true "},
		{`RELAYCLIENT=@gw`, func(s s) any { return fmt.Sprintf("%v %s", s.RelayClient, s.RelaySuffix) }, "true @gw"},
		{``, func(s s) any { return s.DataBytes }, int64(77)},
		{`DATABYTES=0`, func(s s) any { return s.DataBytes }, int64(0)},
		{`DATABYTES=12`, func(s s) any { return s.DataBytes }, int64(12)},
		{`MAXRECIPIENTS=5`, func(s s) any { return s.MaxRecipients }, 5},
		{`MAXTRANSACTIONS=3`, func(s s) any { return s.MaxTransactions }, 3},
		{`PROXYFROM="10.0.0.5, 10.1.2.3/16 ::ffff:192.0.2.1"`, func(s s) any { return fmt.Sprint(s.ProxyFrom) }, "[10.0.0.5/32 10.1.0.0/16 192.0.2.1/32]"},
		{`XCLIENTFROM=2001:db8::1/64`, func(s s) any { return fmt.Sprint(s.XCLIENTFrom) }, "[2001:db8::/64]"},
		{`UTF8=""`, func(s s) any { return s.UTF8 }, true},
	}
	for _, tt := range tests {
		if got := tt.show(settings(t, tt.variable)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.variable, got, tt.want)
		}
	}
}

func TestRulesOverrideTheService(t *testing.T) {
	c := load(t, map[string]string{
		"services":       `smtpd smtp :25 DATABYTES=5 MAXRECIPIENTS=9 rules=rules.smtpd`,
		"rules.smtpd":    "127.:allow,RELAYCLIENT=\"\",DATABYTES='7'\n192.0.2.:deny\n",
		"databytes":      "3",
		"virtualdomains": "",
	})
	service := c.Services[0]
	local := service.For(control.Client{Addr: netip.MustParseAddr("127.0.0.1")})
	if !local.Allow || !local.RelayClient || local.DataBytes != 7 || local.MaxRecipients != 9 || local.Rule.Line != 1 {
		t.Errorf("local: %+v", local)
	}
	if denied := service.For(control.Client{Addr: netip.MustParseAddr("192.0.2.1")}); denied.Allow || denied.Rule.File != "control/rules.smtpd" {
		t.Errorf("denied: %+v", denied)
	}
	other := service.For(control.Client{Addr: netip.MustParseAddr("198.51.100.1")})
	if !other.Allow || other.RelayClient || other.DataBytes != 5 || other.Rule != nil {
		t.Errorf("other: %+v", other)
	}
	if local != service.For(control.Client{Addr: netip.MustParseAddr("127.0.0.2")}) || other != service.For(control.Client{}) {
		t.Error("a rule has one profile")
	}
	if all := service.Profiles(); len(all) != 3 || !slices.Contains(all, local) || !slices.Contains(all, other) {
		t.Errorf("profiles %v", all)
	}
}

func TestRulesAreReadOnceAndCheckedWithTheServices(t *testing.T) {
	services := "a smtp :25 rules=r\nb smtp :26 rules=r\n"
	refuse(t, home(map[string]string{"services": services, "r": "1.2.3.4:allow,DATABYTES='x'\n"}), "control/r:1: DATABYTES")
	refuse(t, home(map[string]string{"services": services, "r": "#\noops\n"}), "control/r:2:")
	refuse(t, unreadable{home(map[string]string{"services": services, "r": ""}), "control/r"}, "control/r: cannot be read")
	refuse(t, home(map[string]string{"services": services}), "control/services:1: control/r does not exist")
}

// A file that was emptied, as somebody who writes it anew does first, closes no
// listener.
func TestEmptyServicesAreRefused(t *testing.T) {
	refuse(t, home(map[string]string{"services": ""}), "control/services: is empty")
	load(t, map[string]string{"services": "# none\n"})
}

// Two listeners cannot have one address, however it is written.
func TestAddressesThatOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b    string
		overlap bool
	}{
		{"127.0.0.1:25", "127.0.0.1:25", true},
		{"127.0.0.1:25", "127.0.0.1:26", false},
		{"127.0.0.1:25", "localhost:25", true},
		{":25", "127.0.0.1:25", true},
		{"192.0.2.1:25", "0.0.0.0:25", true},
		{"0.0.0.0:25", "[::]:25", false},
		{"[::1]:25", "[::]:25", true},
		{"[::1]:25", "[::0:1]:25", true},
		{"[::1]:25", "127.0.0.1:25", false},
		{":25", "[::]:25", true},
		{":0", ":0", false},
	} {
		files := home(map[string]string{"services": "a smtp " + tt.a + "\nb smtp " + tt.b + "\n"})
		if _, err := control.LoadFS(files, "/"); (err != nil) != tt.overlap {
			t.Errorf("%s and %s: %v", tt.a, tt.b, err)
		}
	}
	c := load(t, map[string]string{"services": "a smtp 0.0.0.0:1\nb smtp [::]:1\nc smtp :2\nd smtp 127.0.0.1:3\n"})
	for i, want := range []string{"tcp4", "tcp6", "tcp", "tcp"} {
		if got := c.Services[i].Network(); got != want {
			t.Errorf("%s: %s", c.Services[i].Address, got)
		}
	}
}

// What the daemon cannot serve, check does not let pass.
func TestProtocolsWithoutAServerAreRefused(t *testing.T) {
	for _, protocol := range []string{"qmtp", "qmtps", "qmqp"} {
		refuse(t, home(map[string]string{"services": "\nx " + protocol + " :209\n", "ssl/localhost.pem": certificate, "ssl/localhost.key": key}),
			"control/services:2: protocol "+protocol+" is not served yet")
	}
}

func TestDoubtfulServices(t *testing.T) {
	tests := []struct{ services, rules, want string }{
		{`x smtp :25 RELAYCLIENT=""`, "", "control/services:1: warning: RELAYCLIENT makes this an open relay"},
		{`x smtp :25 rules=r`, `:allow,RELAYCLIENT=""`, "control/r:1: warning: RELAYCLIENT for everybody"},
		{`x smtp :25 rules=r`, `0.0.0.0/0:allow,RELAYCLIENT=""`, "control/r:1: warning: RELAYCLIENT for"},
		{`x smtp :25 rules=r`, `1.:allow,CERTFILE="x"`, "control/r:1: warning: CERTFILE has no effect here"},
		{`x smtp :25 rules=r`, "1.:allow\n1.:deny", "control/r:2: warning: has no effect: line 1"},
		{`x smtp :25 SPF=3`, "", "control/services:1: warning: SPF is not supported yet"},
		{`x smtp :25 OOPS=3`, "", "control/services:1: warning: OOPS is a variable that nothing looks at"},
		{`x smtp 127.0.0.1:25 SMTPAUTH=yes`, "", `control/services:1: warning: SMTPAUTH="yes" means the same as ""`},
		{`x pop3 127.0.0.1:110 POP3AUTH=no`, "", `control/services:1: warning: POP3AUTH="no" means the same as ""`},
		{`x smtp :25 GREYLST="" QMAILQUEUE=/bin/sh`, "", "control/services:1: warning: GREYLST is a variable that nothing looks at; GREYLIST is one"},
		{`x smtp :25 ucspitls=""`, "", "control/services:1: warning: ucspitls is a variable that nothing looks at; UCSPITLS is one"},
		{`x smtp :25 RULES=r`, "", "control/services:1: warning: RULES is a variable that nothing looks at; rules is one"},
		{`x smtp :25 rules=r`, `:allow,RELAYCLEINT=""`, "control/r:1: warning: RELAYCLEINT is a variable that nothing looks at; RELAYCLIENT is one"},
		{`x submission :25`, "", "control/services:1: warning: a service for submission should"},
		{`x smtp :25 SMTPAUTH=""`, "", "control/services:1: warning: passwords are taken from this host alone"},
		{`x pop3 :110`, "", "control/services:1: warning: passwords are taken from this host alone"},
		{`x smtp :25 SMTPAUTH="" AUTHTLS="-"`, "", "control/services:1: warning: passwords go over the network in clear"},
		{`x pop3 :110 AUTHTLS="-"`, "", "control/services:1: warning: passwords go over the network in clear"},
		{`x smtp 127.0.0.1:25 AUTHTLS="no"`, "", `control/services:1: warning: AUTHTLS="no" means the same as ""`},
		{`x pop3 127.0.0.1:110 CLAMD="/c"`, "", "control/services:1: warning: CLAMD has no effect on pop3"},
		{`x pop3 127.0.0.1:110 REPLY_CONTENT="x"`, "", "control/services:1: warning: REPLY_CONTENT has no effect on pop3"},
		{`x smtp 127.0.0.1:25 QMAILQUEUE="bin/none"`, "", "control/services:1: warning: QMAILQUEUE: there is no program /"},
		{`x smtp 127.0.0.1:25 QHPSI="sh --fdpass"`, "", `control/services:1: warning: QHPSI: there is no program "sh --fdpass" in /`},
		{`x smtp 127.0.0.1:25 rules=r`, `1.:allow,QHPSI="/none/x"`, "control/r:1: warning: QHPSI: there is no program /none/x"},
		{`x pop3 127.0.0.1:110 SMTPAUTH=""`, "", "control/services:1: warning: SMTPAUTH has no effect on pop3"},
		{`x pop3 127.0.0.1:110 XCLIENTFROM=10.0.0.1`, "", "control/services:1: warning: XCLIENTFROM has no effect on pop3"},
		{`x smtp :25 rules=r`, `1.:allow,PROXYFROM="10.0.0.1"`, "control/r:1: warning: PROXYFROM has no effect here"},
		{absent, "", "control/services: warning: does not exist: nothing listens"},
	}
	for _, tt := range tests {
		c := load(t, map[string]string{"services": tt.services, "r": tt.rules})
		warned(t, c.Problems, tt.want)
	}
	// What is usual is not doubted.
	c := load(t, map[string]string{"services": "a smtp 127.0.0.1:0 RELAYCLIENT=\"\"\nb smtp :25 rules=r\nc smtp :26 SMTPAUTH=cram\n", "r": "127.:allow,RELAYCLIENT=\"\"\n:allow\n"})
	if len(c.Problems) > 0 {
		t.Errorf("%v", c.Problems)
	}
}

func TestServicesWithTLSNeedACertificate(t *testing.T) {
	pair := map[string]string{"ssl/localhost.pem": certificate, "ssl/localhost.key": key}
	with := func(services string, more ...string) map[string]string {
		files := map[string]string{"services": services}
		for name, text := range pair {
			files[name] = text
		}
		for i := 0; i < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	for _, service := range []string{"a smtps :465 SMTPAUTH=!", "a pop3s :995", `a smtp :25 UCSPITLS=""`, `a pop3 :110 UCSPITLS=!`} {
		c := load(t, with(service))
		if tc := c.Services[0].TLS; tc == nil || len(tc.Certificates) != 1 || tc.MinVersion == 0 {
			t.Errorf("%s: %+v", service, tc)
		}
		refuse(t, home(with(service, "ssl/localhost.pem", absent)), "control/services:1: ssl/localhost.pem does not exist")
		refuse(t, home(with(service, "ssl/localhost.key", absent)), "control/services:1: ssl/localhost.key does not exist")
		refuse(t, home(with(service, "ssl/localhost.key", "oops")), "control/services:1: ssl/localhost.pem and ssl/localhost.key are no certificate")
		refuse(t, unreadable{home(with(service)), "ssl/localhost.key"}, "ssl/localhost.key: cannot be read")
	}
	if c := load(t, with("a smtp :25")); c.Services[0].TLS != nil {
		t.Error("TLS that nobody wants")
	}
	c := load(t, with(`a smtp :25 rules=r`, "r", `1.:allow,UCSPITLS=""`))
	if c.Services[0].TLS == nil {
		t.Error("a rule wants TLS")
	}
	c = load(t, with("a pop3s :995 CERTFILE=ssl/both.pem KEYFILE=", "ssl/both.pem", certificate+key))
	if c.Services[0].TLS == nil {
		t.Error("the key is in the certificate's file")
	}
	c = load(t, with("a pop3s :995 CERTFILE=none CERTCHAINFILE=ssl/localhost.pem CCAFILE=ssl/localhost.pem"))
	if tc := c.Services[0].TLS; tc == nil || tc.ClientCAs == nil {
		t.Error("no chain, or no authorities")
	}
	refuse(t, home(with("a pop3s :995 CCAFILE=ssl/localhost.key")), "CCAFILE: there is no certificate")
	refuse(t, home(with("a pop3s :995 CERTFILE=../x")), "leads out of the home")
	c = load(t, with(`a smtp 127.0.0.1:25 UCSPITLS=?`))
	warned(t, c.Problems, `control/services:1: warning: UCSPITLS "?" and "@" need CCAFILE`)
	if !c.Services[0].For(control.Client{}).CertRelay || c.Services[0].ImplicitTLS() {
		t.Error("UCSPITLS=?")
	}
}

func TestImplicitTLSIsNotStarted(t *testing.T) {
	c := load(t, map[string]string{"services": `a smtps :465 UCSPITLS=! SMTPAUTH=!`, "ssl/localhost.pem": certificate, "ssl/localhost.key": key})
	if p := c.Services[0].For(control.Client{}); p.STARTTLS != control.Off || !c.Services[0].ImplicitTLS() {
		t.Errorf("%+v", p)
	}
	warned(t, c.Problems, "control/services:1: warning: UCSPITLS has no effect on smtps")
}

func FuzzParseService(f *testing.F) {
	f.Add(`smtpd smtp 0.0.0.0:25 UCSPITLS="" rules=rules.smtpd`)
	f.Add(`s pop3s [::]:995 A='x y' B=`)
	f.Fuzz(func(t *testing.T, line string) {
		s, err := control.ParseService(line)
		if err != nil {
			return
		}
		// Printed again, it is the same service.
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s %s", s.Name, s.Protocol, s.Address)
		for _, v := range s.Variables {
			quote := `"`
			if strings.Contains(v.Value, quote) {
				quote = `'`
			}
			fmt.Fprintf(&b, " %s=%s%s%s", v.Name, quote, v.Value, quote)
		}
		again, err := control.ParseService(b.String())
		if err != nil || fmt.Sprint(again.Variables) != fmt.Sprint(s.Variables) || again.Address != s.Address {
			t.Fatalf("%q became %q: %v", line, b.String(), err)
		}
	})
}

// TestRulesWithTheSameVariablesShareSettings: what is made of settings, such as
// a chain of filters, must not be made for each of 100,000 rules.
func TestRulesWithTheSameVariablesShareSettings(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "10.%d.%d.1:allow,MAXRECIPIENTS=\"%d\"\n", i/256, i%256, i%3)
	}
	c := load(t, map[string]string{"services": "smtpd smtp 127.0.0.1:0 rules=rules\n", "rules": text.String()})
	settings := map[*control.Settings]bool{}
	for _, p := range c.Services[0].Profiles() {
		settings[p.Settings] = true
	}
	if len(settings) != 4 { // one of them for clients without a rule
		t.Errorf("%d settings", len(settings))
	}
	p := c.Services[0].For(control.Client{Addr: netip.MustParseAddr("10.0.5.1")})
	if p.MaxRecipients != 2 || p.Rule.Line != 6 {
		t.Errorf("%+v", p)
	}
}

// "required" does not require TLS.
func TestWordsThatMeanSomethingElse(t *testing.T) {
	problems := control.CheckFS(home(map[string]string{"services": "x smtp 127.0.0.1:25 UCSPITLS=required\n"}), "/nowhere")
	want := control.Problem{File: "control/services", Line: 1, Text: `UCSPITLS="required" means the same as ""; other values are - ! ? @`}
	if !slices.Contains(problems, want) {
		t.Error(problems)
	}
}
