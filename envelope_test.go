package sqmail_test

import (
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

func TestEnvelopeSurvivesJSON(t *testing.T) {
	env := sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe smith@a.test"),
		Recipients: []sqmail.Recipient{
			{Path: sqmail.PathOf("j\xf6rg@b.test"), Notify: sqmail.NotifySuccess | sqmail.NotifyDelay, Original: "rfc822;x@b.test"},
			{Path: sqmail.PathOf("joe")},
		},
		Size: 7, Body: sqmail.Body8Bit, SMTPUTF8: true, RequireTLS: true,
		Return: sqmail.ReturnHeaders, EnvelopeID: "Q+1",
		Header:   []byte("Received: \xff\n"),
		Verdicts: []sqmail.Verdict{{Stage: "connect", Action: sqmail.ActionTag, Rule: "ip", Line: 3}},
	}
	text, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	var back sqmail.Envelope
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, env) {
		t.Errorf("came back as\n%+v, was\n%+v", back, env)
	}
}

// A queue's files and its reports must never hold what opens another host.
func TestSecretsAndPeersAreNotWritten(t *testing.T) {
	text, err := json.Marshal(struct {
		Envelope sqmail.Envelope
		Route    sqmail.Route
	}{
		sqmail.Envelope{Peer: &sqmail.Peer{Hello: "secret"}},
		sqmail.Route{Relay: sqmail.Relay{Host: "a.test", User: "secret", Password: "secret"}},
	})
	if err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestOutcomesAreForEveryRecipient(t *testing.T) {
	m := &sqmail.Message{Envelope: sqmail.Envelope{Recipients: make([]sqmail.Recipient, 3)}}
	for i, o := range m.Outcomes(sqmail.Outcome{Class: sqmail.Accepted}) {
		if o.Recipient != i || o.Class != sqmail.Accepted {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
}

func TestMessageReaderReadsTheWholeEachTime(t *testing.T) {
	m := &sqmail.Message{Content: strings.NewReader("Subject: x\n\nbody\nand more"), Size: 17}
	for range 2 {
		b, err := io.ReadAll(m.Reader())
		if err != nil || string(b) != "Subject: x\n\nbody\n" {
			t.Errorf("%q, %v", b, err)
		}
	}
}
