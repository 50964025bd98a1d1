package callout

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnswersAreKeptForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a answers
		a.keep("joe", true, time.Minute)
		a.keep("bob", false, time.Minute)
		time.Sleep(time.Minute - 1)
		for mailbox, want := range map[string]bool{"joe": true, "bob": false} {
			if known, found := a.find(mailbox); known != want || !found {
				t.Errorf("%s: %v, %v", mailbox, known, found)
			}
		}
		time.Sleep(time.Nanosecond)
		if _, found := a.find("joe"); found {
			t.Error("an answer has no end")
		}
		a.keep("joe", false, time.Minute)
		if known, found := a.find("joe"); known || !found {
			t.Error("the last answer does not count")
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	var a answers
	for i := range 10 * maxAnswers {
		a.keep(strconv.Itoa(i), true, time.Hour)
		if n := len(a.recent) + len(a.older); n > maxAnswers {
			t.Fatalf("%d answers", n)
		}
	}
	if _, found := a.find(strconv.Itoa(10*maxAnswers - maxAnswers/2)); !found {
		t.Error("the last answers are not kept")
	}
}
