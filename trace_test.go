package sqmail_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
)

// told is a Trace of a transaction with two recipients.
func told() *sqmail.Trace {
	t := new(sqmail.Trace)
	t.Begin(sqmail.StageConnect, "192.0.2.7")
	t.End(sqmail.Reply{})
	t.Begin(sqmail.StageHello, "client.test")
	t.End(sqmail.Reply{})
	t.Begin(sqmail.StageReversePath, "a@client.test")
	t.End(sqmail.Reply{})
	t.Begin(sqmail.StageRecipient, "joe@example.org")
	t.Add(sqmail.Verdict{Stage: "recipient", Filter: "rcpthosts", Rule: "example.org", File: "control/rcpthosts", Line: 3, Took: time.Microsecond})
	t.End(sqmail.Reply{})
	t.Begin(sqmail.StageRecipient, "bob@example.net")
	t.Add(sqmail.Verdict{Stage: "recipient", Filter: "rcpthosts", Action: sqmail.ActionReject, Reply: sqmail.Reply{Code: 553, Text: "no"}})
	t.End(sqmail.Reply{Code: 553, Text: "no"})
	return t
}

func ExampleTrace() {
	t := told()
	for _, s := range t.Steps {
		v := s.Decided()
		fmt.Println(s.Stage, s.Input, s.Reply.Code, v.Rule, v.File, v.Line)
	}
	// Output:
	// connect 192.0.2.7 250   0
	// hello client.test 250   0
	// reverse-path a@client.test 250   0
	// recipient joe@example.org 250 example.org control/rcpthosts 3
	// recipient bob@example.net 553   0
}

func stages(t *sqmail.Trace) (list []string) {
	for _, s := range t.Steps {
		list = append(list, s.Stage)
	}
	return list
}

func TestTraceBeginsAnew(t *testing.T) {
	for _, test := range []struct {
		begin string
		want  []string
	}{
		{sqmail.StageConnect, []string{"connect"}},
		{sqmail.StageHello, []string{"connect", "hello"}},
		{sqmail.StageReversePath, []string{"connect", "hello", "reverse-path"}},
		{sqmail.StageData, []string{"connect", "hello", "reverse-path", "recipient", "recipient", "data"}},
	} {
		tr := told()
		tr.Answered(sqmail.Answer{Question: "MX a.test"}, false)
		tr.Answered(sqmail.Answer{Question: "TXT l.test"}, true)
		tr.Begin(test.begin, "x")
		tr.End(sqmail.Reply{})
		tr.End(sqmail.Reply{}) // of nothing
		if got := stages(tr); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %q", test.begin, got)
		}
		answers := map[string]int{sqmail.StageConnect: 0, sqmail.StageHello: 1, sqmail.StageReversePath: 1, sqmail.StageData: 2}
		if got := tr.Ended(new(sqmail.Peer), nil).Answers; len(got) != answers[test.begin] {
			t.Errorf("%s: answers %+v", test.begin, got)
		}
	}
}

func TestForgetKeepsTheSession(t *testing.T) {
	tr := told()
	tr.Answered(sqmail.Answer{Question: "MX a.test"}, false)
	tr.Answered(sqmail.Answer{Question: "TXT l.test"}, true)
	written := tr.Ended(new(sqmail.Peer), nil)
	before := written.String()
	tr.Forget()
	if got := stages(tr); !slices.Equal(got, []string{"connect", "hello"}) || tr.Present().Stage != "" {
		t.Errorf("%q, %+v", got, tr.Present())
	}
	if got := tr.Ended(new(sqmail.Peer), nil).Answers; len(got) != 1 || got[0].Question != "TXT l.test" {
		t.Errorf("answers %+v", got)
	}
	if after := written.String(); after != before {
		t.Errorf("what was written has changed:\n%s\n%s", before, after)
	}
}

func TestNilTraceKeepsNothing(t *testing.T) {
	var tr *sqmail.Trace
	tr.Forget()
	tr.Begin("connect", "x")
	tr.Add(sqmail.Verdict{})
	tr.Answered(sqmail.Answer{}, true)
	tr.End(sqmail.Reply{})
	if tr.Present().Stage != "" || tr.Ended(new(sqmail.Peer), nil) != nil {
		t.Error("kept something")
	}
	if p := tr.Peer(); *p != (sqmail.Peer{}) || tr.String() == "" {
		t.Errorf("a nil Trace tells of %+v, %q", p, tr.String())
	}
}

// TestTraceIsBounded: what fills every field to its brim stays below what the
// comment promises, and counts what is left out.
func TestTraceIsBounded(t *testing.T) {
	long := strings.Repeat("\U0001F600", 5000)
	v := sqmail.Verdict{
		Stage: "recipient", Filter: long, Action: sqmail.ActionReject, Rule: long, Input: long, File: long, Header: long,
		Reply: sqmail.Reply{Code: 550, Text: long},
	}
	tr := new(sqmail.Trace)
	pass := v
	pass.Action = sqmail.ActionTag
	for _, stage := range []string{"connect", "hello", "reverse-path", "data", "body"} {
		tr.Begin(stage, long)
		for range 100 {
			tr.Add(pass)
		}
		tr.Add(v)
		tr.End(sqmail.Reply{Code: 250, Text: long})
	}
	for i := range 5000 {
		tr.Begin("recipient", fmt.Sprint(i))
		for range 10 {
			tr.Add(v)
		}
		tr.End(v.Reply)
		tr.Answered(sqmail.Answer{Question: fmt.Sprint(i, long[:200]), Data: []string{long[:200]}}, i%2 == 0)
		tr.Answered(sqmail.Answer{Question: fmt.Sprint("long", i), Data: []string{long}}, i%2 == 0)
	}
	peer := &sqmail.Peer{Name: long, Hello: long, User: long}
	text, err := json.Marshal(tr.Ended(peer, &sqmail.Envelope{}))
	if err != nil || len(text) > 256<<10 {
		t.Errorf("%d octets, %v", len(text), err)
	}
	ended := tr.Ended(peer, nil)
	if recipients := len(ended.Steps) - 5; recipients+ended.Left < 5000 || recipients == 0 {
		t.Errorf("%d recipients, %d left out", recipients, ended.Left)
	}
	if len(ended.Answers)+ended.AnswersLeft != 10_000 || len(ended.Answers) == 0 {
		t.Errorf("%d answers, %d left out", len(ended.Answers), ended.AnswersLeft)
	}
}

func TestRecipientsOfAnOrdinaryMessageFit(t *testing.T) {
	tr := told()
	for i := range 50 {
		tr.Begin(sqmail.StageRecipient, fmt.Sprintf("recipient%d@example.org", i))
		tr.Add(sqmail.Verdict{Stage: "recipient", Filter: "rcpthosts", Rule: "example.org", File: "control/rcpthosts", Line: 3})
		tr.End(sqmail.Reply{})
	}
	if tr.Left != 0 {
		t.Errorf("%d left out", tr.Left)
	}
}

func TestTraceSurvivesJSON(t *testing.T) {
	tr := told()
	tr.Answered(sqmail.Answer{Question: "MX a.test", Data: []string{"10 b.test."}}, false)
	tr.Answered(sqmail.Answer{Question: "q", Verdict: &sqmail.Verdict{Action: sqmail.ActionTag}, Err: "e"}, true)
	tr.Outcome, tr.ID, tr.Err, tr.Unknown, tr.Octets = sqmail.EndedRefused, "7", "cause \u0085\u2028\U0001F600", 2, 9
	peer := &sqmail.Peer{
		Session: "s", Listener: "smtpd", Remote: netip.MustParseAddrPort("192.0.2.7:1"), Local: netip.MustParseAddrPort("[2001:db8::1]:25"),
		Name: "n", Hello: "h", Protocol: "ESMTPS", User: "u", Mechanism: "plain",
		TLS: &tls.ConnectionState{Version: tls.VersionTLS13, VerifiedChains: [][]*x509.Certificate{{{EmailAddresses: []string{"a@b.test"}}}}},
	}
	want := tr.Ended(peer, &sqmail.Envelope{Size: 5, SMTPUTF8: true})
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range text {
		if c < ' ' || c > '~' {
			t.Fatalf("octet %#x in %s", c, text)
		}
	}
	got := new(sqmail.Trace)
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	want.Time = want.Time.Round(0) // the monotonic clock is of this process
	if !got.Time.Equal(want.Time) {
		t.Errorf("time %v, want %v", got.Time, want.Time)
	}
	got.Time = want.Time
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	back := got.Peer()
	if back.TLS.Version != tls.VersionTLS13 || back.TLS.VerifiedChains[0][0].EmailAddresses[0] != "a@b.test" {
		t.Errorf("TLS: %+v", back.TLS)
	}
	back.TLS, peer.TLS = nil, nil
	if !reflect.DeepEqual(back, peer) {
		t.Errorf("peer %+v, want %+v", back, peer)
	}
}

// TestTraceInHandlers: JSON has an object, text the same in one quoted value.
func TestTraceInHandlers(t *testing.T) {
	tr := told().Ended(&sqmail.Peer{Session: "s"}, nil)
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("transaction", "trace", tr)
	if !strings.Contains(out.String(), `"trace":{"time":`) {
		t.Errorf("%s", out.String())
	}
	out.Reset()
	slog.New(slog.NewTextHandler(&out, nil)).Info("transaction", "trace", tr)
	if !strings.Contains(out.String(), ` trace="{\"time\":`) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%s", out.String())
	}
}

func TestServerVerdicts(t *testing.T) {
	for _, test := range []struct {
		v    sqmail.Verdict
		want string
	}{
		{sqmail.NeedsTLS(), "reverse-path starttls reject 530 5.7.0"},
		{sqmail.NeedsAuth(), "reverse-path auth reject 530 5.7.0"},
		{sqmail.TooManyRecipients(5), "recipient maxrecipients defer 452 4.5.3"},
		{sqmail.TooBig(sqmail.StageBody, 5), "body databytes reject 552 5.3.4"},
	} {
		got := fmt.Sprint(test.v.Stage, " ", test.v.Filter, " ", test.v.Action, " ", test.v.Reply.Code, " ", test.v.Reply.Enhanced)
		if got != test.want || test.v.Rule == "" {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}
