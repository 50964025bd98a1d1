package queue_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

var simulationSeed = flag.Uint64("simulation.seed", 0, "simulate with this seed alone")

// simulation is a few days of a busy queue: agents of all kinds, an
// administrator who cannot keep still, and a restart now and then.
type simulation struct {
	*world // changes at a restart: agents leave it alone
	test   *testing.T
	r      *rand.Rand // of the administrator alone
	store  *memstore.Store
	born   time.Time
	over   chan struct{} // closed: agents that hang return

	lifetime time.Duration
	since    time.Time // the Queue runs with this lifetime

	mu      sync.Mutex
	agents  *rand.Rand
	taken   map[string]int  // deliveries by recipient,
	failed  map[string]int  // lines in bounces
	told    map[string]int  // and in reports of success
	removed map[string]bool // an administrator removed it, or tried
	asked   map[string]bool // its sender wants to hear of its delivery
	tries   map[string]int
	retries map[string]int // of those, the ones that an administrator may have caused
	freed   map[string]time.Time
	sent    []string
}

func (s *simulation) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agents.IntN(n)
}

// Deliver answers as the destination's name says.
func (s *simulation) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	s.mu.Lock()
	for _, r := range m.Envelope.Recipients {
		s.tries[r.Path.String()]++
	}
	s.mu.Unlock()
	o, kind := accepted, strings.TrimRight(m.Route.Destination, "0123456789")
	switch kind {
	case "slow":
		for range s.draw(20) {
			sleep(ctx, 5*time.Second)
			m.Progress()
		}
	case "dead":
		sleep(ctx, time.Minute)
		o = noAnswer
	case "grey":
		if m.Attempt < 3 {
			o = greylist
		}
	case "full":
		o = greylist
	case "bad":
		o = rejected
	case "busy":
		if s.draw(3) == 0 {
			o.Class, o.Reply = sqmail.Deferral, sqmail.Reply{Code: 421, Text: "busy"}
		}
	case "hang":
		<-s.over
		return outcomes(m, rejected)
	case "mad":
		return s.mad(m)
	}
	if ctx.Err() != nil && o.Class == sqmail.Accepted {
		return nil, ctx.Err()
	}
	return s.count(m, o)
}

// mad is an agent with every fault but lying.
func (s *simulation) mad(m *sqmail.Message) ([]sqmail.Outcome, error) {
	switch s.draw(5) {
	case 0:
		panic("mad")
	case 1:
		return nil, errPlain
	case 2:
		return []sqmail.Outcome{{Recipient: -1, Class: sqmail.Rejection}, {Recipient: 99, Class: sqmail.Rejection}, greylist}, nil
	case 3:
		all, _ := s.count(m, accepted)
		return append(all, all...), errPlain
	}
	return s.count(m, sqmail.Outcome{Class: 77})
}

func (s *simulation) count(m *sqmail.Message, o sqmail.Outcome) ([]sqmail.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Class == sqmail.Accepted {
		for _, r := range m.Envelope.Recipients {
			s.taken[r.Path.String()]++
		}
	}
	return outcomes(m, o)
}

// Receive takes the reports; a third of the time it will not.
func (s *simulation) Receive(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	if s.draw(3) == 0 {
		return sqmail.Receipt{}, errPlain
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(string(text), "report-type=delivery-status") {
		report, _, _ := strings.Cut(string(text), "--- Below")
		for _, m := range bounced.FindAllStringSubmatch(report, -1) {
			s.failed[m[1]]++
		}
		return sqmail.Receipt{}, nil
	}
	for _, r := range parseDSN(s.test, string(text)).recipients {
		to := strings.TrimPrefix(r.Get("Final-Recipient"), "rfc822; ")
		if r.Get("Action") == "failed" {
			s.failed[to]++
		} else {
			s.told[to]++
		}
	}
	return sqmail.Receipt{}, nil
}

// run starts the Queue.
func (s *simulation) run(t *testing.T) {
	s.since = time.Now()
	s.world = newWorld(t, s.store, nil, func(q *queue.Queue) {
		q.Deliverer, q.Bounces.Receiver = s, s
		q.Lifetime, q.AttemptTimeout = s.lifetime, 20*time.Minute
		q.Concurrency = map[string]int{"remote": 1 + s.r.IntN(20)}
		q.OneRecipient = s.r.IntN(4) == 0
		q.Limits = func(_, destination string) queue.Limits {
			switch destination {
			case "good1":
				return queue.Limits{Rate: 0.05, Burst: 3}
			case "slow1":
				return queue.Limits{Concurrency: 1}
			}
			return queue.Limits{}
		}
	})
	s.SetMaxWaiting(10 + s.r.IntN(500))
}

// stop ends the Queue, if need be before its attempts are at their end.
func (s *simulation) stop(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.Shutdown(ctx)
	<-s.done
}

func (s *simulation) sendMail() {
	env := envelope(fmt.Sprintf("s%d@x", s.r.IntN(5)))
	n := 1 + s.r.IntN(1+s.r.IntN(8))
	if s.r.IntN(200) == 0 {
		n = 150
	}
	for range n {
		kinds := []string{"good", "good", "good", "slow", "slow", "dead", "grey", "full", "bad", "busy", "hang", "mad"}
		to := fmt.Sprintf("r%d@%s%d", len(s.sent), kinds[s.r.IntN(len(kinds))], s.r.IntN(4))
		s.sent = append(s.sent, to)
		r := sqmail.Recipient{Path: sqmail.PathOf(to)}
		if s.r.IntN(3) == 0 {
			r.Notify = sqmail.NotifySuccess | sqmail.NotifyFailure
			s.asked[to] = true
		}
		env.Recipients = append(env.Recipients, r)
	}
	s.send(env, "x\n")
}

// administer does something to some messages.
func (s *simulation) administer(t *testing.T) {
	var sel queue.Selection
	all := s.entries()
	if len(all) == 0 {
		return
	}
	e := all[s.r.IntN(len(all))]
	to := e.Envelope.Recipients[s.r.IntN(len(e.Envelope.Recipients))].Path
	switch s.r.IntN(4) {
	case 0:
		sel.All = s.r.IntN(5) == 0
		sel.IDs = []queue.ID{e.ID}
	case 1:
		sel.Sender = e.Envelope.ReversePath
	case 2:
		sel.Recipient = sqmail.Path{Domain: to.Domain}
	case 3:
		sel.Recipient = to
	}
	var err error
	switch s.r.IntN(7) {
	case 0, 1:
		s.note(all, s.retries, 1)
		_, err = s.RetryAll(t.Context(), sel, time.Time{})
	case 2:
		_, err = s.HoldAll(t.Context(), sel)
	case 3, 4:
		s.note(all, s.retries, 1)
		s.free(all)
		_, err = s.ReleaseAll(t.Context(), queue.Selection{All: true})
	case 5:
		s.SetConcurrency("remote", s.r.IntN(30))
	case 6:
		s.remove(t, all, sel, e)
	}
	if err != nil {
		t.Error(err)
	}
}

// note counts something for the recipients of messages.
func (s *simulation) note(all []*queue.Entry, counts map[string]int, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range all {
		for _, r := range e.Envelope.Recipients {
			counts[r.Path.String()] += n
		}
	}
}

func (s *simulation) free(all []*queue.Entry) {
	for _, e := range all {
		if e.Held {
			s.freed[e.ID.String()] = time.Now()
		}
	}
}

// remove removes a message, or one of its recipients.
func (s *simulation) remove(t *testing.T, all []*queue.Entry, sel queue.Selection, e *queue.Entry) {
	s.note(all, s.retries, 1)
	if sel.Recipient.Local == "" {
		for _, r := range e.Envelope.Recipients {
			s.removed[r.Path.String()] = true
		}
		if err := s.Remove(t.Context(), e.ID); err != nil && !errors.Is(err, queue.ErrNotFound) {
			t.Error(err)
		}
		return
	}
	s.removed[sel.Recipient.String()] = true
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	s.RemoveAll(ctx, sel) // what is held cannot be
}

// wantNoneTooOld wants every message that may leave the queue to do so in time.
func (s *simulation) wantNoneTooOld(t *testing.T) {
	synctest.Wait()
	for _, e := range s.entries() {
		end := e.Arrived.Add(s.lifetime)
		for _, at := range []time.Time{s.since, s.freed[e.ID.String()]} {
			if at.After(end) {
				end = at
			}
		}
		pending := 0
		for _, st := range e.States() {
			if st.Status == queue.Pending {
				pending++
			}
		}
		if late := time.Since(end); !e.Held && pending > 0 && late > time.Minute {
			t.Errorf("message %v is %v too late: due in %v, leased %v, parked %q, %+v", e.ID, late, time.Until(e.Due), e.Leased, e.Parked, e.Journal)
		}
	}
}

// life is some days.
func (s *simulation) life(t *testing.T, messages int) {
	for range messages {
		switch s.r.IntN(100) {
		case 0:
			s.stop(time.Duration(s.r.IntN(300)) * time.Second)
			s.wantNoneRunning(t)
			time.Sleep(time.Duration(s.r.IntN(7200)) * time.Second)
			s.run(t)
		case 1:
			s.lifetime = time.Duration(3+s.r.IntN(20)) * time.Hour
			s.SetLifetime(s.lifetime)
			s.since = time.Now()
		case 2, 3, 4, 5, 6, 7:
			s.administer(t)
		case 8:
			s.wantNoneTooOld(t)
		}
		s.sendMail()
		if s.r.IntN(3) > 0 {
			time.Sleep(time.Duration(s.r.IntN(600_000)) * time.Millisecond)
		}
	}
	s.SetConcurrency("remote", 20)
	s.free(s.entries())
	if _, err := s.ReleaseAll(t.Context(), queue.Selection{All: true}); err != nil {
		t.Error(err)
	}
	for range 30 {
		time.Sleep(time.Hour)
		s.wantNoneTooOld(t)
	}
	s.wantEmpty()
	close(s.over)
	s.wantNothingRemembered()
	s.stop(time.Second)
}

func (s *simulation) wantNoneRunning(t *testing.T) {
	for _, c := range s.Channels() {
		if c.Running+c.Silent != 0 {
			t.Errorf("after the end of Run: %+v", c)
		}
	}
}

// check wants one end for each recipient, reported as it was asked for, and no
// more attempts than there is time for.
func (s *simulation) check(t *testing.T) {
	for _, to := range s.sent {
		if n := s.taken[to] + s.failed[to]; n != 1 && !(n == 0 && s.removed[to]) {
			t.Errorf("%s: %d deliveries, %d failures; removed: %v", to, s.taken[to], s.failed[to], s.removed[to])
		}
		want := 0
		if s.asked[to] {
			want = s.taken[to]
		}
		if told := s.told[to]; told != want && !(told == 0 && s.removed[to]) {
			t.Errorf("%s: %d reports of success, want %d", to, told, want)
		}
		if most := 30 + s.retries[to]; s.tries[to] > most {
			t.Errorf("%s: %d attempts, want %d at most", to, s.tries[to], most)
		}
	}
}

func TestSimulation(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4}
	if *simulationSeed != 0 {
		seeds = []uint64{*simulationSeed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &simulation{
					test: t, r: rand.New(rand.NewPCG(seed, 1)), agents: rand.New(rand.NewPCG(seed, 2)),
					store: newStore(), born: time.Now(), over: make(chan struct{}), lifetime: 12 * time.Hour,
					taken: make(map[string]int), failed: make(map[string]int), told: make(map[string]int), removed: make(map[string]bool), asked: make(map[string]bool),
					tries: make(map[string]int), retries: make(map[string]int), freed: make(map[string]time.Time),
				}
				s.run(t)
				s.life(t, 500)
				s.check(t)
				t.Logf("%d recipients in %v", len(s.sent), time.Since(s.born))
			})
		})
	}
}
