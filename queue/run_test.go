package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

func TestShutdownWaitsForRunningAttempts(t *testing.T) {
	s := &slow{took: time.Minute, outcome: accepted}
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		w := newWorld(t, store, s.Deliver, noneSilent)
		for i := range 100 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@d%d.test", i)), "x\n")
		}
		time.Sleep(time.Second)
		began := time.Now()
		w.stop()
		if d := time.Since(began); d != 59*time.Second {
			t.Errorf("Shutdown took %v", d)
		}
		if n := len(w.deliveries()); n != 18 {
			t.Errorf("%d attempts, want the 18 that were running", n)
		}
		// The rest is due as it was, and the next Queue finds it.
		next := newWorld(t, store, discard, nil)
		next.wantEmpty()
		next.stop()
		if n := len(next.deliveries()); n != 82 {
			t.Errorf("%d attempts afterwards, want 82", n)
		}
	})
}

func TestShutdownCancelsWhatTakesTooLong(t *testing.T) {
	tests := []struct {
		name    string
		deliver queue.DelivererFunc
		took    time.Duration
	}{
		{"heeds its context", func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 5 * time.Second},
		{"does not", func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			time.Sleep(time.Hour)
			return outcomes(m, accepted)
		}, 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore()
				w := newWorld(t, store, tt.deliver, nil)
				w.send(envelope("s@x.test", "a@b.test"), "x\n")
				time.Sleep(time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				if err := w.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Shutdown: %v", err)
				}
				if d := time.Since(began); d != tt.took {
					t.Errorf("Shutdown took %v, want %v", d, tt.took)
				}
				if err := <-w.done; err != nil {
					t.Errorf("Run: %v", err)
				}
				e := w.entries()[0]
				if s := e.States()[0]; s.Status != queue.Pending || s.Attempts != 1 || e.Leased {
					t.Errorf("afterwards: %+v, %+v", e, s)
				}
				// A destination is not blamed for that.
				if d := w.Destinations()[0]; d.Failures != 0 {
					t.Errorf("destination: %+v", d)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// Nothing was cut off when no attempt runs, or when those that run come to
// their end nevertheless, however little time there is.
func TestShutdownFailsOnlyWhenDeliveriesAreCutOff(t *testing.T) {
	tests := []struct {
		name    string
		deliver queue.DelivererFunc
		send    bool
		fails   bool
	}{
		{"nothing queued", discard, false, false},
		{"nothing runs", always(greylist), true, false},
		{"one comes to its end", func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			<-ctx.Done()
			return outcomes(m, accepted)
		}, true, false},
		{"one is cut off", func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			<-ctx.Done()
			return outcomes(m, noAnswer)
		}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, newStore(), tt.deliver, nil)
				if tt.send {
					w.send(envelope("s@x.test", "a@b.test"), "x\n")
				}
				synctest.Wait()
				now, cancel := context.WithCancel(t.Context())
				cancel()
				if err := w.Shutdown(now); (err != nil) != tt.fails {
					t.Errorf("Shutdown: %v", err)
				}
				if err := <-w.done; err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		sleep(ctx, time.Hour)
		return nil, ctx.Err()
	}
	tests := []struct {
		name     string
		shutdown time.Duration // 0: nobody calls it
		took     time.Duration
	}{
		{"alone", 0, 30 * time.Second},
		{"shorter", 10 * time.Second, 10 * time.Second},
		{"longer", 5 * time.Minute, 5 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &queue.Queue{Store: newStore(), Deliverer: queue.DelivererFunc(deliver)}
				w := &world{Queue: q, t: t}
				w.send(envelope("s@x.test", "a@b.test"), "x\n")
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- q.Run(ctx) }()
				time.Sleep(time.Second)
				cancel()
				began := time.Now()
				if tt.shutdown > 0 {
					limit, cancel := context.WithTimeout(t.Context(), tt.shutdown)
					defer cancel()
					go q.Shutdown(limit)
				}
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("Run: %v", err)
				}
				if d := time.Since(began); d != tt.took {
					t.Errorf("Run took %v more, want %v", d, tt.took)
				}
			})
		})
	}
}

func TestShutdownWithoutRun(t *testing.T) {
	q := &queue.Queue{Store: newStore(), Deliverer: queue.DelivererFunc(discard)}
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := q.Run(t.Context()); err != nil { // it is stopped already
		t.Error(err)
	}
	if q.Run(t.Context()) == nil {
		t.Error("Run succeeded twice")
	}
}

// What waits for a slot or for its time when the Queue stops is due then when
// it would have been.
func TestRestartKeepsDueTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		w := newWorld(t, store, always(greylist), nil)
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		time.Sleep(1700 * time.Second)
		w.stop()
		time.Sleep(300 * time.Second)
		next := newWorld(t, store, always(greylist), nil)
		time.Sleep(time.Hour)
		next.stop()
		var ages []int
		for _, c := range next.deliveries() {
			ages = append(ages, int((c.at + 2000*time.Second).Seconds()))
		}
		if want := []int{3600}; !slices.Equal(ages, want) {
			t.Errorf("attempts at %v, want %v", ages, want)
		}
	})
}

// A store that fails makes the Queue wait, and nothing else.
func TestStoreThatFailsToLease(t *testing.T) {
	var log events
	synctest.Test(t, func(t *testing.T) {
		store := &leaseTrouble{Store: newStore(), until: time.Now().Add(time.Hour)}
		q := &queue.Queue{Store: store, Deliverer: queue.DelivererFunc(discard), Log: log.logger()}
		w := &world{Queue: q, t: t}
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		go q.Run(context.Background())
		time.Sleep(time.Hour + time.Minute)
		if s := q.Stats(); s.Leased+s.Fresh+s.Deferred != 0 {
			t.Errorf("still queued: %+v", s)
		}
		if store.calls > 100 {
			t.Errorf("%d calls of a store that fails", store.calls)
		}
		q.Shutdown(t.Context())
	})
	log.want(t, `msg="trouble leasing" err="something broke"`)
}

type leaseTrouble struct {
	queue.Store
	until time.Time
	calls int
}

func (s *leaseTrouble) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	s.calls++
	if time.Now().Before(s.until) {
		return nil, errPlain
	}
	return s.Store.Lease(ctx, ttl)
}
