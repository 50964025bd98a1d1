package queue_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// A good message goes out at once, whatever waits for slow and dead hosts,
// with no setting changed.
func TestSlowAndDeadDestinationsHoldUpNoOther(t *testing.T) {
	var arrivals sync.Map
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		switch d := m.Route.Destination; {
		case d == "tarpit.test":
			sleep(ctx, 10*time.Minute)
			return outcomes(m, accepted)
		case strings.HasPrefix(d, "dead"):
			sleep(ctx, time.Minute)
			return outcomes(m, noAnswer)
		}
		arrivals.Store(m.Envelope.Recipients[0].Path.String(), time.Now())
		return outcomes(m, accepted)
	}
	inTime(t, deliver, func(q *queue.Queue) { q.AttemptTimeout = 15 * time.Minute }, func(w *world) {
		w.send(envelope("s@x.test", "first@good.test"), "x\n")
		synctest.Wait()
		for i := range 1000 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@dead%d.test", i)), "x\n")
		}
		for range 100_000 {
			w.send(envelope("s@x.test", "r@tarpit.test"), "x\n")
		}
		for i, wait := range []time.Duration{0, 30 * time.Second, 5 * time.Minute, 70 * time.Minute} {
			time.Sleep(wait)
			sent := time.Now()
			to := fmt.Sprintf("good%d@good.test", i)
			w.send(envelope("s@x.test", to), "x\n")
			time.Sleep(200 * time.Millisecond)
			synctest.Wait()
			if at, ok := arrivals.Load(to); !ok {
				t.Errorf("sent after %v, not delivered in 200 ms; %+v", sent.Sub(w.start), w.Channels())
			} else {
				t.Logf("sent after %v, delivered %v later", sent.Sub(w.start), at.(time.Time).Sub(sent))
			}
		}
		if _, err := w.RemoveAll(w.t.Context(), queue.Selection{All: true}); err != nil {
			t.Error(err)
		}
		w.wantEmpty()
	})
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
