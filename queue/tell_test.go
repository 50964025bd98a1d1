package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// told keeps what Queue.Outcome was told, a word for each call.
type told struct {
	mu  sync.Mutex
	all []string
}

func (o *told) outcome(e *queue.Entry, a queue.Attempt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, fmt.Sprintf("%v %s %d %s", e.ID, e.Envelope.Recipients[a.Recipient].Path.Local, a.Number, a.Status))
}

func (o *told) want(t *testing.T, want ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.Sort(o.all); !slices.Equal(o.all, want) {
		t.Errorf("told %q, want %q", o.all, want)
	}
}

// byName does what the local part of the recipient says.
func byName(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	o := map[string]sqmail.Outcome{"good": accepted, "bad": rejected, "later": greylist}[m.Envelope.Recipients[0].Path.Local]
	if o.Class == sqmail.Deferral && m.Attempt > 1 {
		o = accepted
	}
	return outcomes(m, o)
}

// Whoever is told of outcomes hears of each recipient's attempts, of what is
// never attempted, and of what an administrator removes; not of reports.
func TestOutcomeIsToldOfEveryRecipient(t *testing.T) {
	var o told
	refuse := routerFunc(func(to sqmail.Path) (sqmail.Routing, error) {
		if to.Local == "nowhere" {
			return sqmail.Routing{}, &sqmail.Error{Class: sqmail.Rejection}
		}
		return sqmail.Routing{Route: sqmail.Route{Channel: to.Local}, Deliver: to, Display: to}, nil
	})
	set := func(q *queue.Queue) {
		q.Outcome, q.Router = o.outcome, refuse
		q.Bounces.Receiver = new(box)
		q.Concurrency = map[string]int{"stopped": 0}
		q.Lifetime = 24 * time.Hour
	}
	inTime(t, byName, set, func(w *world) {
		w.send(envelope("s@x.test", "good@a.test", "bad@a.test", "later@a.test", "nowhere@a.test", "stopped@a.test"), "x\n")
		w.send(envelope("s@x.test", "stopped@b.test", "stopped@c.test"), "x\n")
		time.Sleep(time.Hour)
		if n, err := w.RemoveAll(w.t.Context(), queue.Selection{Recipient: sqmail.PathOf("stopped@b.test")}); n != 1 || err != nil {
			t.Errorf("removed %d, %v", n, err)
		}
		time.Sleep(24 * time.Hour)
		w.wantEmpty()
	})
	o.want(t, "1 bad 1 failed", "1 good 1 delivered", "1 later 1 pending", "1 later 2 delivered",
		"1 nowhere 1 failed", "1 stopped 1 failed", "2 stopped 1 failed", "2 stopped 1 removed")
}

// What is told is not recorded yet, so that no end of the process loses it;
// what the Store does not take is not told twice.
func TestOutcomeIsToldBeforeItIsRecorded(t *testing.T) {
	var o told
	var faults int
	fails := func() fault {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.all) > 0 && faults < 3 {
			faults++
			return before
		}
		return none
	}
	inTime(t, byName, func(q *queue.Queue) {
		q.Store = &failing{q.Store, fails}
		q.Outcome = o.outcome
	}, func(w *world) {
		w.send(envelope("s@x.test", "good@a.test"), "x\n")
		time.Sleep(time.Hour)
		w.wantEmpty()
	})
	if faults != 3 {
		t.Errorf("%d faults", faults)
	}
	o.want(t, "1 good 1 delivered")
}

// A function that panics holds up no message.
func TestPanicOfOutcomeIsNobodysTrouble(t *testing.T) {
	var log events
	inTime(t, byName, func(q *queue.Queue) {
		q.Outcome = func(*queue.Entry, queue.Attempt) { panic("oops") }
		q.Log = log.logger()
	}, func(w *world) {
		w.send(envelope("s@x.test", "good@a.test"), "x\n")
		w.wantEmpty()
	})
	log.want(t, "panic=oops")
}

// Wherever the process dies, each recipient's end is told at least once, and
// again only by the process that follows.
func TestNoDeathLosesAnOutcome(t *testing.T) {
	points, twice := 0, 0
	for _, when := range []fault{before, after} {
		for n := 1; ; n++ {
			ends, died := toldInLife(t, n, when)
			for _, end := range []string{"good delivered", "bad failed", "later delivered"} {
				if ends[end] < 1 || ends[end] > 2 || len(ends) != 3 {
					t.Errorf("death %d, %d: %v", n, when, ends)
				}
				twice += max(ends[end]-1, 0)
			}
			if !died {
				break
			}
			points++
		}
	}
	t.Logf("%d crash points, %d repetitions", points, twice)
	if points < 4 { // two for a record of the first attempts, two for the end
		t.Errorf("%d crash points", points)
	}
}

// toldInLife runs a message's life, in which the process dies at its n-th
// step, and counts what is told of the end of each recipient.
func toldInLife(t *testing.T, n int, when fault) (ends map[string]int, died bool) {
	ends = make(map[string]int)
	var mu sync.Mutex
	tell := func(e *queue.Entry, a queue.Attempt) {
		mu.Lock()
		defer mu.Unlock()
		if a.Status != queue.Pending {
			ends[e.Envelope.Recipients[a.Recipient].Path.Local+" "+a.Status.String()]++
		}
	}
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		dying := &mortal{Store: store, left: n, when: when}
		alive := func() bool {
			dying.mu.Lock()
			defer dying.mu.Unlock()
			return !dying.dead
		}
		first := newWorld(t, store, byName, func(q *queue.Queue) {
			q.Store, q.Bounces.Receiver = dying, new(box)
			q.Outcome = func(e *queue.Entry, a queue.Attempt) {
				if alive() { // else there is nobody who could tell
					tell(e, a)
				}
			}
		})
		sender := queue.Queue{Store: store}
		(&world{Queue: &sender, t: t}).send(envelope("s@x.test", "good@a.test", "bad@b.test", "later@c.test"), "x\n")
		time.Sleep(time.Hour)
		died = !alive()
		dying.kill()
		first.Shutdown(context.Background())
		<-first.done
		time.Sleep(5 * time.Minute) // leases run out
		second := newWorld(t, store, byName, func(q *queue.Queue) {
			q.Outcome, q.Bounces.Receiver = tell, new(box)
		})
		time.Sleep(24 * time.Hour)
		second.wantEmpty()
		second.stop()
	})
	return ends, died
}
