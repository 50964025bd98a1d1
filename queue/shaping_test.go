package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// slow takes a time for each attempt, and records how many run at a time.
type slow struct {
	took    time.Duration
	outcome sqmail.Outcome

	mu          sync.Mutex
	running     map[string]int // by destination; "" is all
	mostRunning map[string]int
}

func (s *slow) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	s.count(m.Route.Destination, 1)
	sleep(ctx, s.took)
	s.count(m.Route.Destination, -1)
	s.mu.Lock()
	defer s.mu.Unlock()
	return outcomes(m, s.outcome)
}

func (s *slow) count(d string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running, s.mostRunning = make(map[string]int), make(map[string]int)
	}
	for _, key := range []string{d, ""} {
		s.running[key] += n
		s.mostRunning[key] = max(s.mostRunning[key], s.running[key])
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	tests := []struct {
		name         string
		destinations int
		concurrency  map[string]int
		limits       queue.Limits
		want, each   int
	}{
		// 20, of which the last fifth is for destinations that have none: the
		// first attempt at this one was of that kind.
		{"default, one destination", 1, nil, queue.Limits{SlowStart: -1}, 17, 17},
		{"default, many", 100, nil, queue.Limits{}, 20, 5},
		{"own number", 100, map[string]int{"remote": 7}, queue.Limits{}, 7, 5},
		{"one", 3, map[string]int{"remote": 1}, queue.Limits{}, 1, 1},
		{"more than the channel", 1, map[string]int{"remote": 2}, queue.Limits{Concurrency: 3, SlowStart: -1}, 2, 2},
		{"destination's limit", 1, nil, queue.Limits{Concurrency: 3}, 3, 3},
		{"stopped", 3, map[string]int{"remote": 0}, queue.Limits{}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &slow{took: time.Second, outcome: accepted}
			inTime(t, s.Deliver, func(q *queue.Queue) {
				noneSilent(q)
				q.Concurrency, q.Limits = tt.concurrency, func(string, string) queue.Limits { return tt.limits }
			}, func(w *world) {
				for i := range 300 {
					w.send(envelope("s@x.test", fmt.Sprintf("r@d%d.test", i%tt.destinations)), "x\n")
				}
				time.Sleep(10 * time.Minute)
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.mostRunning[""] != tt.want || s.mostRunning["d0.test"] > tt.each {
					t.Errorf("%d ran at a time, %d for one; want %d and %d", s.mostRunning[""], s.mostRunning["d0.test"], tt.want, tt.each)
				}
				if tt.want > 0 {
					w.wantEmpty()
				}
			})
		})
	}
}

// noneSilent has all attempts count for Concurrency.
func noneSilent(q *queue.Queue) { q.Silent = map[string]int{"remote": 0} }

func TestConcurrencyMayChange(t *testing.T) {
	s := &slow{took: time.Hour, outcome: accepted}
	inTime(t, s.Deliver, func(q *queue.Queue) {
		noneSilent(q)
		q.Concurrency = map[string]int{"remote": 0}
	}, func(w *world) {
		for i := range 100 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@d%d.test", i)), "x\n")
		}
		for _, n := range []int{0, 3, 50, 10} {
			w.SetConcurrency("remote", n)
			time.Sleep(59 * time.Minute)
			t.Logf("%d: %+v", n, w.Channels())
		}
		s.mu.Lock()
		most := s.mostRunning[""]
		s.mu.Unlock()
		if most != 42 { // of 50, 8 are kept for destinations that work, and new mail
			t.Errorf("%d ran at a time, want 42", most)
		}
		time.Sleep(24 * time.Hour)
		w.wantEmpty()
	})
}

func TestRateIsKept(t *testing.T) {
	inTime(t, discard, func(q *queue.Queue) {
		q.Limits = func(channel, destination string) queue.Limits {
			if destination == "slow.test" {
				return queue.Limits{Rate: 0.5, Burst: 4}
			}
			return queue.Limits{}
		}
	}, func(w *world) {
		for i := range 10 {
			w.send(envelope("s@x.test", fmt.Sprintf("r%d@slow.test", i)), "x\n")
			w.send(envelope("s@x.test", fmt.Sprintf("r%d@fast.test", i)), "x\n")
		}
		time.Sleep(time.Minute)
		w.wantEmpty()
		var slow []int
		for _, c := range w.deliveries() {
			if c.route.Destination == "slow.test" {
				slow = append(slow, int(c.at.Round(time.Second)/time.Second))
			} else if c.at != 0 {
				t.Errorf("the fast one waited %v", c.at)
			}
		}
		if want := []int{0, 0, 0, 0, 2, 4, 6, 8, 10, 12}; !slices.Equal(slow, want) {
			t.Errorf("attempts after %v, want %v", slow, want)
		}
	})
}

// Two senders, one with a thousand messages: the other's go out every other
// time.
func TestAccountsTakeTurns(t *testing.T) {
	s := &slow{took: time.Second, outcome: accepted}
	inTime(t, s.Deliver, func(q *queue.Queue) { q.Concurrency = map[string]int{"remote": 1} }, func(w *world) {
		for i := range 1000 {
			w.send(envelope(fmt.Sprintf("news-%d@x.test", i), "r@b.test"), "x\n")
		}
		synctest.Wait()
		for range 5 {
			w.send(envelope("joe@x.test", "r@b.test"), "x\n")
		}
		time.Sleep(15 * time.Second)
		joe := 0
		for _, c := range w.deliveries() {
			if c.from == "joe@x.test" {
				joe++
			}
		}
		if joe != 5 {
			t.Errorf("%d of joe's 5 messages in 15 seconds", joe)
		}
		time.Sleep(time.Hour)
		w.wantEmpty()
	})
}

func TestDestinationsTakeTurns(t *testing.T) {
	s := &slow{took: time.Second, outcome: accepted}
	inTime(t, s.Deliver, func(q *queue.Queue) { q.Concurrency = map[string]int{"remote": 1} }, func(w *world) {
		for range 1000 {
			w.send(envelope("s@x.test", "r@many.test"), "x\n")
		}
		synctest.Wait()
		for i := range 10 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@few%d.test", i)), "x\n")
		}
		time.Sleep(25 * time.Second)
		few := 0
		for _, c := range w.deliveries() {
			if strings.HasPrefix(c.route.Destination, "few") {
				few++
			}
		}
		if few != 10 {
			t.Errorf("%d of 10 destinations served in 25 seconds", few)
		}
	})
}

// A thousand old messages that are due again do not hold up a new one, though
// each takes ten minutes to fail.
func TestRetriesLeaveRoomForNewMail(t *testing.T) {
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if strings.HasPrefix(m.Route.Destination, "old") {
			if m.Attempt > 1 {
				sleep(ctx, 10*time.Minute)
			}
			return outcomes(m, greylist)
		}
		return outcomes(m, accepted)
	}
	inTime(t, deliver, nil, func(w *world) {
		for i := range 1000 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@old%d.test", i)), "x\n")
		}
		time.Sleep(500 * time.Second) // now all are due again
		for i := range 5 {
			w.send(envelope("s@x.test", fmt.Sprintf("r@new%d.test", i)), "x\n")
		}
		synctest.Wait()
		for i := range 5 {
			to := fmt.Sprintf("r@new%d.test", i)
			if !slices.ContainsFunc(w.deliveries(), func(c call) bool { return c.to[0] == to }) {
				t.Errorf("%s is held up", to)
			}
		}
	})
}

// Two failures two minutes apart, and then no attempt for 64 minutes or more:
// qmail's tcpto. Then one probes, and if it answers, all go.
func TestDeadDestinationIsLeftAlone(t *testing.T) {
	var alive atomic.Bool
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if alive.Load() {
			return outcomes(m, accepted)
		}
		sleep(ctx, time.Minute)
		return outcomes(m, noAnswer)
	}
	inTime(t, deliver, nil, func(w *world) {
		for i := range 50 {
			w.send(envelope("s@x.test", fmt.Sprintf("r%d@b.test", i)), "x\n")
		}
		time.Sleep(10 * time.Minute)
		before := len(w.deliveries())
		d := w.Destinations()[0]
		if d.State != "dead" || d.Failures != 2 || d.Waiting == 0 || time.Until(d.Next) > 5824*time.Second {
			t.Errorf("destination: %+v", d)
		}
		if before > 7 { // 5 at once, then one at a time for two minutes
			t.Errorf("%d attempts at a dead destination", before)
		}
		pause := time.Until(d.Next)
		if pause < 50*time.Minute {
			t.Errorf("left alone for %v more", pause)
		}
		time.Sleep(pause - time.Second)
		if n := len(w.deliveries()); n != before {
			t.Errorf("%d attempts while it was to be left alone", n-before)
		}
		time.Sleep(30 * time.Second)
		if n := len(w.deliveries()); n != before+1 {
			t.Errorf("%d probes, want 1", n-before)
		}
		alive.Store(true)
		time.Sleep(2 * time.Hour)
		w.wantEmpty()
		if d := w.Destinations()[0]; d.State != "open" || d.Failures != 0 {
			t.Errorf("destination: %+v", d)
		}
	})
}

// One saturated destination does not hold up others of the same message.
func TestDestinationsOfAMessageAreIndependent(t *testing.T) {
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		switch d := m.Route.Destination; {
		case d == "slow.test":
			sleep(ctx, 50*time.Minute)
		case d == "grey.test" && m.Attempt == 1:
			return outcomes(m, greylist)
		}
		return outcomes(m, accepted)
	}
	inTime(t, deliver, func(q *queue.Queue) {
		q.Limits = func(string, string) queue.Limits { return queue.Limits{Concurrency: 1} }
	}, func(w *world) {
		first := w.send(envelope("s@x.test", "a@slow.test", "b@grey.test", "c@good.test"), "x\n")
		w.send(envelope("s@x.test", "d@slow.test", "e@grey.test", "f@good.test"), "x\n")
		time.Sleep(500 * time.Second)
		status := make(map[string]queue.Status)
		for _, e := range w.entries() {
			for i, s := range e.States() {
				status[e.Envelope.Recipients[i].Path.Local] = s.Status
			}
		}
		want := map[string]queue.Status{"b": queue.Delivered, "c": queue.Delivered, "e": queue.Delivered, "f": queue.Delivered, "a": 0, "d": 0}
		for to, s := range want {
			if status[to] != s {
				t.Errorf("%s is %v, want %v", to, status[to], s)
			}
		}
		time.Sleep(2 * time.Hour)
		w.wantEmpty()
		_ = first
	})
}

// A reply of 421 halves what runs at a time.
func TestBusyDestinationGetsLess(t *testing.T) {
	busy := greylist
	busy.Reply.Code = 421
	s := &slow{took: time.Second, outcome: accepted}
	inTime(t, s.Deliver, nil, func(w *world) {
		for range 100 {
			w.send(envelope("s@x.test", "r@b.test"), "x\n")
		}
		time.Sleep(time.Minute)
		window := w.Destinations()[0].Window
		s.mu.Lock()
		s.outcome = busy
		s.mu.Unlock()
		for range 5 {
			w.send(envelope("s@x.test", "r@b.test"), "x\n")
		}
		time.Sleep(10 * time.Second)
		if d := w.Destinations()[0]; window < 50 || d.Window > 3 {
			t.Errorf("window %d, then %+v", window, d)
		}
	})
}

func TestVERPSendersAreExpanded(t *testing.T) {
	inTime(t, discard, nil, func(w *world) {
		w.send(envelope("list-owner-@l.org-@[]", "r@r.net", "q.r@r.net", "odd one@r.net"), "x\n")
		w.send(envelope("x-@[]", "r@r.net"), "x\n")
		w.send(envelope("plain@l.org", "r@r.net", "s@r.net"), "x\n")
		w.wantEmpty()
		var got []string
		for _, c := range w.deliveries() {
			got = append(got, c.from+" > "+strings.Join(c.to, ","))
		}
		slices.Sort(got)
		want := []string{
			"list-owner-odd one=r.net@l.org > odd one@r.net",
			"list-owner-q.r=r.net@l.org > q.r@r.net",
			"list-owner-r=r.net@l.org > r@r.net",
			"plain@l.org > r@r.net,s@r.net",
			"x-@[] > r@r.net",
		}
		if !slices.Equal(got, want) {
			t.Errorf("deliveries\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestOneRecipientForEachAttempt(t *testing.T) {
	inTime(t, discard, func(q *queue.Queue) { q.OneRecipient = true }, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test", "c@b.test", "d@b.test"), "x\n")
		w.wantEmpty()
		if n := len(w.deliveries()); n != 3 {
			t.Errorf("%d attempts, want 3", n)
		}
	})
}

// Thousands of recipients at one destination, each with an attempt of its own.
func TestBigListAtOneDestination(t *testing.T) {
	env := envelope("l-@x.test-@[]")
	for i := range 5000 {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(fmt.Sprintf("r%d@b.test", i))})
	}
	s := &slow{took: time.Second, outcome: accepted}
	inTime(t, s.Deliver, nil, func(w *world) {
		w.send(env, "x\n")
		time.Sleep(6 * time.Minute)
		w.wantEmpty()
		if n := len(w.deliveries()); n != 5000 {
			t.Errorf("%d attempts", n)
		}
	})
}
