package queue_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/queueadmin"
)

// Tools work on a running queue as on its store.
var _ queueadmin.Admin = (*queue.Queue)(nil)

// One bad message does not end the process, and holds up no other.
func TestPanicsConcernOneMessage(t *testing.T) {
	tests := []struct {
		name  string
		lease func(queue.Lease) queue.Lease
	}{
		{"content", func(l queue.Lease) queue.Lease { return panickyContent{l} }},
		{"retry", func(l queue.Lease) queue.Lease { return panickyRetry{l} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log events
			deliver := func(m *sqmail.Message) ([]sqmail.Outcome, error) {
				if m.Envelope.ReversePath.Local == "bad" {
					return outcomes(m, greylist)
				}
				return outcomes(m, accepted)
			}
			inTime(t, plain(deliver), func(q *queue.Queue) { q.Log, q.Store = log.logger(), panicky{q.Store, tt.lease} }, func(w *world) {
				w.send(envelope("bad@x.test", "a@b.test"), "x\n")
				w.send(envelope("good@x.test", "a@c.test"), "x\n")
				synctest.Wait()
				if e := w.entries(); len(e) != 1 || e[0].Envelope.ReversePath.Local != "bad" || e[0].Leased || time.Until(e[0].Due) != time.Hour {
					t.Errorf("in the queue: %+v", e)
				}
				if c := w.Channels(); len(c) > 0 && c[0].Running != 0 {
					t.Errorf("channel: %+v", c)
				}
				log.want(t, "msg=panic in=job panic="+tt.name)
			})
		})
	}
}

// panicky is a Store that panics with messages from bad@….
type panicky struct {
	queue.Store
	lease func(queue.Lease) queue.Lease
}

func (s panicky) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	l, err := s.Store.Lease(ctx, ttl)
	if err == nil && l.Entry().Envelope.ReversePath.Local == "bad" {
		l = s.lease(l)
	}
	return l, err
}

type panickyContent struct{ queue.Lease }

func (panickyContent) Content() io.ReaderAt { panic("content") }

type panickyRetry struct{ queue.Lease }

func (l panickyRetry) Retry(ctx context.Context, a []queue.Attempt, at time.Time) error {
	if len(a) > 0 {
		panic("retry")
	}
	return l.Lease.Retry(ctx, a, at)
}

// A list with an attempt for each recipient keeps its lease while it waits,
// and goes on when it must not.
func TestBigListWaitsWithItsLease(t *testing.T) {
	s := &slow{took: time.Second, outcome: accepted}
	inTime(t, s.Deliver, func(q *queue.Queue) { q.Concurrency = map[string]int{"remote": 1} }, func(w *world) {
		for range 3 {
			w.send(envelope("joe@x.test", "a@b.test"), "x\n")
		}
		synctest.Wait()
		env := envelope("l-@x.test-@[]")
		for i := range 100 {
			env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(fmt.Sprintf("r%d@b.test", i))})
		}
		w.send(env, "x\n")
		synctest.Wait()
		if st := w.Stats(); st.Leased != 2 || st.Parked != 2 {
			t.Errorf("%+v, want the list and the running one leased", st)
		}
		time.Sleep(2 * time.Minute)
		w.wantEmpty()
		if n := len(w.deliveries()); n != 103 {
			t.Errorf("%d attempts, want 103", n)
		}
		w.wantNothingRemembered()
	})
}

// What a Queue knows of destinations is bounded.
func TestDestinationsAreForgotten(t *testing.T) {
	inTime(t, discard, nil, func(w *world) {
		for i := range 12_000 {
			w.send(envelope("s@x.test", fmt.Sprintf("a@d%d.test", i)), "x\n")
		}
		w.wantEmpty()
		if n := len(w.Destinations()); n != 10_000 {
			t.Errorf("%d destinations remembered", n)
		}
	})
}

func TestLifetimeMayChange(t *testing.T) {
	var b box
	inTime(t, always(greylist), bouncing(&b), func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(3 * time.Hour)
		w.SetLifetime(2 * time.Hour)
		time.Sleep(2 * time.Hour)
		w.wantEmpty()
		b.want(t, 1)
	})
}
