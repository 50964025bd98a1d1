package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/resolver"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// listZone holds two lists of clients to refuse and one of clients to let in,
// for 127.0.0.1, which is where the client of these tests comes from.
const listZone = `
	1.0.0.127.bl.test      TXT "seen spamming" " today"
	1.0.0.127.bl.test      A   127.0.0.2
	1.0.0.127.text.test    TXT "text alone"
	1.0.0.127.refused.test TXT "ask us over the web"
	1.0.0.127.refused.test A   127.255.255.254
	1.0.0.127.parked.test  TXT "this domain is for sale"
	*.parked.test          A   198.51.100.1
	1.0.0.127.parked.test  A   198.51.100.1
	1.0.0.127.wl.test      A   127.0.0.9
	1.0.0.127.long.test    A   127.0.0.2
	nodata.test            TXT "an empty list"
	1.0.0.127.nodata.test  MX  10 mx.test
	1.0.0.127.alias.test   CNAME 1.0.0.127.bl.test
`

// TestDNSListsOfAServer asks lists that a DNS server serves over UDP and TCP,
// through our resolver, and says over SMTP what came of it.
func TestDNSListsOfAServer(t *testing.T) {
	zone := mailtest.NewZone(t, listZone)
	if err := zone.Add("1.0.0.127.long.test TXT " + strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 20)); err != nil {
		t.Fatal(err)
	}
	zone.On(mailtest.Any, mailtest.For("1.0.0.127.broken.test")).ServFail()
	zone.On(mailtest.Any, mailtest.For("1.0.0.127.slow.test")).Timeout()
	dns := &resolver.Client{Servers: []string{zone.Start(t)}, Timeout: 50 * time.Millisecond}

	for _, test := range []struct {
		name  string
		lists string // bases; "+" before one that lets in
		f     filter.DNSLists
		want  string // the reply to RCPT
		field string // X-RBL-Info of the message
	}{
		{name: "listed", lists: "bl.test", want: "451 4.7.1 seen spamming today"},
		{name: "listed by text alone", lists: "text.test", want: "451 4.7.1 text alone"},
		{name: "listed by an alias", lists: "alias.test", want: "451 4.7.1 seen spamming today"},
		{name: "for good", lists: "bl.test", f: filter.DNSLists{Reject: true}, want: "553 5.7.1 seen spamming today"},
		{name: "not listed", lists: "empty.test", want: "250 2.1.5"},
		{name: "listed without text", lists: "nodata.test", want: "250 2.1.5"},
		{name: "an answer that UDP does not hold", lists: "long.test", want: "451 4.7.1 xxxxxxxx"},
		{name: "let in first", lists: "+wl.test bl.test", want: "250 2.1.5"},
		{name: "let in too late", lists: "bl.test +wl.test", want: "451 4.7.1 seen spamming today"},
		{name: "SERVFAIL is not listed", lists: "broken.test", want: "250 2.1.5"},
		{name: "SERVFAIL, and then another", lists: "broken.test bl.test", want: "451 4.7.1 seen spamming today"},
		{name: "SERVFAIL counts as listed", lists: "broken.test bl.test", f: filter.DNSLists{FailClosed: true, Reject: true}, want: "451 4.7.1 temporary "},
		{name: "no answer is not listed", lists: "slow.test", want: "250 2.1.5"},
		{name: "no answer counts as listed", lists: "slow.test", f: filter.DNSLists{FailClosed: true}, want: "451 4.7.1 temporary "},
		{name: "no answer, and then another", lists: "slow.test bl.test", want: "451 4.7.1 seen spamming today"},
		{name: "an end to waiting", lists: "slow.test", f: filter.DNSLists{FailClosed: true, Timeout: time.Millisecond}, want: "451 4.7.1 temporary "},
		{name: "a list that refuses us", lists: "refused.test", want: "250 2.1.5"},
		{name: "a list that is parked", lists: "parked.test", want: "250 2.1.5"},
		{name: "told in the message", lists: "bl.test", f: filter.DNSLists{TagOnly: true}, want: "250 2.1.5", field: "X-RBL-Info: seen spamming today\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := test.f
			f.Resolver = dns
			for base := range strings.FieldsSeq(test.lists) {
				base, allow := strings.CutPrefix(base, "+")
				f.Lists = append(f.Lists, filter.DNSList{Base: base, Allow: allow})
			}
			var taken smtpdtest.Recorder
			server := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) {
				s.Policy = &filter.Chain{Filters: []filter.Filter{&f, &filter.RcptHosts{Domains: filter.ListOf("example.org")}}}
			})
			end := "S: " + test.want + "*\n"
			if strings.HasPrefix(test.want, "250") {
				end += "C: DATA\nS: 354*\nC: .\nS: 250*\n"
			}
			server.Talk(t, "S: 220*\nC: EHLO c\nS: 250...\nC: MAIL FROM:<a@example.net>\nS: 250*\nC: RCPT TO:<b@example.org>\n"+end)
			server.Close()
			for _, m := range taken.Messages() {
				if got := string(m.Envelope.Header); strings.Contains(got, "X-RBL-Info") != (test.field != "") || !strings.HasSuffix(got, test.field) {
					t.Errorf("header %q, want %q in it", got, test.field)
				}
			}
		})
	}
}

// A client that a list has is told so in place of the greeting, if that is
// when it is to be done.
func TestDNSListsInPlaceOfTheGreeting(t *testing.T) {
	zone := mailtest.NewZone(t, listZone)
	zone.On(mailtest.Any, mailtest.For("1.0.0.127.broken.test")).ServFail()
	dns := &resolver.Client{Servers: []string{zone.Start(t)}, Timeout: 50 * time.Millisecond}
	for _, test := range []struct {
		base   string
		reject bool
		talk   string
	}{
		{"bl.test", true, "S: 554 5.7.1 seen spamming today\nEND\n"},
		{"bl.test", false, "S: 421 4.7.1 seen spamming today\nEND\n"},
		{"broken.test", true, "S: 421 4.7.1 temporary *\nEND\n"},
		{"empty.test", true, "S: 220*\nC: QUIT\nS: 221*\nEND\n"},
	} {
		f := &filter.DNSLists{Lists: []filter.DNSList{{Base: test.base}}, Resolver: dns, AtConnect: true, Reject: test.reject, FailClosed: true}
		server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) { s.Policy = &filter.Chain{Filters: []filter.Filter{f}} })
		server.Talk(t, test.talk)
		server.Close()
	}
}

// TestRBLFile: what control/rbl and RBL say is asked of a DNS server.
func TestRBLFile(t *testing.T) {
	zone := mailtest.NewZone(t, `
		7.2.0.192.bl.test   TXT "seen spamming"
		7.2.0.192.bl.test   A   127.0.0.2
		8.2.0.192.hard.test TXT "never"
		9.2.0.192.own.test  A   127.0.0.4
		6.2.0.192.wl.test   A   127.0.0.1
		6.2.0.192.bl.test   TXT "seen spamming, too"
		7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test TXT "by IPv6"
	`)
	zone.On(mailtest.Any, mailtest.For("5.2.0.192.bl.test")).ServFail()
	dns := &resolver.Client{Servers: []string{zone.Start(t)}, Timeout: 50 * time.Millisecond}
	files := map[string]string{"control/rbl": "# lists\n!wl.test\nbl.test\n-hard.test\nown.test:%IP% is listed here\n"}
	for _, test := range []struct{ variables, xclient, want string }{
		{`RBL=""`, "ADDR=192.0.2.7", "451 4.7.1 seen spamming"},
		{`RBL=""`, "ADDR=192.0.2.8", "553 5.7.1 never"},
		{`RBL=""`, "ADDR=192.0.2.9", "451 4.7.1 192.0.2.9 is listed here"},
		{`RBL=""`, "ADDR=192.0.2.6", "250 2.1.5 ok"},
		{`RBL=""`, "ADDR=192.0.2.5", "250 2.1.5 ok"},
		{`RBL=""`, "ADDR=192.0.2.4", "250 2.1.5 ok"},
		{`RBL=""`, "ADDR=IPV6:2001:db8::7", "451 4.7.1 by IPv6"},
		{`RBL=""`, "ADDR=192.0.2.7 LOGIN=joe", "250 2.1.5 ok"},
		{`RBL="reject"`, "ADDR=192.0.2.7", "553 5.7.1 seen spamming"},
		{`RBL="strict"`, "ADDR=192.0.2.5", "451 4.7.1 temporary "},
		{`RBL="tag"`, "ADDR=192.0.2.7", "250 2.1.5 ok"},
		{`RBL="" RBLSMTPD=""`, "ADDR=192.0.2.7", "250 2.1.5 ok"},
		{`RBL="" RBLSMTPD="-go away"`, "ADDR=192.0.2.4", "553 5.7.1 go away"},
		{"", "ADDR=192.0.2.7", "250 2.1.5 ok"},
	} {
		s := newSite(t, dns, test.variables, files)
		if got := s.lastReply([]string{"XCLIENT " + test.xclient, "EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@mx.test>"}); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s, %s: %q, want %q", test.variables, test.xclient, got, test.want)
		}
	}
}
