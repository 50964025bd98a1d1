package queue_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// slowly is a store whose commits take a while.
type slowly struct{ queue.Store }

type slowDraft struct{ queue.Draft }

func (s slowly) Begin(ctx context.Context) (queue.Draft, error) {
	d, err := s.Store.Begin(ctx)
	return slowDraft{d}, err
}

func (d slowDraft) Commit(ctx context.Context, s queue.Submission) (queue.ID, error) {
	time.Sleep(5 * time.Millisecond)
	return d.Draft.Commit(ctx, s)
}

// rush has clients send mail, each one message after the other, for so long,
// and returns when deliveries on the local and on the remote channel began.
func rush(t *testing.T, clients int, howLong time.Duration) (local, remote []time.Duration) {
	var mu sync.Mutex
	start := time.Now()
	q := &queue.Queue{
		Store: slowly{&memstore.Store{}},
		Router: routerFunc(func(to sqmail.Path) (sqmail.Routing, error) {
			return sqmail.Routing{Route: sqmail.Route{Channel: to.Local, Destination: to.Domain}, Deliver: to, Display: to}, nil
		}),
		Deliverer: queue.DelivererFunc(func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			if m.Route.Channel == sqmail.ChannelLocal {
				local = append(local, time.Since(start))
			} else {
				remote = append(remote, time.Since(start))
			}
			return []sqmail.Outcome{{Class: sqmail.Accepted}}, nil
		}),
	}
	done := make(chan error, 1)
	go func() { done <- q.Run(context.Background()) }()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			to := sqmail.Path{Local: []string{sqmail.ChannelLocal, sqmail.ChannelRemote}[i%2], Domain: "example.org"}
			for time.Since(start) < howLong {
				env := &sqmail.Envelope{Recipients: []sqmail.Recipient{{Path: to}}}
				if _, err := q.Receive(t.Context(), env, strings.NewReader("x\n")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(3 * time.Second) // for what was put off
	if err := q.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	return local, remote
}

// longestGap is the longest time without a delivery.
func longestGap(at []time.Duration) (gap time.Duration) {
	slices.Sort(at)
	for i := range len(at) - 1 {
		gap = max(gap, at[i+1]-at[i])
	}
	return gap
}

func TestLocalDeliveriesWaitInARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, remote := rush(t, 8, 10*time.Second)
		if len(local) != 8000 || len(remote) != 8000 {
			t.Errorf("%d and %d deliveries, want 8000 each", len(local), len(remote))
		}
		if gap := longestGap(local); gap < 1900*time.Millisecond || gap > 2100*time.Millisecond {
			t.Errorf("no local delivery for %v, want 2 s", gap)
		}
		if gap := longestGap(remote); gap > 20*time.Millisecond {
			t.Errorf("no remote delivery for %v", gap)
		}
		working := 0 // tenths of seconds with local deliveries
		for tenth := range 100 {
			from := time.Duration(tenth) * 100 * time.Millisecond
			if slices.ContainsFunc(local, func(at time.Duration) bool { return from <= at && at < from+100*time.Millisecond }) {
				working++
			}
		}
		if working < 38 {
			t.Errorf("local deliveries in %d tenths of a second of 100, want about half", working)
		}
	})
}

func TestRushEndsWithItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, _ := rush(t, 8, 500*time.Millisecond)
		if last := slices.Max(local); last > 550*time.Millisecond {
			t.Errorf("the last delivery came at %v", last)
		}
	})
}

func TestFewClientsAreNoRush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, _ := rush(t, 3, 5*time.Second)
		if gap := longestGap(local); gap > 20*time.Millisecond {
			t.Errorf("no local delivery for %v", gap)
		}
	})
}
