package journal

import (
	"strconv"
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
		j := Compact(Add(nil, append(deferrals(0, c.n), queue.Attempt{Recipient: 1, Number: 1, Status: queue.Failed})))
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
	Add(old[:8:8], []queue.Attempt{{Number: 99}})
	Add(Add(old, deferrals(0, 20)), deferrals(0, 20))
	for i, a := range old {
		if a.Number != i+1 {
			t.Fatalf("the old journal has changed: %v", old)
		}
	}
}

func TestAJournalThatIsAddedToStaysShort(t *testing.T) {
	var j []queue.Attempt
	for i := range 10_000 {
		j = Add(j, []queue.Attempt{{Number: i + 1}})
		if len(j) > 2*(keepLast+1) {
			t.Fatalf("%d attempts are kept", len(j))
		}
	}
	if j = Compact(j); len(j) != keepLast+1 || j[0].Number != 1 || j[keepLast].Number != 10_000 {
		t.Errorf("left is %v", j)
	}
}

// The time for one recipient must not grow with their number.
func BenchmarkAdd(b *testing.B) {
	for _, recipients := range []int{1, 100, 10_000} {
		b.Run(strconv.Itoa(recipients), func(b *testing.B) {
			for done := 0; done < b.N; {
				var j []queue.Attempt
				for r := 0; r < recipients && done < b.N; r++ {
					j = Add(j, []queue.Attempt{{Recipient: r, Status: queue.Delivered}})
					done++
				}
			}
		})
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
