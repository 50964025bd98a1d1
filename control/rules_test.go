package control

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func client(text string) Client { // [info@]ip[=host]
	var c Client
	if info, rest, found := strings.Cut(text, "@"); found {
		c.Info, text = info, rest
	}
	ip, host, _ := strings.Cut(text, "=")
	c.Host = host
	c.Addr, _ = netip.ParseAddr(ip)
	return c
}

// The worked table of smtpd.md, 11.2, and what the order of keys implies.
func TestRulesMatch(t *testing.T) {
	tests := []struct {
		rules, client string
		want          string // the rule's line, "" for none
	}{
		{"127.:allow,A=\"1\"\n:deny", "127.0.0.1", "1"},
		{"127.:allow,A=\"1\"\n:deny", "10.0.0.1", "2"},
		{"joe@127.0.0.1:deny\n127.0.0.1:allow", "joe@127.0.0.1", "1"},
		{"joe@127.0.0.1:deny\n127.0.0.1:allow", "ann@127.0.0.1", "2"},
		{"=.example.com:allow,RELAYCLIENT=\"\"\n:allow", "192.0.2.1=a.b.example.com", "1"},
		{"=.example.com:allow,RELAYCLIENT=\"\"\n:allow", "192.0.2.1=example.com", "2"},
		{"=.example.com:allow\n:allow", "192.0.2.1=evilexample.com", "2"},
		{"192.0.2.0/24:allow,X=\"n\"\n192.0.2.0/28:allow,X=\"s\"", "192.0.2.5", "2"},
		{"192.0.2.0/28:allow,X=\"s\"\n192.0.2.0/24:allow,X=\"n\"", "192.0.2.5", "1"},
		{"192.0.2.0/28:allow,X=\"s\"\n192.0.2.0/24:allow,X=\"n\"", "192.0.2.99", "2"},
		{"192.0.2.5:deny\n=mx.example.com:allow", "192.0.2.5=mx.example.com", "1"},
		{"192.0.2.5:deny\n=mx.example.com:allow", "192.0.2.6=MX.Example.com", "2"},
		{"192.0.2.:deny\n=mx.example.com:allow", "192.0.2.5=mx.example.com", "2"}, // a name before networks
		{"joe@=mx.example.com:deny\n192.0.2.5:allow", "joe@192.0.2.5=mx.example.com", "1"},
		{"192.0.:allow\n192.0.2.:allow", "192.0.2.5", "2"},
		{"192.0.2.:allow\n192.0.2.0/24:allow", "192.0.2.5", "1"},
		{"=:allow\n:deny", "192.0.2.5=a.example", "1"},
		{"=:allow\n:deny", "192.0.2.5", "2"},
		{"=.a.b.example:allow\n=.b.example:allow\n=.example:allow", "192.0.2.5=x.b.example", "2"},
		{"192.0.2.37-53:deny", "192.0.2.37", "1"},
		{"192.0.2.37-53:deny", "192.0.2.53", "1"},
		{"192.0.2.37-53:deny", "192.0.2.54", ""},
		{"10.2-3.:deny", "10.3.9.9", "1"},
		{"10.2-3.:deny", "10.4.9.9", ""},
		{"::1:allow\n:deny", "::1", "1"},
		{"fe80::/10:allow\n:deny", "fe80::1%eth0", "1"},
		{"2001:db8:::allow\n:deny", "2001:db8:1::5", "1"},
		{"2001:db8:::allow\n:deny", "2001:db9::5", "2"},
		{"2001:DB8:0::5:deny", "2001:db8::5", "1"},
		{"192.0.2.5:deny", "::ffff:192.0.2.5", "1"},
		{"0.0.0.0/0:deny", "2001:db8::5", ""},
		{"a:b@192.0.2.5:deny", "a:b@192.0.2.5", "1"},
		{"1.2.3.4:allow\n1.2.3.4:deny", "1.2.3.4", "1"}, // the first counts
		{"# comment\n\n:deny\r\n", "1.2.3.4", "3"},
		{":deny", "=a.example", "1"}, // no address, as over a socket
		{"1.:allow\n=:allow", "", ""},
		{"", "1.2.3.4", ""},
	}
	for _, tt := range tests {
		t.Run(tt.rules+" "+tt.client, func(t *testing.T) {
			r, problems := ParseRules("control/rules.smtpd", []byte(tt.rules))
			for _, p := range problems {
				if p.Fatal {
					t.Fatal(problems)
				}
			}
			got := ""
			if rule := r.Match(client(tt.client)); rule != nil {
				got = fmt.Sprint(rule.Line)
			}
			if got != tt.want {
				t.Errorf("rule %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseRule(t *testing.T) {
	tests := []struct {
		line  string
		allow bool
		want  string // address, variables
	}{
		{`:allow`, true, ` []`},
		{`10.:deny`, false, `10. []`},
		{`1.2.3.4:allow,RELAYCLIENT="",SPF='3',X=/a b,/`, true, `1.2.3.4 [{RELAYCLIENT } {SPF 3} {X a b,}]`},
		{`::1:allow,A="1"`, true, `::1 [{A 1}]`},
		{`=a:deny`, false, `=a []`},
		{`:allow,A="x:deny"`, true, ` [{A x:deny}]`},
		{`:allow,`, true, ``},
	}
	for _, tt := range tests {
		r, err := ParseRule(tt.line)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: taken", tt.line)
			}
			continue
		}
		if err != nil || r.Allow != tt.allow || fmt.Sprint(r.Address, " ", r.Variables) != tt.want {
			t.Errorf("%s: %+v, %v", tt.line, r, err)
		}
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	for _, line := range []string{
		"allow", "1.2.3.4", "1.2.3.4:permit", "1.2.3.4:allowed", ":allow RELAYCLIENT=\"\"", `:allow,A`, `:allow,A=`, `:allow,A="x`, `:allow,A="x"B="y"`,
		`:allow,=x`, `:allow,A B="x"`, "1.2.3:allow", "1.2.3.4.:allow", "1.2.3.4.5:allow", "256.:allow", "1.2.3.5-4:allow", "1.2.3.a:allow",
		"localhost:allow", "10.0.0.0/33:allow", "fe80::1%eth0:deny", "joe@host:allow", "@1.2.3.4:allow", "::ffff:1.2.3.4:allow",
		"0-255.0-255.0-255.:allow", "=a b:allow", " 1.2.3.4:allow",
	} {
		_, problems := ParseRules("control/rules.x", []byte("#\n"+line+"\n"))
		if len(problems) != 1 || !problems[0].Fatal || problems[0].Line != 2 || problems[0].File != "control/rules.x" {
			t.Errorf("%s: %v", line, problems)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add("127.:allow,RELAYCLIENT=\"\"\n:deny\n", "joe@127.0.0.1=localhost")
	f.Add("1.2.3.4-7:allow\n=.x:deny\nfe80::/10:allow", "fe80::1=a.x")
	f.Add("joe@=h:deny\n2001:db8:::allow", "2001:db8::1")
	f.Fuzz(func(t *testing.T, text, who string) {
		r, _ := ParseRules("f", []byte(text))
		if rule := r.Match(client(who)); rule != nil && (rule.Line < 1 || rule.File != "f") {
			t.Fatalf("%+v", rule)
		}
	})
}
