package queue_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// The worked example of spec/log.md 1, as events.
func TestEventsOfAMessage(t *testing.T) {
	var log events
	deliver := func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if m.Envelope.Recipients[0].Path.Domain == "l.org" {
			return outcomes(m, sqmail.Outcome{Class: sqmail.Accepted, Text: "did 1+0+0\n", Where: "./Maildir/"})
		}
		return outcomes(m, sqmail.Outcome{Class: sqmail.Rejection, Text: "1.2.3.4 failed\nno\x1b such user\n",
			Reply: sqmail.Reply{Code: 550, Text: "no such user"}})
	}
	inTime(t, deliver, func(q *queue.Queue) {
		q.Log = log.logger()
		q.Concurrency = map[string]int{"remote": 1}
	}, func(w *world) {
		env := envelope("s@x.y", "joe@l.org", "r@r.net")
		env.Peer = &sqmail.Peer{Session: "17"}
		w.send(env, original)
		w.wantEmpty()
	})
	want := []string{
		`level=INFO msg="new msg" id=1 bytes=86 from=s@x.y recipients=2 session=17`,
		`level=INFO msg="starting delivery" delivery=1 id=1 channel=remote destination=l.org to=joe@l.org`,
		`level=INFO msg="delivery success" delivery=1 id=1 channel=remote destination=l.org to=joe@l.org where=./Maildir/ code=0 reply="" text="did 1+0+0/" took=0s`,
		`level=INFO msg="starting delivery" delivery=2 id=1 channel=remote destination=r.net to=r@r.net`,
		`level=INFO msg="delivery failure" delivery=2 id=1 channel=remote destination=r.net to=r@r.net where="" code=550 reply="no such user" text="1.2.3.4 failed/no_ such user/" took=0s`,
		`level=INFO msg="bounce msg" id=1 bounce=2 kind=bounce to=s@x.y`,
		`level=INFO msg="end msg" id=1`,
	}
	got := make(map[string]int)
	for i, line := range strings.Split(log.String(), "\n") {
		if strings.Contains(line, " id=1 ") || strings.HasSuffix(line, " id=1") {
			got[line] = i
		}
	}
	last := -1
	for _, line := range want {
		at, ok := got[line]
		if !ok {
			t.Errorf("no event\n%s\nin\n%s", line, &log)
		}
		if strings.Contains(line, "bounce msg") || strings.Contains(line, "end msg") {
			if at < last {
				t.Errorf("out of order: %s", line)
			}
			last = at
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d events, want %d:\n%s", len(got), len(want), &log)
	}
}
