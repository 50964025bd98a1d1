package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// ledger counts what became of each recipient. Addresses are not used twice.
type ledger struct {
	mu        sync.Mutex
	sent      []string
	delivered map[string]int
	bounces   box
}

var bounced = regexp.MustCompile(`(?m)^<(.*)>:$`)

// check wants exactly one outcome for each recipient.
func (l *ledger) check(t *rapid.T) {
	ends := make(map[string]int)
	for to, n := range l.delivered {
		ends[to] += n
	}
	for _, text := range l.bounces.messages() {
		report, _, _ := strings.Cut(text, "--- Below")
		for _, m := range bounced.FindAllStringSubmatch(report, -1) {
			ends[m[1]]++
		}
	}
	for _, to := range l.sent {
		if ends[to] != 1 {
			t.Errorf("%s: %d outcomes (%d delivered), want 1", to, ends[to], l.delivered[to])
		}
	}
	if len(ends) != len(l.sent) {
		t.Errorf("outcomes for %d recipients of %d", len(ends), len(l.sent))
	}
}

// deliverer answers by draw, as agents do when they are well, ill, or mad.
func (l *ledger) deliverer(draw func(n int) int) queue.DelivererFunc {
	return func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		kind, wait := draw(12), draw(200)
		var all []sqmail.Outcome
		for i := range m.Envelope.Recipients {
			o := []sqmail.Outcome{accepted, accepted, rejected, greylist, noAnswer}[draw(5)]
			o.Recipient = i
			if draw(10) > 0 || o.Class == sqmail.Accepted {
				all = append(all, o)
			}
		}
		sleep(ctx, time.Duration(wait)*time.Second)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case kind == 0:
			panic("deliverer")
		case kind == 1:
			return nil, errPlain
		case kind == 2:
			all = append(all, sqmail.Outcome{Recipient: -1}, sqmail.Outcome{Recipient: 99, Class: sqmail.Accepted})
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, o := range all {
			if o.Class == sqmail.Accepted && o.Recipient < len(m.Envelope.Recipients) {
				l.delivered[m.Envelope.Recipients[o.Recipient].Path.String()]++
			}
		}
		return all, nil
	}
}

// send sends a message with up to four recipients in up to three places.
func (l *ledger) send(w *world, draw func(n int) int) {
	env := envelope(fmt.Sprintf("s%d@x.test", draw(3)))
	for range 1 + draw(4) {
		to := fmt.Sprintf("r%d@d%d.test", len(l.sent), draw(3))
		l.sent = append(l.sent, to)
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(to)})
	}
	w.send(env, "x\n")
}

func (l *ledger) settings(q *queue.Queue) {
	q.Bounces.Receiver = &l.bounces
	q.Lifetime = 12 * time.Hour
	q.Concurrency = map[string]int{"remote": 3}
	q.AttemptTimeout = 3 * time.Minute
}

// drawer returns random numbers below n. They are used by many goroutines, so
// rapid gives only the seed.
func drawer(t *rapid.T) func(n int) int {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	var mu sync.Mutex
	return func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
}

// Whatever agents answer, and however often the Queue is stopped, gently or
// not, each recipient ends once.
func TestEveryRecipientEndsOnceAcrossRestarts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{delivered: make(map[string]int)}
			draw, store := drawer(rt), newStore()
			for range 1 + draw(4) {
				w := newWorld(t, store, l.deliverer(draw), l.settings)
				for range draw(8) {
					l.send(w, draw)
					time.Sleep(time.Duration(draw(2000)) * time.Second)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+draw(100))*time.Second)
				w.Shutdown(ctx)
				cancel()
				<-w.done
			}
			w := newWorld(t, store, l.deliverer(draw), l.settings)
			time.Sleep(12*time.Hour + time.Minute)
			w.wantEmpty()
			w.stop()
			l.check(rt)
		})
	})
}

// The same with a Store that fails every third time, before or after it did
// what it was asked to do.
func TestEveryRecipientEndsOnceOnAFailingStore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{delivered: make(map[string]int)}
			draw, store := drawer(rt), newStore()
			fails := func() fault {
				return []fault{none, none, none, none, before, after}[draw(6)]
			}
			w := newWorld(t, store, l.deliverer(draw), func(q *queue.Queue) {
				l.settings(q)
				q.Store = &failing{Store: store, fails: fails}
			})
			for range 1 + draw(12) {
				l.sendDirect(t, store, draw)
				time.Sleep(time.Duration(draw(2000)) * time.Second)
			}
			time.Sleep(13 * time.Hour)
			w.wantEmpty()
			w.wantNothingRemembered()
			w.stop()
			l.check(rt)
		})
	})
}

// sendDirect puts a message into the store without its wrapper.
func (l *ledger) sendDirect(t *testing.T, store queue.Store, draw func(n int) int) {
	q := queue.Queue{Store: store}
	l.send(&world{Queue: &q, t: t}, draw)
}

type fault int

const (
	none fault = iota
	before
	after
)

var errFault = errors.New("the disk is on fire")

// failing is a Store whose leases fail.
type failing struct {
	queue.Store
	fails func() fault
}

func (s *failing) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	if s.fails() == before {
		return nil, errFault
	}
	l, err := s.Store.Lease(ctx, ttl)
	if err != nil {
		return nil, err
	}
	return &failingLease{l, s.fails}, nil
}

type failingLease struct {
	queue.Lease
	fails func() fault
}

// try does do, with a fault or without one. What ends the lease ends it even
// if it fails.
func (l *failingLease) try(do func() error, ends bool) error {
	f := l.fails()
	if f == before {
		if ends {
			l.Lease.Retry(context.Background(), nil, time.Time{})
		}
		return errFault
	}
	if err := do(); err != nil || f == none {
		return err
	}
	return errFault
}

func (l *failingLease) Checkpoint(ctx context.Context, a []queue.Attempt) error {
	return l.try(func() error { return l.Lease.Checkpoint(ctx, a) }, false)
}

func (l *failingLease) Retry(ctx context.Context, a []queue.Attempt, at time.Time) error {
	return l.try(func() error { return l.Lease.Retry(ctx, a, at) }, true)
}

func (l *failingLease) Done(ctx context.Context, a []queue.Attempt) error {
	return l.try(func() error { return l.Lease.Done(ctx, a) }, true)
}

func (l *failingLease) Park(key string, until time.Time) error {
	return l.try(func() error { return l.Lease.Park(key, until) }, true)
}

func (l *failingLease) Extend(ttl time.Duration) error {
	return l.try(func() error { return l.Lease.Extend(ttl) }, false)
}
