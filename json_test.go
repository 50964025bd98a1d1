package sqmail_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
)

// TestVerdictsSurviveJSON keeps what queue export writes and queue import
// reads: codes and classes as the words that people know.
func TestVerdictsSurviveJSON(t *testing.T) {
	env := sqmail.Envelope{
		ReversePath: sqmail.Path{Local: `"a b"`, Domain: "example.org"},
		Recipients: []sqmail.Recipient{
			{Path: sqmail.PathOf("joe@example.org"), Notify: sqmail.NotifySuccess | sqmail.NotifyDelay, Original: "rfc822;joe"},
			{Path: sqmail.PathOf("postmaster")},
		},
		Size: 10, Body: sqmail.Body8Bit, SMTPUTF8: true, RequireTLS: true,
		Return: sqmail.ReturnHeaders, EnvelopeID: "x y", Header: []byte("Received: here\n"),
		Verdicts: []sqmail.Verdict{{
			Stage: "recipient", Filter: "rcpthosts", Action: sqmail.ActionReject, Took: time.Millisecond,
			Reply: sqmail.Reply{Code: 553, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "no relay"},
			Rule:  ".example.org", Input: "joe@example.net", File: "rcpthosts", Line: 3,
		}},
	}
	text, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	var got sqmail.Envelope
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, env) {
		t.Errorf("%s\nread back as %+v\nwant %+v", text, got, env)
	}
}

func TestMalformedWordsAreRefused(t *testing.T) {
	for _, text := range []string{`"5.7"`, `"5.7.1.1"`, `"a.b.c"`, `""`} {
		if err := json.Unmarshal([]byte(text), new(sqmail.EnhancedCode)); err == nil {
			t.Errorf("enhanced status code %s was taken", text)
		}
	}
	if err := json.Unmarshal([]byte(`"maybe"`), new(sqmail.Class)); err == nil {
		t.Error("class maybe was taken")
	}
	if err := json.Unmarshal([]byte(`"maybe"`), new(sqmail.Action)); err == nil {
		t.Error("action maybe was taken")
	}
}
