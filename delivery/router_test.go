package delivery_test

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
)

// The worked table of spec/queue.md §6. The empty address, which the original
// sends to a host without a name, is rejected.
func TestRecipientRewriting(t *testing.T) {
	r := &delivery.Router{
		EnvNoAtHost: "mail.example.org",
		Locals:      []string{"l.org"},
		PercentHack: []string{"PH.org"},
		VirtualDomains: map[string]string{
			"V.org": "vu", "u@w.org": "wu", ".sub.org": "su-x", "ex.sub.org": "",
		},
	}
	for address, want := range map[string]string{
		"joe":               "remote joe@mail.example.org",
		"postmaster":        "remote postmaster@mail.example.org",
		"joe@L.ORG":         "local joe@L.ORG",
		"a%l.org@ph.org":    "local a@l.org",
		"b%c%ph.org@ph.org": "remote b@c",
		"none@ph.org":       "remote none@ph.org",
		"z@v.org":           "local vu-z@v.org",
		"U@W.org":           "local wu-U@W.org",
		"other@w.org":       "remote other@w.org",
		"q@a.sub.org":       "local su-x-q@a.sub.org",
		"q@sub.org":         "remote q@sub.org",
		"q@ex.sub.org":      "remote q@ex.sub.org",
		"q@deep.ex.sub.org": "local su-x-q@deep.ex.sub.org",
		"@l.org":            "local @l.org",
		"a@b@l.org":         "local a@b@l.org",
		"":                  "rejection: 550 5.1.3 sorry, address must include host name",
	} {
		routing, err := r.Route(t.Context(), &sqmail.Envelope{}, sqmail.PathOf(address))
		got := routing.Route.Channel + " " + routing.Deliver.Unquoted()
		if err != nil {
			got = sqmail.ClassOf(err).String() + ": " + sqmail.ReplyFor(err).String()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}

func TestDisplayIsCompleteButHasNoPrefix(t *testing.T) {
	r := &delivery.Router{EnvNoAtHost: "v.org", PercentHack: []string{"ph.org"}, VirtualDomains: map[string]string{"v.org": "vu"}}
	for address, want := range map[string]string{
		"joe": "joe@v.org", "Joe@V.org": "Joe@V.org", "joe%v.org@ph.org": "joe@v.org", "a b@x.org": `"a b"@x.org`,
	} {
		routing, err := r.Route(t.Context(), &sqmail.Envelope{}, sqmail.PathOf(address))
		if err != nil || routing.Display.String() != want {
			t.Errorf("%q: %s, %v", address, routing.Display, err)
		}
	}
}

func TestQuotedLocalPartsMeanTheSame(t *testing.T) {
	r := &delivery.Router{VirtualDomains: map[string]string{"joe@w.org": "wu"}}
	to, err := sqmail.ParsePath(`"Joe"@w.org`)
	if err != nil {
		t.Fatal(err)
	}
	routing, err := r.Route(t.Context(), &sqmail.Envelope{}, to)
	if err != nil || routing.Deliver.String() != "wu-Joe@w.org" {
		t.Errorf("%v, %v", routing, err)
	}
}

func TestVirtualWildcards(t *testing.T) {
	r := &delivery.Router{Locals: []string{"l.org"}, VirtualDomains: map[string]string{".fax": "uucp-fax", "": "alias-catchall"}}
	for address, want := range map[string]string{
		"a@b.fax": "uucp-fax-a@b.fax", "a@fax": "alias-catchall-a@fax", "a@l.org": "a@l.org", "a@[192.0.2.1]": "alias-catchall-a@[192.0.2.1]",
	} {
		routing, err := r.Route(t.Context(), &sqmail.Envelope{}, sqmail.PathOf(address))
		if err != nil || routing.Deliver.Unquoted() != want || routing.Route.Channel != sqmail.ChannelLocal {
			t.Errorf("%q: %v, %v", address, routing, err)
		}
	}
}

// What limits apply to: one mailbox, one domain, one relay.
func TestDestination(t *testing.T) {
	r := &delivery.Router{
		Locals:         []string{"l.org"},
		VirtualDomains: map[string]string{"v.org": "vu"},
		Routes: delivery.Routes{
			SMTP: map[string]sqmail.Relay{"s.org": {Host: "GW.test"}, "t.org": {Host: "gw.test", Port: 26}},
			QMTP: map[string]sqmail.Relay{"q.org": {Host: "gw.test", Protocol: "qmtp"}, "m.org": {Protocol: "qmtp"}},
		},
	}
	for address, want := range map[string]string{
		"Joe@L.org": "joe@l.org", "Joe@V.org": "vu-joe@v.org", "joe@R.org": "r.org", "joe@s.org": "gw.test;25",
		"joe@t.org": "gw.test;26", "joe@q.org": "gw.test;209", "joe@M.org": "m.org",
	} {
		routing, err := r.Route(t.Context(), &sqmail.Envelope{}, sqmail.PathOf(address))
		if err != nil || routing.Route.Destination != want {
			t.Errorf("%q: %q, %v", address, routing.Route.Destination, err)
		}
	}
}

func TestZeroRouterSendsToMailExchangers(t *testing.T) {
	var r delivery.Router
	routing, err := r.Route(t.Context(), &sqmail.Envelope{}, sqmail.PathOf("joe@a.test"))
	want := sqmail.Route{Channel: sqmail.ChannelRemote, Destination: "a.test"}
	if err != nil || routing.Route != want {
		t.Errorf("%v, %v", routing, err)
	}
	if _, err := r.Route(t.Context(), &sqmail.Envelope{}, sqmail.PathOf("joe")); sqmail.ClassOf(err) != sqmail.Rejection {
		t.Errorf("without a domain: %v", err)
	}
}

// Keys that differ only in case are one key, whatever the map's order.
func TestKeysAreFoldedWithoutChance(t *testing.T) {
	for range 20 {
		r := &delivery.Router{VirtualDomains: map[string]string{"A.test": "upper", "a.test": "lower"}}
		routing, _ := r.Route(t.Context(), &sqmail.Envelope{}, sqmail.PathOf("joe@A.TEST"))
		if got := routing.Deliver.Local; got != "lower-joe" {
			t.Fatal(got)
		}
	}
}

func TestExplainNamesTheRules(t *testing.T) {
	r := &delivery.Router{
		EnvNoAtHost:    "ph.org",
		PercentHack:    []string{"ph.org"},
		VirtualDomains: map[string]string{".Sub.org": "", "v.org": "vu"},
		Routes: delivery.Routes{
			Senders: map[string]sqmail.Relay{"@vip.org": {}},
			SMTP:    map[string]sqmail.Relay{"": {Host: "gw", Port: 587, User: "id", Password: "secret"}},
		},
		Origin: func(table, key string) (string, int) { return "control/" + table, len(key) },
	}
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("ceo@vip.org")}
	plan, err := r.Explain(env, sqmail.PathOf("a%b.sub.org"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimLeft(`
a%b.sub.org: envnoathost "" -> ph.org
a%b.sub.org@ph.org: percenthack "ph.org"
a@b.sub.org: virtualdomains ".Sub.org"
ceo@vip.org: authsenders "@vip.org"
b.sub.org: smtproutes "" -> gw;587
remote a@b.sub.org by gw;587
`, "\n")
	if plan.String() != want {
		t.Errorf("got\n%swant\n%s", plan, want)
	}
	if s := plan.Steps[2]; s.File != "control/virtualdomains" || s.Line != 8 {
		t.Errorf("origin %+v", s)
	}
	if routed, _ := r.Route(t.Context(), env, sqmail.PathOf("a%b.sub.org")); routed != plan.Routing {
		t.Errorf("explained %v, routed %v", plan.Routing, routed)
	}
	if plan, err := r.Explain(env, sqmail.Path{}); err == nil || plan.String() != "" {
		t.Errorf("null path: %v, %v", plan, err)
	}
}
