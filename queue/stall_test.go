package queue_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// events collects the log.
type events struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lines.Write(p)
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lines.String()
}

func (e *events) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(e, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "stack" {
			return slog.Attr{}
		}
		return a
	}}))
}

func (e *events) want(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(e.String(), line) {
			t.Errorf("no event with %s in\n%s", line, e)
		}
	}
}

// An attempt that does not end is cancelled at its time limit, and given up
// ten seconds later: its slot is free, its message is tried again, it cannot
// read the message any more, and what it says in the end counts for nothing.
func TestStalledAttemptIsGivenUp(t *testing.T) {
	var log events
	var wake chan struct{} // made in the bubble of virtual time
	var late chan error
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if m.Attempt > 1 {
			return outcomes(m, accepted)
		}
		<-wake
		_, err := io.ReadAll(m.Reader())
		late <- err
		return outcomes(m, rejected)
	}
	var b box
	inTime(t, deliver, func(q *queue.Queue) {
		q.AttemptTimeout, q.Log, q.Bounces.Receiver = time.Hour, log.logger(), &b
		q.Concurrency = map[string]int{"remote": 1}
		wake, late = make(chan struct{}), make(chan error, 1)
	}, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(time.Hour + 9*time.Second)
		if c := w.Channels()[0]; c.Running+c.Silent != 1 {
			t.Errorf("before: %+v", c)
		}
		log.want(t, `msg=stalled delivery=1 id=1 channel=remote destination=b.test to=a@b.test took=1h0m0s`)
		time.Sleep(1500 * time.Millisecond)
		if c := w.Channels()[0]; c.Running+c.Silent != 0 {
			t.Errorf("after: %+v", c)
		}
		log.want(t, `msg=abandoned delivery=1 id=1`, `msg="delivery deferral" delivery=1 id=1`)
		time.Sleep(time.Hour)
		w.wantEmpty()
		close(wake)
		synctest.Wait()
		if err := <-late; err == nil {
			t.Error("the abandoned attempt could still read the message")
		}
		b.want(t, 0)
		log.want(t, `msg="delivery success" delivery=2 id=1`, `msg="end msg" id=1`)
	})
}

// An attempt that heeds its context ends with its own outcomes.
func TestStalledAttemptMaySayWhatIsCertain(t *testing.T) {
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		<-ctx.Done()
		all, _ := outcomes(m, accepted)
		return all[:1], nil
	}
	inTime(t, deliver, func(q *queue.Queue) { q.AttemptTimeout = time.Minute }, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test", "c@b.test"), "x\n")
		time.Sleep(time.Minute + time.Second)
		states := w.entries()[0].States()
		if states[0].Status != queue.Delivered || states[1].Status != queue.Pending || states[1].Attempts != 1 {
			t.Errorf("states: %+v", states)
		}
	})
}

// A lease is extended only while an attempt is alive: for hours, if need be.
func TestLongAttemptKeepsItsLease(t *testing.T) {
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		sleep(ctx, 5*time.Hour)
		return outcomes(m, accepted)
	}
	inTime(t, deliver, func(q *queue.Queue) { q.AttemptTimeout = 6 * time.Hour }, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(5*time.Hour + time.Second)
		w.wantEmpty()
		if n := len(w.deliveries()); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

// The same message at two queues on one store: the one that lost its lease
// cannot record anything any more.
func TestLostLeaseFencesOffLateOutcomes(t *testing.T) {
	var b box
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		sleep(ctx, 30*time.Minute)
		return outcomes(m, rejected)
	}
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		w := newWorld(t, store, deliver, func(q *queue.Queue) {
			q.Store, q.Bounces.Receiver = noExtend{store}, &b
		})
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(3*time.Minute - time.Second) // the lease's time
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		lease, err := store.Lease(ctx, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.want(t, 0)
		if err := lease.Done(t.Context(), []queue.Attempt{{Number: 1, Status: queue.Delivered}}); err != nil {
			t.Error(err)
		}
		w.stop()
		b.want(t, 0)
	})
}

// noExtend is a store whose leases cannot be extended.
type noExtend struct{ queue.Store }

func (s noExtend) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	l, err := s.Store.Lease(ctx, ttl)
	return noExtendLease{l}, err
}

type noExtendLease struct{ queue.Lease }

func (noExtendLease) Extend(time.Duration) error { return errFault }
