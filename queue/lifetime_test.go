package queue_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// A lifetime that becomes shorter ends the waiting of what is deferred, parked
// or being attempted, at once if need be; what is held has time.
func TestShorterLifetimeHoldsForQueuedMail(t *testing.T) {
	for _, age := range []time.Duration{10 * time.Minute, 5 * time.Hour} {
		t.Run(age.String(), func(t *testing.T) {
			var b box
			deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
				if m.Route.Destination == "slow.test" {
					sleep(ctx, 50*time.Hour)
				}
				return outcomes(m, greylist)
			}
			inTime(t, deliver, func(q *queue.Queue) {
				q.Bounces.Receiver, q.AttemptTimeout = &b, 60*time.Hour
				q.Schedule = queue.Fixed{48 * time.Hour}
			}, func(w *world) {
				w.send(envelope("s@x.test", "deferred@a.test"), "x\n")
				w.send(envelope("s@x.test", "running@slow.test"), "x\n")
				w.send(envelope("s@x.test", "parked@slow.test"), "x\n")
				held := w.send(envelope("s@x.test", "held@a.test"), "x\n")
				if err := w.Hold(w.t.Context(), held); err != nil {
					t.Fatal(err)
				}
				time.Sleep(age)
				if s := w.Stats(); s.Deferred != 1 || s.Leased != 1 || s.Parked != 1 || s.Held != 1 {
					t.Fatalf("%+v", s)
				}
				w.SetLifetime(2 * time.Hour)
				if left := 2*time.Hour - age; left > 0 {
					time.Sleep(left - time.Second)
					b.want(t, 0)
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				b.want(t, 3)
				if s := w.Stats(); s.Held != 1 || s.Deferred+s.Parked+s.Leased != 0 {
					t.Errorf("afterwards: %+v", s)
				}
				if err := w.Remove(w.t.Context(), held); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// So does one that has become shorter while no Queue was running.
func TestShorterLifetimeHoldsAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b box
		store := newStore()
		slow := func(q *queue.Queue) { q.Bounces.Receiver, q.Schedule = &b, queue.Fixed{48 * time.Hour} }
		w := newWorld(t, store, always(greylist), slow)
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(time.Hour)
		w.stop()
		w = newWorld(t, store, always(greylist), func(q *queue.Queue) { slow(q); q.Lifetime = 2 * time.Hour })
		defer w.stop()
		time.Sleep(time.Hour - time.Second)
		b.want(t, 0)
		time.Sleep(time.Minute)
		b.want(t, 1)
		w.wantEmpty()
	})
}

// Nor may an administrator, or another queue's schedule, put an attempt off
// beyond the lifetime.
func TestNothingIsDueBeyondItsLifetime(t *testing.T) {
	var b box
	inTime(t, always(greylist), bouncing(&b), func(w *world) {
		id := w.send(envelope("s@x.test", "a@b.test"), "x\n")
		synctest.Wait()
		if err := w.Retry(w.t.Context(), id, time.Now().Add(30*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		s := queue.Submission{Envelope: envelope("s@x.test", "c@b.test"), Arrived: time.Now(), Due: time.Now().Add(30 * 24 * time.Hour)}
		if _, err := w.Import(w.t.Context(), s, strings.NewReader("x\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7*24*time.Hour - time.Second)
		b.want(t, 0)
		time.Sleep(2 * time.Second)
		w.wantEmpty()
		b.want(t, 2)
		if n := len(w.deliveries()); n != 3 {
			t.Errorf("%d attempts, want 3", n)
		}
	})
}

// An embedder's function that panics costs nothing but its own opinion.
func TestPanicsOfTheEmbeddersFunctions(t *testing.T) {
	tests := []struct {
		name string
		set  func(*queue.Queue)
	}{
		{"account", func(q *queue.Queue) { q.Account = func(*sqmail.Envelope) string { panic("oh") } }},
		{"limits", func(q *queue.Queue) { q.Limits = func(string, string) queue.Limits { panic("oh") } }},
		{"schedule", func(q *queue.Queue) {
			q.Schedule = queue.ScheduleFunc(func(string, time.Time, time.Time, int) time.Time { panic("oh") })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b box
			var log events
			inTime(t, always(greylist), func(q *queue.Queue) {
				q.Bounces.Receiver, q.Log = &b, log.logger()
				tt.set(q)
			}, func(w *world) {
				w.send(envelope("s@x.test", "a@b.test"), "x\n")
				time.Sleep(7*24*time.Hour + time.Second)
				w.wantEmpty()
				b.want(t, 1)
				if n := len(w.deliveries()); n != 40 {
					t.Errorf("%d attempts, want those of the worked table", n)
				}
				log.want(t, "msg=panic in="+tt.name+" panic=oh")
			})
		})
	}
}

// receiver makes a Receiver of a function.
type receiver func(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error)

func (f receiver) Receive(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	return f(ctx, env, body)
}

// A Receiver of bounces that takes longer than a lease lasts still gets one.
func TestSlowReceiverGetsOneBounce(t *testing.T) {
	var b box
	slow := receiver(func(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		defer time.Sleep(5 * time.Minute)
		return b.Receive(ctx, env, body)
	})
	inTime(t, always(rejected), func(q *queue.Queue) { q.Bounces.Receiver = slow }, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(time.Hour)
		w.wantEmpty()
		b.want(t, 1)
	})
}

// One that hangs is asked again later, and does not keep the Queue from
// stopping.
func TestHangingReceiverOfBounces(t *testing.T) {
	var b box
	var well atomic.Bool
	hangs := receiver(func(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		if well.Load() {
			return b.Receive(ctx, env, body)
		}
		<-ctx.Done()
		return sqmail.Receipt{}, ctx.Err()
	})
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		set := func(q *queue.Queue) { q.Bounces.Receiver = hangs }
		w := newWorld(t, store, always(rejected), set)
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w.Shutdown(ctx)
		<-w.done
		w = newWorld(t, store, discard, set)
		time.Sleep(time.Hour)
		b.want(t, 0)
		well.Store(true)
		time.Sleep(5 * time.Minute)
		w.wantEmpty()
		b.want(t, 1)
		w.stop()
	})
}

// When more attempts may run than before, more leases are held: attempts that
// take long do not keep new mail from being looked at.
func TestRaisedConcurrencyLeavesLeasesForOthers(t *testing.T) {
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if m.Route.Destination != "good.test" {
			sleep(ctx, time.Hour)
		}
		return outcomes(m, accepted)
	}
	inTime(t, deliver, nil, func(w *world) {
		synctest.Wait()
		w.SetConcurrency("remote", 1500)
		w.send(envelope("s@x.test", "first@good.test"), "x\n")
		synctest.Wait()
		for i := range 1500 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@d%d.test", i)), "x\n")
		}
		time.Sleep(time.Second)
		before := len(w.deliveries())
		w.send(envelope("s@x.test", "second@good.test"), "x\n")
		synctest.Wait()
		if n := len(w.deliveries()); before < 1240 || n != before+1 {
			t.Errorf("%d attempts, then %d", before, n)
		}
		time.Sleep(3 * time.Hour)
		w.wantEmpty()
	})
}
