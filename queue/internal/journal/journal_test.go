package journal

import (
	"testing"
	"time"

	"github.com/sqmail/sqmail/queue"
)

func deferrals(recipient, n int) (list []queue.Attempt) {
	for i := range n {
		list = append(list, queue.Attempt{Recipient: recipient, Number: i + 1})
	}
	return list
}

func TestTheFirstAndTheLastEightDeferralsAreKept(t *testing.T) {
	for _, c := range []struct {
		n    int
		want []int
	}{
		{9, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{10, []int{1, 3, 4, 5, 6, 7, 8, 9, 10}},
		{30, []int{1, 23, 24, 25, 26, 27, 28, 29, 30}},
	} {
		j := Add(nil, append(deferrals(0, c.n), queue.Attempt{Recipient: 1, Number: 1, Status: queue.Failed}))
		if len(j) != len(c.want)+1 || j[len(j)-1].Status != queue.Failed {
			t.Errorf("of %d deferrals %d attempts are left: %v", c.n, len(j), j)
			continue
		}
		for i, number := range c.want {
			if j[i].Number != number {
				t.Errorf("of %d deferrals number %d is left at %d, want %d", c.n, j[i].Number, i, number)
			}
		}
	}
}

func TestAddLeavesTheOldJournalAlone(t *testing.T) {
	old := deferrals(0, 9)
	Add(old[:8], []queue.Attempt{{Number: 99}})
	Add(old, deferrals(0, 20))
	for i, a := range old {
		if a.Number != i+1 {
			t.Fatalf("the old journal has changed: %v", old)
		}
	}
}

func TestSetDueChangesTheLastAttemptOfWhoIsPending(t *testing.T) {
	at := time.Unix(1, 0)
	j := append(deferrals(0, 2), queue.Attempt{Recipient: 1}, queue.Attempt{Recipient: 1, Status: queue.Delivered})
	SetDue(j, at)
	for i, want := range []bool{false, true, false, false} {
		if j[i].Due.Equal(at) != want {
			t.Errorf("attempt %d is due at %v", i, j[i].Due)
		}
	}
}

func TestCheck(t *testing.T) {
	for r, good := range map[int]bool{-1: false, 0: true, 1: true, 2: false} {
		if err := Check([]queue.Attempt{{Recipient: r}}, 2); (err == nil) != good {
			t.Errorf("recipient %d of 2: %v", r, err)
		}
	}
}
