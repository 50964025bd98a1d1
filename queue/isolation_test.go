package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// hostile is a network with good hosts, one tarpit and many dead hosts.
type hostile struct{ arrivals sync.Map }

func (h *hostile) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	switch d := m.Route.Destination; {
	case d == "tarpit.test": // it answers every ten seconds
		for range 60 {
			sleep(ctx, 10*time.Second)
			m.Progress()
		}
		return outcomes(m, accepted)
	case strings.HasPrefix(d, "dead"):
		sleep(ctx, time.Minute)
		return outcomes(m, noAnswer)
	}
	h.arrivals.Store(m.Envelope.Recipients[0].Path.String(), time.Now())
	return outcomes(m, accepted)
}

// sendGood sends a message that must arrive within 200 ms.
func (h *hostile) sendGood(w *world, from, to string) {
	w.t.Helper()
	sent := time.Now()
	w.send(envelope(from, to), "x\n")
	time.Sleep(200 * time.Millisecond)
	synctest.Wait()
	at, ok := h.arrivals.Load(to)
	if !ok {
		w.t.Errorf("%s: sent after %v, not delivered in 200 ms; %+v", to, sent.Sub(w.start), w.Channels())
		return
	}
	w.t.Logf("%s: sent after %v, delivered %v later", to, sent.Sub(w.start), at.(time.Time).Sub(sent))
}

// A good message goes out at once, whatever waits for slow and dead hosts,
// with no setting changed: to a destination that had mail before, and to one
// that nothing is known of, from the sender of all the rest and from another.
func TestSlowAndDeadDestinationsHoldUpNoOther(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("known=%v", known), func(t *testing.T) {
			h := &hostile{}
			inTime(t, h.Deliver, func(q *queue.Queue) { q.AttemptTimeout = 15 * time.Minute }, func(w *world) {
				if known {
					w.send(envelope("s@x.test", "first@good.test"), "x\n")
					synctest.Wait()
				}
				for i := range 1000 {
					w.send(envelope("s@x.test", fmt.Sprintf("r@dead%d.test", i)), "x\n")
				}
				for range 100_000 {
					w.send(envelope("s@x.test", "r@tarpit.test"), "x\n")
				}
				for i, wait := range []time.Duration{0, time.Second, 30 * time.Second, 30 * time.Second, 4 * time.Minute, 70 * time.Minute} {
					time.Sleep(wait)
					to := fmt.Sprintf("r%d@good.test", i)
					if !known {
						to = fmt.Sprintf("r@good%d.test", i)
					}
					h.sendGood(w, "s@x.test", to)
					h.sendGood(w, "t@y.test", "t"+to+"2")
				}
				for _, c := range w.Channels() {
					if c.Running+c.Silent > 200 {
						t.Errorf("more than 200 attempts: %+v", c)
					}
				}
				if _, err := w.RemoveAll(w.t.Context(), queue.Selection{All: true}); err != nil {
					t.Error(err)
				}
				w.wantEmpty()
			})
		})
	}
}

// New dead destinations that come all the time, ten times more than can hang
// at once, do not keep another sender's mail waiting for a second.
func TestFloodOfDeadDestinationsIsOneSendersTrouble(t *testing.T) {
	h := &hostile{}
	inTime(t, h.Deliver, nil, func(w *world) {
		for i := range 3000 {
			w.send(envelope("flood@x.test", fmt.Sprintf("r@dead%d.test", i)), "x\n")
			time.Sleep(30 * time.Millisecond)
			if i%300 != 299 {
				continue
			}
			to := fmt.Sprintf("r@good%d.test", i)
			sent := time.Now()
			w.send(envelope("t@y.test", to), "x\n")
			time.Sleep(time.Second)
			synctest.Wait()
			if at, ok := h.arrivals.Load(to); !ok {
				t.Errorf("sent after %v, not delivered in a second; %+v", sent.Sub(w.start), w.Channels())
			} else {
				t.Logf("sent after %v, delivered %v later", sent.Sub(w.start), at.(time.Time).Sub(sent))
			}
		}
		if _, err := w.RemoveAll(w.t.Context(), queue.Selection{All: true}); err != nil {
			t.Error(err)
		}
	})
}

// Nor do those that many senders write to, each to another, keep mail waiting
// for a destination that has answered before.
func TestFloodFromManySendersLeavesKnownDestinationsAlone(t *testing.T) {
	h := &hostile{}
	inTime(t, h.Deliver, nil, func(w *world) {
		w.send(envelope("t@y.test", "first@good.test"), "x\n")
		synctest.Wait()
		for i := range 3000 {
			w.send(envelope(fmt.Sprintf("u%d@x.test", i), fmt.Sprintf("r@dead%d.test", i)), "x\n")
			time.Sleep(30 * time.Millisecond)
			if i%300 == 299 {
				h.sendGood(w, fmt.Sprintf("t%d@y.test", i), fmt.Sprintf("r%d@good.test", i))
			}
		}
		if _, err := w.RemoveAll(w.t.Context(), queue.Selection{All: true}); err != nil {
			t.Error(err)
		}
	})
}

// One sender writes to a thousand destinations that all work; another's one
// message is next when a slot is free.
func TestSendersTakeTurnsAcrossDestinations(t *testing.T) {
	s := &slow{took: time.Second, outcome: accepted}
	inTime(t, s.Deliver, func(q *queue.Queue) {
		noneSilent(q)
		q.Concurrency = map[string]int{"remote": 1}
	}, func(w *world) {
		for i := range 1000 {
			w.send(envelope("list@x.test", fmt.Sprintf("r@d%d.test", i)), "x\n")
		}
		time.Sleep(1500 * time.Millisecond)
		for i := range 3 {
			w.send(envelope("joe@x.test", fmt.Sprintf("r@joe%d.test", i)), "x\n")
		}
		time.Sleep(6 * time.Second)
		joes := slices.DeleteFunc(w.deliveries(), func(c call) bool { return c.from != "joe@x.test" })
		if len(joes) != 3 {
			t.Errorf("%d of joe's 3 messages went out in six turns", len(joes))
		}
	})
}

// Attempts whose next hop is heard count for Concurrency; silent ones do not,
// but they are bounded, too.
func TestSilentAttemptsMakeRoomUntilTheyAreHeard(t *testing.T) {
	var speak chan struct{} // made in the bubble
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		<-speak
		for range 100 {
			m.Progress()
			sleep(ctx, 40*time.Millisecond)
		}
		return outcomes(m, accepted)
	}
	inTime(t, deliver, func(q *queue.Queue) {
		speak = make(chan struct{})
		q.Concurrency, q.Silent = map[string]int{"remote": 2}, map[string]int{"remote": 8}
	}, func(w *world) {
		for i := range 100 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@d%d.test", i)), "x\n")
		}
		want := func(when string, running, silent int) {
			t.Helper()
			synctest.Wait()
			if c := w.Channels()[0]; c.Running != running || c.Silent != silent {
				t.Errorf("%s: %+v, want %d and %d silent", when, c, running, silent)
			}
		}
		want("at first", 2, 0)
		time.Sleep(time.Second)
		want("all hang", 0, 6) // four places are kept for new mail
		close(speak)
		want("all speak", 6, 0)
		time.Sleep(3 * time.Second)
		want("no more start", 6, 0)
		time.Sleep(1100 * time.Millisecond)
		want("as many as may", 2, 0)
		time.Sleep(10 * time.Minute)
		w.wantEmpty()
	})
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
