package queue_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// More messages than may stand in lines do not make the Queue look at them
// again and again; they are called as the line gets shorter, in good time.
func TestFullLinesCallWhatTheyRefused(t *testing.T) {
	const n, most = 5000, 300
	for _, dead := range []int{0, most} {
		t.Run(fmt.Sprintf("%d for a dead host", dead), func(t *testing.T) {
			store := &counted{}
			deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
				if m.Route.Destination == "dead.test" {
					sleep(ctx, time.Minute)
					return outcomes(m, noAnswer)
				}
				sleep(ctx, 100*time.Millisecond)
				return outcomes(m, accepted)
			}
			inTime(t, deliver, func(q *queue.Queue) {
				store.Store, q.Store = q.Store, store
				q.Limits = func(string, string) queue.Limits { return queue.Limits{Concurrency: 5} }
				q.SetMaxWaiting(most)
			}, func(w *world) {
				for range dead {
					w.send(envelope("s@x.test", "r@dead.test"), "x\n")
				}
				for range n {
					w.send(envelope("s@x.test", "r@full.test"), "x\n")
				}
				synctest.Wait()
				if got := w.Waiting(); got > most+100 {
					t.Errorf("%d messages stand in lines", got)
				}
				began := store.leases.Load()
				time.Sleep(20 * time.Second)
				if d := store.leases.Load() - began; d > 3*200*20 {
					t.Errorf("%d leases in 20 seconds", d)
				}
				time.Sleep(110 * time.Second) // 100 seconds are needed
				if left := len(w.entries()); left > dead {
					t.Errorf("%d of %d are still there", left-dead, n)
				}
				if leases := store.leases.Load(); leases > 4*n {
					t.Errorf("%d leases for %d messages", leases, n)
				}
				t.Logf("%d leases for %d messages", store.leases.Load(), n)
			})
		})
	}
}

// What a Queue has parked so is due when it stops, for the next one.
func TestRefusedMessagesAreDueAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		w := newWorld(t, store, discard, func(q *queue.Queue) {
			q.SetMaxWaiting(10)
			q.Limits = func(string, string) queue.Limits { return queue.Limits{Rate: 1e-6} }
		})
		for range 500 {
			w.send(envelope("s@x.test", "r@b.test"), "x\n")
		}
		time.Sleep(time.Minute)
		w.stop()
		next := newWorld(t, store, discard, nil)
		time.Sleep(time.Second)
		next.wantEmpty()
		next.stop()
	})
}
