package queue_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// byLocalPart answers as the recipients' names say: "later" is accepted from
// the third attempt on, "grey" never, "slow" after 50 minutes.
func byLocalPart(ctx context.Context, m *sqmail.Message) (all []sqmail.Outcome, _ error) {
	for i, r := range m.Envelope.Recipients {
		o := accepted
		switch {
		case r.Path.Local == "grey", r.Path.Local == "later" && m.Attempt < 3:
			o = greylist
		case r.Path.Local == "slow":
			sleep(ctx, 50*time.Minute)
		}
		o.Recipient = i
		all = append(all, o)
	}
	return all, nil
}

// wantsSuccess asks for reports of success for all recipients.
func wantsSuccess(env *sqmail.Envelope) *sqmail.Envelope {
	for i := range env.Recipients {
		env.Recipients[i].Notify = sqmail.NotifySuccess
	}
	return env
}

// reported lists whom the reports are about, one string for each report.
func reported(t *testing.T, b *box) (all []string) {
	t.Helper()
	for _, text := range b.messages() {
		var of []string
		for _, r := range parseDSN(t, text).recipients {
			of = append(of, r.Get("Action")+" "+strings.TrimPrefix(r.Get("Final-Recipient"), "rfc822; "))
		}
		all = append(all, strings.Join(of, ", "))
	}
	return all
}

// The sender hears of a delivery when its attempt has ended, in one report for
// each attempt, whatever becomes of the others, and once.
func TestSuccessIsReportedWhenItsAttemptEnds(t *testing.T) {
	var b box
	inTime(t, byLocalPart, asDSN(&b), func(w *world) {
		want := func(when string, reports ...string) {
			t.Helper()
			synctest.Wait()
			if got := reported(t, &b); strings.Join(got, "\n") != strings.Join(reports, "\n") {
				t.Errorf("%s: reports %q, want %q", when, got, reports)
			}
		}
		env := wantsSuccess(envelope("s@x.test", "a@b.test", "c@b.test", "later@b.test", "grey@b.test", "slow@d.test", "quiet@d.test"))
		env.Recipients[5].Notify = sqmail.NotifyFailure
		id := w.send(env, original)
		first := "relayed a@b.test, relayed c@b.test"
		want("at once", first)
		time.Sleep(26 * time.Minute)
		want("one runs, and another was deferred", first)
		time.Sleep(23 * time.Minute)
		second, third := "relayed later@b.test", "relayed slow@d.test"
		want("after its third attempt", first, second)
		time.Sleep(2 * time.Minute)
		want("after 51 minutes", first, second, third)
		m, err := w.Open(w.t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for i, s := range m.States() {
			if s.Status == queue.Delivered && s.Last.Outcome.Notifies {
				t.Errorf("recipient %d: the last attempt is %+v, not the delivery", i, s.Last)
			}
		}
		time.Sleep(8 * 24 * time.Hour)
		w.wantEmpty()
		want("in the end", first, second, third) // grey wants to hear of success alone
	})
}

// What could not be reported is reported later, even if nothing else is to be
// done for days.
func TestSuccessReportThatFailsIsTriedAgain(t *testing.T) {
	b := box{err: errPlain}
	set := func(q *queue.Queue) {
		asDSN(&b)(q)
		q.Schedule = queue.Fixed{72 * time.Hour}
	}
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		w := newWorld(t, store, byLocalPart, set)
		w.send(wantsSuccess(envelope("s@x.test", "a@b.test", "grey@b.test")), original)
		time.Sleep(time.Second)
		w.stop() // and the next Queue knows what is owed
		b.mu.Lock()
		b.err = nil
		b.mu.Unlock()
		w = newWorld(t, store, byLocalPart, set)
		time.Sleep(3 * time.Minute)
		b.want(t, 1)
		if n := len(w.deliveries()); n != 0 {
			t.Errorf("%d attempts for the sake of a report", n)
		}
		time.Sleep(8 * 24 * time.Hour)
		b.want(t, 1)
		w.wantEmpty()
		w.stop()
	})
}

// A process may die before and after each step of the Store. The sender hears
// of each delivery and delay at least once, and twice only if the process died
// between an attempt or a report and its line in the journal.
func TestReportsOfSuccessAndDelaySurviveCrashes(t *testing.T) {
	points, twice := 0, 0
	for _, when := range []fault{before, after} {
		for n := 1; ; n++ {
			reports, died := crashingLife(t, n, when)
			for _, to := range []string{"relayed a@b.test", "relayed later@c.test", "relayed slow@d.test", "delayed grey@b.test"} {
				if reports[to] < 1 || reports[to] > 2 {
					t.Errorf("death %d, %d: %q is reported %d times", n, when, to, reports[to])
				}
				twice += max(reports[to]-1, 0)
			}
			if !died {
				break
			}
			points++
		}
	}
	t.Logf("%d crash points, %d repetitions", points, twice)
	if points < 30 || twice > points/2 {
		t.Errorf("%d crash points, %d repetitions", points, twice)
	}
}

// crashingLife runs a message's life, in which the process dies at its n-th
// step, and counts the reports for each recipient.
func crashingLife(t *testing.T, n int, when fault) (reports map[string]int, died bool) {
	reports = make(map[string]int)
	seen := make(map[string]bool)
	var mu sync.Mutex
	deliver := func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if m.Envelope.Recipients[0].Path.Domain != "x.test" {
			return byLocalPart(ctx, m)
		}
		mu.Lock()
		defer mu.Unlock()
		if !seen[m.ID] {
			seen[m.ID] = true
			text, _ := io.ReadAll(m.Reader())
			_, report, _ := strings.Cut(string(text), "\n") // its Received field is the envelope's
			for _, r := range parseDSN(t, report).recipients {
				reports[r.Get("Action")+" "+strings.TrimPrefix(r.Get("Final-Recipient"), "rfc822; ")]++
			}
		}
		return outcomes(m, accepted)
	}
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		dying := &mortal{Store: store, left: n, when: when}
		first := newWorld(t, store, deliver, func(q *queue.Queue) { q.Store = dying })
		sender := queue.Queue{Store: store}
		env := wantsSuccess(envelope("s@x.test", "a@b.test", "later@c.test", "slow@d.test", "grey@b.test"))
		env.Recipients[3].Notify = sqmail.NotifyDelay
		(&world{Queue: &sender, t: t}).send(env, original)
		time.Sleep(5 * time.Hour)
		dying.kill()
		first.Shutdown(context.Background())
		<-first.done
		dying.mu.Lock()
		died = dying.died
		dying.mu.Unlock()
		time.Sleep(5 * time.Minute) // leases run out
		second := newWorld(t, store, deliver, nil)
		time.Sleep(8 * 24 * time.Hour)
		second.wantEmpty()
		second.stop()
	})
	return reports, died
}

// mortal is a Store whose process dies at a step: nothing that it asks for
// afterwards is done.
type mortal struct {
	*memstore.Store
	when fault

	mu   sync.Mutex
	left int
	dead bool
	died bool // by itself
}

var errDead = errors.New("the process is dead")

func (s *mortal) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

func (s *mortal) step(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return queue.ErrLeaseLost
	}
	s.left--
	if s.left == 0 {
		s.dead, s.died = true, true
		if s.when == after {
			do()
		}
		return queue.ErrLeaseLost
	}
	return do()
}

func (s *mortal) Begin(ctx context.Context) (queue.Draft, error) {
	d, err := s.Store.Begin(ctx)
	return &mortalDraft{d, s}, err
}

type mortalDraft struct {
	queue.Draft
	s *mortal
}

func (d *mortalDraft) Commit(ctx context.Context, sub queue.Submission) (id queue.ID, err error) {
	defer d.Abort()
	err = d.s.step(func() error {
		id, err = d.Draft.Commit(ctx, sub)
		return err
	})
	return id, err
}

func (s *mortal) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	l, err := s.Store.Lease(ctx, ttl)
	if err != nil {
		return nil, err
	}
	if err := s.step(func() error { return nil }); err != nil {
		return nil, errDead
	}
	return &mortalLease{l, s}, nil
}

type mortalLease struct {
	queue.Lease
	s *mortal
}

func (l *mortalLease) Checkpoint(ctx context.Context, a []queue.Attempt) error {
	return l.s.step(func() error { return l.Lease.Checkpoint(ctx, a) })
}

func (l *mortalLease) Retry(ctx context.Context, a []queue.Attempt, at time.Time) error {
	return l.s.step(func() error { return l.Lease.Retry(ctx, a, at) })
}

func (l *mortalLease) Done(ctx context.Context, a []queue.Attempt) error {
	return l.s.step(func() error { return l.Lease.Done(ctx, a) })
}

func (l *mortalLease) Park(key string, until time.Time) error {
	return l.s.step(func() error { return l.Lease.Park(key, until) })
}

func (l *mortalLease) Extend(ttl time.Duration) error {
	return l.s.step(func() error { return l.Lease.Extend(ttl) })
}
