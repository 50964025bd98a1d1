package queue_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

func TestSelection(t *testing.T) {
	tests := []struct {
		name string
		sel  queue.Selection
		want []queue.ID
	}{
		{"nothing", queue.Selection{}, nil},
		{"all", queue.Selection{All: true}, []queue.ID{1, 2, 3, 4}},
		{"numbers", queue.Selection{IDs: []queue.ID{3, 99, 1}}, []queue.ID{3, 1}},
		{"sender", queue.Selection{Sender: sqmail.PathOf("joe@x.test")}, []queue.ID{1, 3}},
		{"sender's domain", queue.Selection{Sender: sqmail.Path{Domain: "X.test"}}, []queue.ID{1, 2, 3}},
		{"null sender", queue.Selection{Null: true}, []queue.ID{4}},
		{"recipient", queue.Selection{Recipient: sqmail.PathOf("a@b.test")}, []queue.ID{1, 3}},
		{"recipient's domain", queue.Selection{Recipient: sqmail.Path{Domain: "b.TEST"}}, []queue.ID{1, 2, 3}},
		{"destination", queue.Selection{Destination: "C.test"}, []queue.ID{3, 4}},
		{"number and sender", queue.Selection{IDs: []queue.ID{1, 2}, Sender: sqmail.PathOf("joe@x.test")}, []queue.ID{1}},
		{"sender and destination", queue.Selection{Sender: sqmail.PathOf("joe@x.test"), Destination: "c.test"}, []queue.ID{3}},
		{"settled recipient", queue.Selection{Recipient: sqmail.PathOf("ok@b.test")}, nil},
	}
	deliver := func(_ context.Context, m *sqmail.Message) (all []sqmail.Outcome, _ error) {
		for i, r := range m.Envelope.Recipients {
			if r.Path.Local == "ok" {
				all = append(all, sqmail.Outcome{Recipient: i, Class: sqmail.Accepted})
			}
		}
		return all, nil
	}
	inTime(t, deliver, nil, func(w *world) {
		w.send(envelope("joe@x.test", "a@b.test", "ok@b.test"), "x\n")
		w.send(envelope("ann@x.test", "b@b.test"), "x\n")
		w.send(envelope("joe@x.test", "a@b.test", "a@c.test"), "x\n")
		w.send(envelope("", "a@c.test"), "x\n")
		synctest.Wait()
		for _, tt := range tests {
			var got []queue.ID
			for e, err := range w.Select(w.t.Context(), tt.sel) {
				if err != nil {
					t.Error(err)
				}
				got = append(got, e.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
	})
}

func TestHoldReleaseRetryRemoveAll(t *testing.T) {
	inTime(t, always(greylist), nil, func(w *world) {
		ctx := w.t.Context()
		for range 3 {
			w.send(envelope("joe@x.test", "a@b.test"), "x\n")
			w.send(envelope("ann@x.test", "a@b.test"), "x\n")
		}
		synctest.Wait()
		step := func(what string, do func(context.Context, queue.Selection) (int, error), s queue.Selection, want int) {
			t.Helper()
			if n, err := do(ctx, s); n != want || err != nil {
				t.Errorf("%s: %d, %v; want %d", what, n, err, want)
			}
			synctest.Wait()
		}
		retry := func(ctx context.Context, s queue.Selection) (int, error) { return w.RetryAll(ctx, s, time.Time{}) }
		joe, ann := queue.Selection{Sender: sqmail.PathOf("joe@x.test")}, queue.Selection{Sender: sqmail.PathOf("ann@x.test")}

		step("hold", w.HoldAll, joe, 3)
		step("retry", retry, queue.Selection{All: true}, 6)
		if n := len(w.deliveries()); n != 9 {
			t.Errorf("%d attempts, want 6 and 3 retries", n)
		}
		step("release", w.ReleaseAll, queue.Selection{All: true}, 6)
		if n := len(w.deliveries()); n != 12 {
			t.Errorf("%d attempts after the release, want 12", n)
		}
		step("remove", w.RemoveAll, ann, 3)
		if s := w.Stats(); s.Deferred != 3 {
			t.Errorf("%+v", s)
		}
		step("remove", w.RemoveAll, queue.Selection{All: true}, 3)
		w.wantEmpty()
	})
}

// Retry of a message gives a dead destination another chance at once.
func TestRetryRevivesTheDestination(t *testing.T) {
	var alive atomic.Bool
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if alive.Load() {
			return outcomes(m, accepted)
		}
		return outcomes(m, noAnswer)
	}
	inTime(t, deliver, nil, func(w *world) {
		id := w.send(envelope("s@x.test", "a@b.test"), "x\n")
		w.send(envelope("s@x.test", "c@b.test"), "x\n")
		time.Sleep(time.Hour)
		if d := w.Destinations()[0]; d.State != "dead" {
			t.Fatalf("destination: %+v", d)
		}
		alive.Store(true)
		if err := w.Retry(w.t.Context(), id, time.Time{}); err != nil {
			t.Fatal(err)
		}
		w.wantEmpty()
	})
}

func TestRetryAtATime(t *testing.T) {
	inTime(t, always(greylist), nil, func(w *world) {
		id := w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(10 * time.Second)
		if err := w.Retry(w.t.Context(), id, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if c := w.deliveries(); len(c) != 2 || c[1].at != 70*time.Second {
			t.Errorf("attempts: %+v", c)
		}
	})
}

// Removing a message ends its attempts, and nothing is reported.
func TestRemoveWhileRunning(t *testing.T) {
	var b box
	var ended atomic.Bool
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		<-ctx.Done()
		ended.Store(true)
		return outcomes(m, rejected)
	}
	inTime(t, deliver, bouncing(&b), func(w *world) {
		id := w.send(envelope("s@x.test", "a@b.test"), "x\n")
		synctest.Wait()
		if err := w.Remove(w.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.wantEmpty()
		b.want(t, 0)
		if !ended.Load() || w.Channels()[0].Running != 0 {
			t.Errorf("the attempt goes on: %+v", w.Channels())
		}
		if err := w.Remove(w.t.Context(), id); err != queue.ErrNotFound {
			t.Errorf("second removal: %v", err)
		}
	})
}

// Removing by recipient or destination takes only those out, whatever state
// the message is in, and the others are served and bounced as usual.
func TestRemoveRecipients(t *testing.T) {
	var b box
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		switch m.Route.Destination {
		case "slow.test":
			sleep(ctx, time.Hour)
			return outcomes(m, greylist)
		case "bad.test":
			return outcomes(m, rejected)
		}
		return outcomes(m, noAnswer)
	}
	tests := []struct {
		name   string
		sel    queue.Selection
		within time.Duration // of the removal
		status [3]queue.Status
	}{
		{"recipient that is deferred", queue.Selection{Recipient: sqmail.PathOf("a@dead.test")}, 0,
			[3]queue.Status{queue.Removed, queue.Pending, queue.Failed}},
		{"recipient whose attempt is running", queue.Selection{Destination: "slow.test"}, time.Hour,
			[3]queue.Status{queue.Pending, queue.Removed, queue.Failed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inTime(t, deliver, bouncing(&b), func(w *world) {
				w.send(envelope("s@x.test", "a@dead.test", "b@slow.test", "c@bad.test"), "x\n")
				time.Sleep(time.Minute)
				began := time.Now()
				if n, err := w.RemoveAll(w.t.Context(), tt.sel); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				if d := time.Since(began); d > tt.within {
					t.Errorf("it took %v", d)
				}
				synctest.Wait()
				for i, s := range w.entries()[0].States() {
					if s.Status != tt.status[i] {
						t.Errorf("recipient %d is %v, want %v", i, s.Status, tt.status[i])
					}
				}
			})
		})
	}
}

func TestRemoveRecipientsOfAHeldMessage(t *testing.T) {
	inTime(t, always(greylist), nil, func(w *world) {
		id := w.send(envelope("s@x.test", "a@b.test", "c@d.test"), "x\n")
		synctest.Wait()
		if err := w.Hold(w.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if n, err := w.RemoveAll(w.t.Context(), queue.Selection{Destination: "b.test"}); n != 0 || err == nil {
			t.Errorf("removed %d, %v", n, err)
		}
	})
}

func TestHoldWhileWaitingForASlot(t *testing.T) {
	s := &slow{took: time.Minute, outcome: accepted}
	inTime(t, s.Deliver, func(q *queue.Queue) { q.Concurrency = map[string]int{"remote": 1} }, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		held := w.send(envelope("s@x.test", "b@b.test"), "x\n")
		w.send(envelope("s@x.test", "c@b.test"), "x\n")
		synctest.Wait()
		if err := w.Hold(w.t.Context(), held); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Minute + time.Second)
		if n := len(w.deliveries()); n != 2 || w.Channels()[0].Running != 0 {
			t.Errorf("%d attempts, %+v", n, w.Channels())
		}
		if err := w.Release(w.t.Context(), held); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		w.wantEmpty()
	})
}
