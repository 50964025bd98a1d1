package queue_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestMessageIsDeliveredAndLeaves(t *testing.T) {
	inTime(t, discard, nil, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test", "c@B.test", "d@e.test"), "Subject: hi\n\nbody\n")
		w.wantEmpty()
		calls := w.deliveries()
		slices.SortFunc(calls, func(a, b call) int { return len(b.to) - len(a.to) })
		if len(calls) != 2 || !slices.Equal(calls[0].to, []string{"a@b.test", "c@B.test"}) {
			t.Fatalf("calls: %+v", calls)
		}
		if c := calls[0]; c.contents != "Subject: hi\n\nbody\n" || c.from != "s@x.test" || c.attempt != 1 ||
			c.route.Channel != "remote" || c.route.Destination != "b.test" {
			t.Errorf("call: %+v", c)
		}
	})
}

// The original's table of spec/queue.md 4.
func TestRetriesKeepTheQuadraticTable(t *testing.T) {
	inTime(t, always(greylist), nil, func(w *world) {
		w.send(envelope("", "a@b.test"), "x\n")
		time.Sleep(45000 * time.Second)
		synctest.Wait()
		var ages []int
		for _, c := range w.deliveries() {
			ages = append(ages, int(c.at/time.Second))
		}
		want := []int{0, 400, 1600, 3600, 6400, 10000, 14400, 19600, 25600, 32400, 40000}
		if !slices.Equal(ages, want) {
			t.Errorf("attempts at %v, want %v", ages, want)
		}
	})
}
