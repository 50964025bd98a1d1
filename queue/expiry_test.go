package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// bouncing sets a queue up to collect its bounces in b.
func bouncing(b *box) func(*queue.Queue) {
	return func(q *queue.Queue) { q.Bounces.Receiver = b }
}

func TestLastAttemptIsAtTheEndOfTheLifetime(t *testing.T) {
	var b box
	inTime(t, always(greylist), bouncing(&b), func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(7*24*time.Hour - time.Second)
		if n := len(w.entries()); n != 1 {
			t.Fatalf("%d messages before the end", n)
		}
		time.Sleep(2 * time.Second)
		w.wantEmpty()
		calls := w.deliveries()
		if last := calls[len(calls)-1]; last.at != 7*24*time.Hour || last.attempt != len(calls) {
			t.Errorf("last attempt: %+v of %d", last, len(calls))
		}
		b.want(t, 1)
		const text = "<a@b.test>:\ncome back\nI'm not going to try again; this message has been in the queue too long.\n\n"
		if !strings.Contains(b.messages()[0], text) {
			t.Errorf("bounce:\n%s", b.messages()[0])
		}
	})
}

// A message that is waiting for a destination when its time is up fails
// without an attempt: nothing keeps it longer.
func TestNoMessageOutlivesItsLifetimeByMoreThanAMinute(t *testing.T) {
	tests := []struct {
		name    string
		deliver queue.DelivererFunc
		set     func(*queue.Queue)
	}{
		{"deferred", always(greylist), nil},
		{"dead", always(noAnswer), nil},
		{"the channel is stopped", discard, func(q *queue.Queue) { q.Concurrency = map[string]int{"remote": 0} }},
		{"parked for a rate", always(greylist), func(q *queue.Queue) {
			q.Limits = func(string, string) queue.Limits { return queue.Limits{Rate: 1e-9} }
		}},
		{"parked for a full destination", func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			sleep(ctx, 7*time.Hour)
			return outcomes(m, greylist)
		}, func(q *queue.Queue) {
			q.Limits = func(string, string) queue.Limits { return queue.Limits{Concurrency: 1} }
		}},
		{"not routed", discard, func(q *queue.Queue) { q.Router = broken{} }},
		{"tarpit", func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			sleep(ctx, 3*time.Hour)
			return nil, ctx.Err()
		}, nil},
		{"never returns", func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			time.Sleep(8 * time.Hour)
			return nil, nil
		}, nil},
		{"panics", func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) { panic("oh") }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b box
			inTime(t, tt.deliver, func(q *queue.Queue) {
				q.Bounces.Receiver, q.Lifetime = &b, 6*time.Hour
				if tt.set != nil {
					tt.set(q)
				}
			}, func(w *world) {
				const n = 60
				for i := range n {
					w.send(envelope("s@x.test", fmt.Sprintf("r%d@b.test", i), fmt.Sprintf("r@b%d.test", i)), "x\n")
				}
				time.Sleep(6*time.Hour - time.Second)
				if got := len(w.entries()); got != n {
					t.Errorf("%d messages before the end, want %d", got, n)
				}
				time.Sleep(time.Minute + time.Second)
				w.wantEmpty()
				b.want(t, n)
				time.Sleep(9 * time.Hour) // those that never return do
			})
		})
	}
}

// broken is a Router that always fails.
type broken struct{}

func (broken) Route(context.Context, *sqmail.Envelope, sqmail.Path) (sqmail.Routing, error) {
	return sqmail.Routing{}, errPlain
}

// A message that another process has leased when its time is up, and does not
// give back, is settled when that lease has run out.
func TestStuckLeaseDoesNotKeepAMessage(t *testing.T) {
	const ttl = 3 * time.Minute
	var b box
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		sender := &world{Queue: &queue.Queue{Store: store}, t: t}
		sender.send(envelope("s@x.test", "a@b.test"), "x\n")
		if _, err := store.Lease(t.Context(), ttl); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, store, always(greylist), func(q *queue.Queue) {
			q.Bounces.Receiver, q.Lifetime = &b, time.Minute
		})
		time.Sleep(ttl - time.Second)
		b.want(t, 0)
		time.Sleep(2 * time.Second)
		w.wantEmpty()
		b.want(t, 1)
		w.stop()
	})
}

// One that is held while it waits for a slot, or while its attempt runs, is
// kept until it is released; then its time is up at once.
func TestHeldMessagesExpireWhenReleased(t *testing.T) {
	var b box
	s := &slow{took: time.Hour, outcome: greylist}
	inTime(t, s.Deliver, func(q *queue.Queue) {
		q.Bounces.Receiver, q.Lifetime = &b, 2*time.Hour
	}, func(w *world) {
		for range 2 { // one runs, one is parked
			id := w.send(envelope("s@x.test", "a@b.test"), "x\n")
			synctest.Wait()
			if err := w.Hold(w.t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Hour)
		b.want(t, 0)
		if n, err := w.ReleaseAll(w.t.Context(), queue.Selection{All: true}); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(time.Minute)
		b.want(t, 2)
		w.wantEmpty()
	})
}

func TestHeldMessagesDoNotExpireUntilReleased(t *testing.T) {
	var b box
	inTime(t, always(greylist), bouncing(&b), func(w *world) {
		id := w.send(envelope("s@x.test", "a@b.test"), "x\n")
		synctest.Wait()
		if err := w.Hold(w.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * 24 * time.Hour)
		if len(w.entries()) != 1 || len(w.deliveries()) != 1 {
			t.Fatalf("%d messages, %d attempts", len(w.entries()), len(w.deliveries()))
		}
		if err := w.Release(w.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.wantEmpty()
		b.want(t, 1)
		if n := len(w.deliveries()); n != 2 {
			t.Errorf("%d attempts, want a last one", n)
		}
	})
}

// A week in the life of a queue: slow hosts, dead hosts, greylisting, full
// mailboxes, a restart every day.
func TestAWeek(t *testing.T) {
	began := time.Now()
	var b box
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		store := newStore()
		var mu sync.Mutex
		settled := make(map[string]int)
		deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			d := m.Route.Destination
			sleep(ctx, time.Duration(len(d))*time.Second)
			switch {
			case strings.HasPrefix(d, "dead"):
				return outcomes(m, noAnswer)
			case strings.HasPrefix(d, "grey") && m.Attempt < 3:
				return outcomes(m, greylist)
			case strings.HasPrefix(d, "bad"):
				return outcomes(m, rejected)
			}
			mu.Lock()
			defer mu.Unlock()
			settled[m.ID]++
			return outcomes(m, accepted)
		}
		const perDay = 300
		for day := range 7 {
			w := newWorld(t, store, deliver, bouncing(&b))
			for range perDay {
				kind := []string{"good", "good", "good", "grey", "dead", "bad"}[r.IntN(6)]
				w.send(envelope("s@x.test", fmt.Sprintf("r@%s%d.test", kind, r.IntN(20))), "x\n")
				time.Sleep(24 * time.Hour / perDay)
			}
			w.stop()
			t.Logf("day %d: %+v, %d bounces", day+1, store.Stats(), len(b.messages()))
		}
		w := newWorld(t, store, deliver, bouncing(&b))
		time.Sleep(7*24*time.Hour + time.Minute)
		w.wantEmpty()
		w.stop()
		if got := len(settled) + len(b.messages()); got != 7*perDay {
			t.Errorf("%d messages settled, want %d", got, 7*perDay)
		}
		for id, n := range settled {
			if n != 1 {
				t.Errorf("message %s delivered %d times", id, n)
			}
		}
	})
	t.Logf("two weeks in %v", time.Since(began))
}
