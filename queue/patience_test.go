package queue_test

import (
	"context"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// stuck is a Router that never answers for one domain; deaf, not even when it
// is told to.
type stuck struct {
	domain string
	deaf   chan struct{}
}

func (r stuck) Route(ctx context.Context, _ *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	if to.Domain == r.domain {
		select {
		case <-ctx.Done():
		case <-r.deaf:
		}
		if r.deaf != nil {
			<-r.deaf
		}
		return sqmail.Routing{}, context.Cause(ctx)
	}
	route := sqmail.Route{Channel: sqmail.ChannelRemote, Destination: to.Domain}
	return sqmail.Routing{Route: route, Deliver: to, Display: to}, nil
}

// TestSlowRouterHoldsUpItsOwnMessageAlone: others wait a second for it at most.
func TestSlowRouterHoldsUpItsOwnMessageAlone(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		var router stuck
		setRouter := func(q *queue.Queue) {
			router.domain = "stuck.test"
			if deaf {
				router.deaf = make(chan struct{})
			}
			q.Router = router
		}
		inTime(t, discard, setRouter, func(w *world) {
			if deaf {
				defer close(router.deaf)
			}
			for range 3 {
				w.send(envelope("a@b.test", "x@stuck.test"), "\n")
				w.send(envelope("a@b.test", "x@good.test"), "\n")
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if calls := w.deliveries(); len(calls) != 3 {
				t.Errorf("deaf %v: %d deliveries after three seconds", deaf, len(calls))
			}
			if deaf {
				return
			}
			for _, e := range w.entries() {
				if len(e.Journal) != 1 || e.Journal[0].Status != queue.Pending || e.Leased {
					t.Errorf("the message that cannot be routed: %+v", e)
				}
			}
		})
	}
}

// TestSlowRouterIsCutShortWhileOthersRun: a recipient that comes due during
// another's attempt is routed by the attempt's goroutine.
func TestSlowRouterIsCutShortWhileOthersRun(t *testing.T) {
	long := plain(func(m *sqmail.Message) ([]sqmail.Outcome, error) {
		time.Sleep(time.Hour)
		return outcomes(m, sqmail.Outcome{Class: sqmail.Accepted})
	})
	inTime(t, long, func(q *queue.Queue) { q.Router = stuck{domain: "stuck.test"} }, func(w *world) {
		w.send(envelope("a@b.test", "x@good.test", "x@stuck.test"), "\n")
		time.Sleep(30*time.Minute + 10*time.Second)
		synctest.Wait()
		tries := 0
		for _, e := range w.entries() {
			for _, a := range e.Journal {
				if a.Recipient == 1 {
					tries++
				}
			}
		}
		if tries != 3 { // at 0, 400 and 1600 seconds
			t.Errorf("%d attempts to route, not 3", tries)
		}
	})
}

// TestBounceReceiverThatHangsIsCutShort: and the report is tried again.
func TestBounceReceiverThatHangsIsCutShort(t *testing.T) {
	var calls []time.Duration
	start := time.Time{}
	hang := sqmail.ReceiverFunc(func(ctx context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		calls = append(calls, time.Since(start))
		if len(calls) > 2 {
			_, err := io.Copy(io.Discard, body)
			return sqmail.Receipt{}, err
		}
		<-ctx.Done()
		return sqmail.Receipt{}, ctx.Err()
	})
	reject := always(sqmail.Outcome{Class: sqmail.Rejection, Text: "no"})
	inTime(t, reject, func(q *queue.Queue) { q.Bounces.Receiver = hang }, func(w *world) {
		start = time.Now()
		w.send(envelope("a@b.test", "x@c.test"), "\n")
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		w.wantEmpty()
		want := []time.Duration{0, 243 * time.Second, 486 * time.Second}
		if !slices.Equal(calls, want) {
			t.Errorf("reports at %v, want %v", calls, want)
		}
	})
}
