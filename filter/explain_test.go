package filter_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

func ExampleChain_Explain() {
	chain := &filter.Chain{Filters: []filter.Filter{
		&filter.RcptHosts{Domains: filter.NewList([]filter.Rule{{Text: "example.org", File: "rcpthosts", Line: 3}})},
	}}
	steps, _ := chain.Explain(context.Background(), &filter.Facts{
		Peer: &sqmail.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:1234"), Hello: "client.test"},
		From: sqmail.PathOf("sue@client.test"),
		To:   []sqmail.Path{sqmail.PathOf("joe@example.org"), sqmail.PathOf("bob@example.net")},
	})
	for _, s := range steps {
		for _, v := range s.Verdicts {
			fmt.Println(s.Stage, s.Input, v.Filter, v.Action, v.Rule, v.File, v.Line, s.Reply.Code)
		}
	}
	// Output:
	// recipient joe@example.org rcpthosts pass example.org rcpthosts 3 250
	// recipient bob@example.net rcpthosts reject not listed  0 553
}

// TestExplainSaysWhatTheSessionHears holds an explanation against a session, for
// every stage and every action.
func TestExplainSaysWhatTheSessionHears(t *testing.T) {
	stages := []string{"connect", "hello", "reverse-path", "recipient", "data", "body"}
	for _, stage := range stages {
		for action := sqmail.ActionPass; action <= sqmail.ActionDrop; action++ {
			f := &atStage{stub{name: "a", verdict: sqmail.Verdict{Action: action, Delay: time.Nanosecond, Header: "X: y\n"}}, stage}
			chain := chainOf(f)
			live := dialogue(t, chain, new(sqmail.Envelope), "x\n")
			steps, err := chain.Explain(t.Context(), &filter.Facts{
				Peer: new(sqmail.Peer), To: []sqmail.Path{{}}, Message: strings.NewReader("x\n"),
			})
			if err != nil {
				t.Fatal(err)
			}
			last := steps[len(steps)-1]
			for _, s := range steps {
				if s.Reply.Code != 250 {
					last = s
				}
			}
			want := sqmail.ReplyFor(live)
			switch { // in place of a greeting
			case stage != "connect":
			case action == sqmail.ActionReject:
				want.Code = 554
			case action >= sqmail.ActionDefer:
				want.Code = 421
			}
			if last.Reply != want {
				t.Errorf("%s, %v: explained as %v, heard %v", stage, action, last.Reply, want)
			}
			if live != nil && last.Stage != stage {
				t.Errorf("%s, %v: refused at %s", stage, action, last.Stage)
			}
		}
	}
}

// atStage is a stub that has an opinion at one stage alone.
type atStage struct {
	stub
	stage string
}

func (f *atStage) only(stage string) (sqmail.Verdict, error) {
	if stage != f.stage {
		return sqmail.Verdict{}, nil
	}
	return f.answer(stage)
}

func (f *atStage) Connect(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.only("connect")
}
func (f *atStage) Hello(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.only("hello")
}
func (f *atStage) ReversePath(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.only("reverse-path")
}
func (f *atStage) Recipient(context.Context, *filter.Session, *sqmail.Recipient) (sqmail.Verdict, error) {
	return f.only("recipient")
}
func (f *atStage) Data(context.Context, *filter.Session) (sqmail.Verdict, error) {
	return f.only("data")
}
func (f *atStage) Body(context.Context, *filter.Session) (filter.Scanner, error) { return f, nil }
func (f *atStage) End() (sqmail.Verdict, error)                                  { return f.only("body") }

// TestExplainWithoutFacts: who says nothing hears what a stranger would.
func TestExplainWithoutFacts(t *testing.T) {
	chain := &filter.Chain{}
	steps, err := chain.Explain(context.Background(), &filter.Facts{To: []sqmail.Path{sqmail.PathOf("a@b.test")}})
	if err != nil || len(steps) == 0 || steps[len(steps)-1].Reply.Code != 553 {
		t.Errorf("%+v, %v", steps, err)
	}
}

func TestExplainDoesNotWait(t *testing.T) {
	chain := &filter.Chain{Filters: []filter.Filter{
		&stub{name: "a", verdict: sqmail.Verdict{Action: sqmail.ActionDelay, Delay: 1000 * time.Hour}},
	}}
	steps, err := chain.Explain(t.Context(), &filter.Facts{Peer: new(sqmail.Peer), To: []sqmail.Path{{}}})
	if err != nil || len(steps) != 5 || steps[0].Verdicts[0].Action != sqmail.ActionDelay {
		t.Errorf("%+v, %v", steps, err)
	}
}

// TestConnectionRuleThatDeniesClosesTheSession, whichever stage it is told at.
func TestConnectionRuleThatDeniesClosesTheSession(t *testing.T) {
	deny := &filter.ConnectionRule{Rule: filter.Rule{Text: "192.0.2.", File: "rules", Line: 3}, Deny: true}
	v := deny.Verdict(new(sqmail.Peer))
	var e *sqmail.Error
	if !errors.As(v.Err(), &e) || !e.Close || e.Reply.Code != 554 || v.Rule != "192.0.2." || v.Line != 3 {
		t.Errorf("%+v", v)
	}
	if v := (&filter.ConnectionRule{}).Verdict(new(sqmail.Peer)); v.Err() != nil || v.Rule != "" {
		t.Errorf("no rule: %+v", v)
	}
}
