package delivery_test

import (
	"fmt"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
)

// tables are routes as control files have them: key, value.
type tables struct{ senders, qmtp, smtp map[string]string }

func (x tables) routes(t *testing.T) delivery.Routes {
	t.Helper()
	parse := func(table map[string]string, parser func(string) (sqmail.Relay, error)) map[string]sqmail.Relay {
		relays := make(map[string]sqmail.Relay)
		for key, value := range table {
			relay, err := parser(value)
			if err != nil {
				t.Fatal(err)
			}
			relays[key] = relay
		}
		return relays
	}
	return delivery.Routes{
		Senders: parse(x.senders, delivery.ParseRelay),
		QMTP:    parse(x.qmtp, delivery.ParseQMTPRelay),
		SMTP:    parse(x.smtp, delivery.ParseRelay),
	}
}

type table = map[string]string

// The worked table of spec/remote.md §2, and what follows from its rules.
func TestChoiceOfRelay(t *testing.T) {
	mx := sqmail.Relay{}
	precedence := tables{qmtp: table{".b.c": "q1", "x.b.c": "q2"}, smtp: table{"a.b.c": "s1", "x.b.c": "s2", ".c": "s3"}}
	military := tables{smtp: table{".af.mil": "", "": "heaven.af.mil"}}
	bounces := tables{smtp: table{"!@": "bouncehost;27", "": "gw"}}
	senders := tables{
		senders: table{"@example.com": "r|u|p", "ceo@example.com": "", ".dots@example.net": "dotted", ".org": "orgs", "": "rest;99"},
		smtp:    table{"": "gw"},
	}
	for _, c := range []struct {
		tables   tables
		from, to string
		want     sqmail.Relay
	}{
		{tables{smtp: table{"example.com": "mail.x;26"}}, "s@y", "u@EXAMPLE.com", sqmail.Relay{Host: "mail.x", Port: 26}},
		{tables{smtp: table{"example.com": "mail.x;26"}}, "s@y", "u@sub.example.com", mx},
		{military, "s@y", "u@x.af.mil", mx},
		{military, "s@y", "u@af.mil", sqmail.Relay{Host: "heaven.af.mil"}},
		{tables{smtp: table{"": "relay.example;587|id|pw"}}, "s@y", "u@any", sqmail.Relay{Host: "relay.example", Port: 587, User: "id", Password: "pw"}},
		{precedence, "s@y", "u@a.b.c", sqmail.Relay{Host: "s1"}},
		{precedence, "s@y", "u@x.b.c", sqmail.Relay{Host: "q2", Protocol: "qmtp"}},
		{precedence, "s@y", "u@z.b.c", sqmail.Relay{Host: "q1", Protocol: "qmtp"}},
		{precedence, "s@y", "u@b.c", sqmail.Relay{Host: "s3"}},
		{precedence, "s@y", "u@c", mx},
		{bounces, "", "u@x", sqmail.Relay{Host: "bouncehost", Port: 27}},
		{bounces, "s@y", "u@x", sqmail.Relay{Host: "gw"}},
		{tables{smtp: table{"!@": "", "": "gw"}}, "", "u@x", sqmail.Relay{Host: "gw"}},
		{tables{qmtp: table{"!@": ""}, smtp: table{"!@": "s", "": "gw"}}, "", "u@x", sqmail.Relay{Host: "gw"}},
		{tables{qmtp: table{"!@": "q"}, smtp: table{"!@": "s"}}, "", "u@x", sqmail.Relay{Host: "q", Protocol: "qmtp"}},
		{tables{qmtp: table{"big.example": "[2001:db8::9];6209"}}, "s@y", "u@big.example", sqmail.Relay{Host: "[2001:db8::9]", Port: 6209, Protocol: "qmtps"}},
		{tables{qmtp: table{"": ""}}, "s@y", "u@x", sqmail.Relay{Protocol: "qmtp"}},
		{senders, "Joe@Example.com", "u@x", sqmail.Relay{Host: "r", User: "u", Password: "p"}},
		{senders, "ceo@example.com", "u@x", sqmail.Relay{Host: "gw"}},
		{senders, "a.b.dots@example.net", "u@x", sqmail.Relay{Host: "dotted"}},
		{senders, "a@b.c.org", "u@x", sqmail.Relay{Host: "orgs"}},
		{senders, "a@org", "u@x", sqmail.Relay{Host: "rest", Port: 99}},
		{senders, "", "u@x", sqmail.Relay{Host: "rest", Port: 99}},
		{tables{senders: table{"list-u=x@example.com": "verp"}}, "list-@example.com-@[]", "u@x", sqmail.Relay{Host: "verp"}},
		{tables{senders: table{".com-@[]": "raw"}}, "list-@example.com-@[]", "u@x", mx},
		{tables{senders: table{"x-@[]": "raw"}}, "x-@[]", "u@x", sqmail.Relay{Host: "raw"}},
	} {
		r := &delivery.Router{Routes: c.tables.routes(t)}
		routing, err := r.Route(t.Context(), &sqmail.Envelope{ReversePath: sqmail.PathOf(c.from)}, sqmail.PathOf(c.to))
		if err != nil || routing.Route.Relay != c.want {
			t.Errorf("%v\n<%s> to %s: %+v, %v", c.tables, c.from, c.to, routing.Route.Relay, err)
		}
	}
}

func TestParseRelay(t *testing.T) {
	for value, want := range map[string]string{
		"":                   "{Host: Port:0 Protocol: User: Password:} <nil>",
		"h":                  "{Host:h Port:0 Protocol: User: Password:} <nil>",
		"h;1":                "{Host:h Port:1 Protocol: User: Password:} <nil>",
		"h;65535|u|p":        "{Host:h Port:65535 Protocol: User:u Password:p} <nil>",
		"h|u":                "{Host:h Port:0 Protocol: User: Password:} <nil>",
		"h|u|p|q;9":          "{Host:h Port:0 Protocol: User:u Password:p|q;9} <nil>",
		";26":                "{Host: Port:26 Protocol: User: Password:} <nil>",
		"2001:db8::1;26":     "{Host:2001:db8::1 Port:26 Protocol: User: Password:} <nil>",
		"[IPv6:2001:db8::1]": "{Host:[IPv6:2001:db8::1] Port:0 Protocol: User: Password:} <nil>",
		"h;0":                `{} delivery: port "0" is not a number from 1 to 65535`,
		"h;65536":            `{} delivery: port "65536" is not a number from 1 to 65535`,
		"h;":                 `{} delivery: port "" is not a number from 1 to 65535`,
		"h;25x":              `{} delivery: port "25x" is not a number from 1 to 65535`,
		"a b":                `{} delivery: "a b" is no host`,
		"a,b":                `{} delivery: "a,b" is no host`,
		"h:25":               `{} delivery: "h:25" is no host; the port stands behind a semicolon, h;25`,
		"[192.0.2.1]:25":     `{} delivery: "[192.0.2.1]:25" is no host; the port stands behind a semicolon, [192.0.2.1];25`,
		"[h]":                `{} delivery: "[h]" is no host`,
		"[192.0.2.1":         `{} delivery: "[192.0.2.1" is no host`,
	} {
		relay, err := delivery.ParseRelay(value)
		got := fmt.Sprintf("%+v %v", relay, err)
		if err != nil {
			got = fmt.Sprintf("{} %v", err)
		}
		if got != want || err != nil && relay != (sqmail.Relay{}) {
			t.Errorf("%q: %s", value, got)
		}
	}
}

func FuzzParseRelay(f *testing.F) {
	for _, s := range []string{"", "h;25|u|p", "[::1];6209", "2001:db8::1", "a b", ";;", "||", "h;+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, parse := range []func(string) (sqmail.Relay, error){delivery.ParseRelay, delivery.ParseQMTPRelay} {
			relay, err := parse(value)
			if err != nil {
				if relay != (sqmail.Relay{}) {
					t.Errorf("%q: %+v with %v", value, relay, err)
				}
				continue
			}
			written := relay.Host
			if relay.Port != 0 {
				written += fmt.Sprintf(";%d", relay.Port)
			}
			if relay.User+relay.Password != "" {
				written += "|" + relay.User + "|" + relay.Password
			}
			if again, err := parse(written); err != nil || again != relay {
				t.Errorf("%q is %+v, but %q is %+v, %v", value, relay, written, again, err)
			}
		}
	})
}
