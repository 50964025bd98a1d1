package queue_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// counted counts the leases that a store gives.
type counted struct {
	queue.Store
	leases atomic.Int64
}

func (c *counted) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	l, err := c.Store.Lease(ctx, ttl)
	if err == nil {
		c.leases.Add(1)
	}
	return l, err
}

// What waits for a saturated destination is leased twice, to see where it
// goes, and when its slot is free; and once more for each hour or two, come
// what may. There is no polling, and no pile of leases.
func TestMessagesOfASaturatedDestinationAreLeasedTwice(t *testing.T) {
	const n = 10_000
	for _, tt := range []struct {
		took time.Duration
		most int64 // leases for each message
	}{
		{500 * time.Millisecond, 2}, // all done in 17 minutes
		{10 * time.Second, 6},       // in six hours
	} {
		t.Run(tt.took.String(), func(t *testing.T) {
			s := &slow{took: tt.took, outcome: accepted}
			store := &counted{}
			inTime(t, s.Deliver, func(q *queue.Queue) {
				store.Store, q.Store = q.Store, store
				q.Limits = func(string, string) queue.Limits { return queue.Limits{Concurrency: 5} }
			}, func(w *world) {
				for i := range n {
					w.send(envelope(fmt.Sprintf("s%d@x.test", i%100), "r@full.test"), "x\n")
				}
				time.Sleep(1100 * time.Millisecond)
				synctest.Wait()
				if st := w.Stats(); st.Leased > 5 {
					t.Errorf("%d are leased, and five attempts run", st.Leased)
				}
				time.Sleep(6 * time.Hour)
				w.wantEmpty()
				leases := store.leases.Load()
				if leases > tt.most*n+10 {
					t.Errorf("%d leases for %d messages", leases, n)
				}
				t.Logf("%d leases for %d messages", leases, n)
			})
		})
	}
}
