package queue_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// table is a Router that may be changed, by domain.
type table struct {
	mu     sync.Mutex
	routes map[string]string
}

func (r *table) set(domain, destination string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.routes == nil {
		r.routes = make(map[string]string)
	}
	r.routes[domain] = destination
}

func (r *table) Route(_ context.Context, _ *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	destination := to.Domain
	if d := r.routes[destination]; d != "" {
		destination = d
	}
	return sqmail.Routing{Route: sqmail.Route{Channel: "remote", Destination: destination}, Deliver: to, Display: to}, nil
}

// toRelay accepts what goes to relay.test; everything else takes its time and
// is deferred.
func toRelay(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	if m.Route.Destination == "relay.test" {
		return outcomes(m, accepted)
	}
	sleep(ctx, time.Minute)
	return outcomes(m, greylist)
}

// A changed route applies at a message's next attempt, in its own time or when
// that is asked for: deferred, parked or running.
func TestChangedRoutesApplyToQueuedMail(t *testing.T) {
	for _, ask := range []bool{false, true} {
		var r table
		inTime(t, toRelay, func(q *queue.Queue) {
			q.Router = &r
			q.Limits = func(string, string) queue.Limits { return queue.Limits{Concurrency: 1} }
		}, func(w *world) {
			w.send(envelope("s@x.test", "deferred@a.test"), "x\n")
			time.Sleep(2 * time.Minute)
			w.send(envelope("s@x.test", "running@b.test"), "x\n")
			synctest.Wait()
			w.send(envelope("s@x.test", "parked@b.test"), "x\n")
			synctest.Wait()
			if s := w.Stats(); s.Deferred != 1 || s.Leased != 1 || s.Parked != 1 {
				t.Fatalf("%+v", s)
			}
			r.set("a.test", "relay.test")
			r.set("b.test", "relay.test")
			patience := 30 * time.Minute
			if ask {
				if n, err := w.RetryAll(w.t.Context(), queue.Selection{Destination: "relay.test"}, time.Time{}); n != 3 || err != nil {
					t.Errorf("retry: %d, %v", n, err)
				}
				patience = time.Minute // until the one that is running has ended
			}
			time.Sleep(patience)
			w.wantEmpty()
		})
	}
}

// Retry now, by message, by destination and of everything, whether messages
// are deferred, parked or being attempted.
func TestRetryNow(t *testing.T) {
	ctx := context.Background()
	tests := []struct {
		name  string
		retry func(w *world, ids []queue.ID) (int, error)
		want  []string // who is tried within two minutes
	}{
		{"by message", func(w *world, ids []queue.ID) (int, error) { return 1, w.Retry(ctx, ids[0], time.Time{}) }, []string{"deferred@a.test"}},
		{"by number", func(w *world, ids []queue.ID) (int, error) {
			return w.RetryAll(ctx, queue.Selection{IDs: ids[:1]}, time.Time{})
		}, []string{"deferred@a.test"}},
		{"by destination", func(w *world, _ []queue.ID) (int, error) {
			return w.RetryAll(ctx, queue.Selection{Destination: "b.test"}, time.Time{})
		}, []string{"other@b.test", "running@b.test"}},
		{"everything", func(w *world, _ []queue.ID) (int, error) {
			return w.RetryAll(ctx, queue.Selection{All: true}, time.Time{})
		}, []string{"deferred@a.test", "other@b.test", "running@b.test"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &slow{took: 30 * time.Second, outcome: greylist}
			inTime(t, s.Deliver, nil, func(w *world) {
				ids := []queue.ID{w.send(envelope("s@x.test", "deferred@a.test"), "x\n")}
				time.Sleep(time.Minute)
				ids = append(ids, w.send(envelope("s@x.test", "running@b.test"), "x\n"), w.send(envelope("s@x.test", "other@b.test"), "x\n"))
				time.Sleep(10 * time.Second)
				if st := w.Stats(); st.Deferred != 1 || st.Leased != 1 || st.Parked != 1 {
					t.Fatalf("%+v", st)
				}
				before := len(w.deliveries())
				if n, err := tt.retry(w, ids); n != len(tt.want) || err != nil {
					t.Errorf("%d messages, %v", n, err)
				}
				time.Sleep(2 * time.Minute)
				var got []string
				for _, c := range w.deliveries()[before:] {
					got = append(got, c.to[0])
				}
				slices.Sort(got)
				got = slices.Compact(got)
				want := tt.want
				if !slices.Contains(want, "other@b.test") {
					want = append(slices.Clone(want), "other@b.test") // it is its turn anyway
				}
				if !slices.Equal(got, want) {
					t.Errorf("attempts at %v, want %v", got, want)
				}
				if _, err := w.RemoveAll(ctx, queue.Selection{All: true}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Hold lets an attempt that is running end, and keeps the message from the
// next one.
func TestHoldWhileAnAttemptRuns(t *testing.T) {
	s := &slow{took: time.Minute, outcome: greylist}
	inTime(t, s.Deliver, nil, func(w *world) {
		id := w.send(envelope("s@x.test", "a@b.test"), "x\n")
		synctest.Wait()
		if err := w.Hold(w.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if n, st := len(w.deliveries()), w.Stats(); n != 1 || st.Held != 1 {
			t.Errorf("%d attempts, %+v", n, st)
		}
		if err := w.Release(w.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(w.deliveries()); n != 2 {
			t.Errorf("%d attempts after the release", n)
		}
		if err := w.Remove(w.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.wantEmpty()
	})
}
