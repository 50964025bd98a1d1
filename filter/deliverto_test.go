package filter_test

import (
	"errors"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

func TestCopiesAreDelivered(t *testing.T) {
	list, err := filter.ParseDeliverTo(t.Context(), " archive@example.org  audit@example.org ", nil)
	if err != nil {
		t.Fatal(err)
	}
	chain := &filter.Chain{Filters: []filter.Filter{list}}
	env := &sqmail.Envelope{Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("joe@example.org")}, {Path: sqmail.PathOf("audit@EXAMPLE.org")}}}
	for range 2 { // asked again it adds nothing
		if err := dialogue(t, chain, env, "x\n"); err != nil {
			t.Fatal(err)
		}
	}
	if len(env.Recipients) != 3 || env.Recipients[2].Path.String() != "archive@example.org" || env.Recipients[2].Notify != sqmail.NotifyNever {
		t.Errorf("%+v", env.Recipients)
	}
	if v := env.Verdicts; len(v) != 1 || v[0].Rule != "archive@example.org" || v[0].Action != sqmail.ActionPass {
		t.Errorf("%+v", v)
	}
}

func TestDeliverToIsValidated(t *testing.T) {
	ours := &filter.RcptHosts{Domains: filter.ListOf("example.org", ".example.org")}
	for text, ok := range map[string]bool{
		"": true, " \t": true, "a@example.org b@lists.example.org": true, `"a"@example.org`: true,
		"a": false, "@example.org": false, "a@": false, "<a@example.org>": false, "a@example.org,b@example.org": false,
		"a@example.net": false, "a@example.org b@notexample.org": false, "postmaster": false,
	} {
		list, err := filter.ParseDeliverTo(t.Context(), text, ours)
		if (err == nil) != ok || err != nil && list != nil {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
	if _, err := filter.ParseDeliverTo(t.Context(), "a", nil); !errors.Is(err, sqmail.ErrPathNoDomain) {
		t.Errorf("%v", err)
	}
	if list, err := filter.ParseDeliverTo(t.Context(), "a@example.net", nil); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}
