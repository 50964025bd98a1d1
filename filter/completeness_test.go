package filter_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/mimefilter"
	"github.com/sqmail/sqmail/mailtest"
)

// TestRefusalsNameTheLine: whatever filter refuses by a rule of a file names
// the rule, what it was applied to, the file and the line; and so does what it
// lets pass by such a rule.
func TestRefusalsNameTheLine(t *testing.T) {
	list := func(name string, lines ...string) (rules []filter.Rule) {
		for i, text := range lines {
			rules = append(rules, filter.Rule{Text: text, File: "control/" + name, Line: i + 2})
		}
		return rules
	}
	keys := func(name, key, value string) filter.RuleKeys {
		return filter.RuleKeys{key: {Value: []byte(value), Rule: filter.Rule{File: "control/" + name, Line: 2}}}
	}
	recipients, err := filter.ParseRecipients(list("recipients", "example.org:db"))
	if err != nil {
		t.Fatal(err)
	}
	recipients[0].Source = &filter.UserDatabase{Users: filter.KeysOf(":joe@example.org")}
	zone := mailtest.NewZone(t, "7.2.0.192.bl.test TXT \"no\"\n7.2.0.192.wl.test A 127.0.0.2\n")
	named := func(text string) *filter.BadHello { return filter.NewBadHello(list("badhelo", text)) }
	mailFrom := func(text string) *filter.BadMailFrom { return filter.NewBadMailFrom(list("badmailfrom", text), "") }
	rcptTo := func(text string) *filter.BadRcptTo { return filter.NewBadRcptTo(list("badrcptto", text), "") }
	for _, test := range []struct {
		name  string
		f     filter.Filter
		user  string
		to    string
		body  string
		code  int
		input bool // is told
	}{
		{name: "rules", f: &filter.ConnectionRule{Deny: true, Rule: list("rules", "192.0.2.7")[0]}, code: 554, input: true},
		{name: "rules pass", f: &filter.ConnectionRule{Rule: list("rules", "")[0]}, code: 250, input: true},
		{name: "list", f: &filter.DNSLists{Resolver: zone, Reject: true, Lists: []filter.DNSList{{Base: "bl.test", File: "control/rbl", Line: 2}}}, code: 553, input: true},
		{name: "list pass", f: &filter.DNSLists{Resolver: zone, Lists: []filter.DNSList{{Base: "wl.test", Allow: true, File: "control/rbl", Line: 2}}}, code: 250, input: true},
		{name: "list connect", f: &filter.DNSLists{Resolver: zone, AtConnect: true, Lists: []filter.DNSList{{Base: "bl.test", File: "control/rbl", Line: 2}}}, code: 421, input: true},
		{name: "hello", f: named("client.test"), code: 550, input: true},
		{name: "hello pattern", f: named("*.test"), code: 550, input: true},
		{name: "hello exempt", f: named("client.test!"), code: 250, input: true},
		{name: "rcpthosts", f: hosts(2, "example.org"), code: 250, input: true},
		{name: "recipients", f: &filter.Recipients{Rules: recipients}, to: "no@example.org", code: 550, input: true},
		{name: "recipients pass", f: &filter.Recipients{Rules: recipients}, code: 250, input: true},
		{name: "sender", f: mailFrom("a@x.test"), code: 553, input: true},
		{name: "sender domain", f: mailFrom("@x.test"), code: 553, input: true},
		{name: "sender pattern", f: mailFrom("*@x.*"), code: 553, input: true},
		{name: "sender mark", f: mailFrom("@x.test+"), code: 553, input: true},
		{name: "sender exempt", f: mailFrom("?a@x.test"), code: 250, input: true},
		{name: "recipient", f: rcptTo("joe@example.org"), code: 553, input: true},
		{name: "recipient domain", f: rcptTo("@example.org"), code: 553, input: true},
		{name: "recipient pattern", f: rcptTo("j*"), code: 553, input: true},
		{name: "recipient exempt", f: rcptTo("!j*"), code: 250, input: true},
		{name: "mailfromrules", f: &filter.LocalSender{Check: filter.SenderByRules, Rules: keys("mailfromrules", "joe", "+@y.test")}, user: "joe", code: 553, input: true},
		{name: "mailfromrules pass", f: &filter.LocalSender{Check: filter.SenderByRules, Rules: keys("mailfromrules", "joe", "+@x.test")}, user: "joe", code: 250, input: true},
		{name: "local domain", f: &filter.LocalSender{Hosts: hosts(2, "x.test")}, user: "joe", code: 250, input: true},
		{name: "MIME type", f: &filter.BadMIMEType{Types: keys("badmimetypes", "TVqQAAMAA", "")}, body: "Content-Transfer-Encoding: base64\n\nTVqQAAMAAAAEAAAA\n", code: 554},
		{name: "loader", f: &filter.BadLoaderType{Types: keys("badloadertypes", "Mi5kb", ""), First: 'M'}, body: "Content-Transfer-Encoding: base64\n\nAAAMi5kbAA\n", code: 554},
		{name: "attachment", f: &mimefilter.Filter{Names: mimefilter.NewPatterns(list("mimefilter", "*.exe"))}, code: 554, input: true,
			body: "MIME-Version: 1.0\nContent-Type: application/x; name=a.exe\n\nx\n"},
	} {
		peer := unknownClient
		peer.User = test.user
		if test.to == "" {
			test.to = "joe@example.org"
		}
		steps, err := chainOf(test.f).Explain(t.Context(), &filter.Facts{
			Peer: &peer, From: sqmail.PathOf("a@x.test"), To: []sqmail.Path{sqmail.PathOf(test.to)}, Message: strings.NewReader(test.body + "\n"),
		})
		if err != nil {
			t.Fatal(err)
		}
		var v sqmail.Verdict
		code := 250
		for _, s := range steps {
			if d := s.Decided(); d.Filter != "" && (code == 250) {
				v, code = d, s.Reply.Code
			}
		}
		if code != test.code || v.Rule == "" || !strings.HasPrefix(v.File, "control/") || v.Line != 2 || test.input && v.Input == "" || v.Stage == "" {
			t.Errorf("%s: %d, %+v", test.name, code, v)
		}
	}
}

// TestRefusalsNameTheRule: what rests on no file says all the same by what it
// was decided, and on what.
func TestRefusalsNameTheRule(t *testing.T) {
	zone := mailtest.NewZone(t, "")
	for _, test := range []struct {
		f    filter.Filter
		user string
		want string // action, rule, input
	}{
		{f: &filter.SenderDomain{Resolver: zone}, want: "reject|takes no mail|x.test"},
		{f: hosts(1), want: "reject|not listed|example.org"},
		{f: filter.MaxRecipients(1), want: "defer|at most 1|2"},
		{f: &filter.Tarpit{Count: 1, Delay: 1}, want: "delay|1 recipients|1"},
		{f: &filter.Greylist{Store: &fakeStore{records: map[string]filter.GreyRecord{}}}, want: "defer|too soon|192.0.2.0/24 <a@x.test> <joe@example.org>"},
		{f: &filter.Recipients{}, want: "reject|no rule for the domain|joe@example.org"},
		{f: &filter.LocalSender{}, user: "joe", want: "reject|not ours|a@x.test"},
		{f: &filter.LocalSender{Check: filter.SenderIsUser}, user: "joe", want: "reject|=|a@x.test"},
		{f: &filter.LocalSender{Check: filter.SenderByRules, Rules: filter.RuleKeys{}}, user: "joe", want: "reject|no rule|a@x.test"},
		{f: &filter.BadHello{Mode: filter.HelloMode{Matching: true}}, want: "reject|=|client.test"},
		{f: filter.RelaySuffix(".x"), user: "joe", want: "pass|authenticated, .x|joe@example.org"},
		{f: &filter.SPF{Mode: 3, Checker: failing{}}, want: "reject|fail|a@x.test"},
	} {
		peer := unknownClient
		peer.User = test.user
		joe := sqmail.PathOf("joe@example.org")
		steps, err := chainOf(test.f).Explain(t.Context(), &filter.Facts{
			Peer: &peer, From: sqmail.PathOf("a@x.test"), To: []sqmail.Path{joe, joe},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range steps {
			if v := s.Decided(); v.Filter != "" && got == "" {
				got = v.Action.String() + "|" + v.Rule + "|" + v.Input
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.f.Name(), got, test.want)
		}
	}
}

type failing struct{}

func (failing) Check(context.Context, netip.Addr, string, sqmail.Path) (string, string, error) {
	return "fail", "", nil
}
