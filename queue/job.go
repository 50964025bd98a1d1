package queue

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// job is the work on one message while its lease is held: it starts attempts
// as recipients are due and slots are free, records their outcomes, and
// gives the lease back when none is running. One goroutine owns it.
type job struct {
	q      *Queue
	lease  Lease
	entry  *Entry
	waiter *waiter
	free   func()        // leaves the gate of leases
	ready  chan struct{} // told of slots, and of what administrators ask

	recipients []recipient
	pending    int             // recipients that are not settled
	idle       time.Time       // when the first that is neither running nor waiting is due; zero: none
	wants      map[place]*want // attempts that wait for a slot
	waiting    int             // groups in wants
	asking     []*want         // of wants, those whose line has not been joined yet
	running    []*attempt
	results    chan result

	fresh []Attempt // not in the store's journal yet
	news  []Attempt // Queue.Outcome has not been told yet
	lost  bool      // the lease is lost

	troubled  bool      // the store failed with it before
	asksDelay bool      // delays are to be reported
	owed      []int     // deliveries are to be reported of these recipients
	owedAt    time.Time // but not before
	lingers   bool      // it is counted in Queue.lingering

	reported bool     // its report has been sent
	removal  *removal // recipients that an administrator removes
	asked    []int    // of those, what we know
	dropped  atomic.Bool
	expiry   time.Time

	extendAt time.Time
}

// recipient is a recipient's state, and what the job knows besides.
type recipient struct {
	State
	channel string    // of the last routing
	busy    bool      // in wants or running
	told    time.Time // when the last attempt ended
	warned  bool      // its delay has been reported
	success success
}

// begin starts the work on a message that has been leased.
// Routers are asked under the context routing.
func (q *Queue) begin(routing context.Context, lease Lease, free func()) {
	now := time.Now()
	j := &job{q: q, lease: lease, entry: lease.Entry(), free: free, ready: make(chan struct{}, 1), extendAt: now.Add(extendAfter)}
	t, again := q.enter(j)
	if !again.IsZero() {
		_ = lease.Park("trouble", again) // if the lease is lost by now, all the better
		free()
		return
	}
	defer j.guard()
	j.waiter = q.shaper.begin(j.entry.ID, j.ready)
	if !j.waiter.listed {
		j.waiter.account = q.accountOf(&j.entry.Envelope)
	}
	j.expiry = q.expiry(j.entry)
	if t != nil {
		j.troubled, j.fresh, j.reported = true, t.attempts, t.reported
	}
	j.load()
	j.start(routing, now)
	q.shaper.forgo(j.waiter, func(p place) bool { return j.wants[p] != nil })
	if len(j.running) == 0 && len(j.wants) > 0 && len(j.fresh) == 0 && !j.asksDelay && len(j.stillOwed()) == 0 && !j.linger() {
		j.park(now) // that is no work for a goroutine
		j.ended()
		return
	}
	q.life.jobs.Go(func() {
		defer j.guard()
		j.run()
	})
}

// linger says whether a job may keep its lease while no attempt is running: a
// few messages with very many attempts to come may, as it takes long to plan
// them.
func (j *job) linger() bool {
	if j.waiting < manyWaiting || j.lost || j.q.life.stopped() {
		return false
	}
	if !j.lingers {
		j.lingers = j.q.lingering.Add(1) <= maxLingering
		if !j.lingers {
			j.q.lingering.Add(-1)
		}
	}
	return j.lingers
}

// load works out the recipients' states from the journal, and from what the
// store did not take when we had the message before.
func (j *job) load() {
	j.recipients = make([]recipient, len(j.entry.Envelope.Recipients))
	for i, s := range j.entry.States() {
		r := &j.recipients[i]
		r.State = s
		if s.Last != nil {
			r.told = s.Last.At
		}
		r.warned = j.overdue(i, r.told)
		if s.Status == Pending {
			j.pending++
			j.asksDelay = j.asksDelay || !j.delayAt(i).IsZero()
		}
	}
	for i := range j.entry.Journal {
		if a := &j.entry.Journal[i]; a.Recipient >= 0 && a.Recipient < len(j.recipients) {
			j.noteOwed(a)
		}
	}
	for i := range j.fresh {
		j.apply(&j.fresh[i])
	}
	for i := range j.recipients {
		j.rest(&j.recipients[i])
	}
}

// apply takes an attempt into a recipient's state.
func (j *job) apply(a *Attempt) {
	r := &j.recipients[a.Recipient]
	j.noteOwed(a)
	if r.Status != Pending {
		return
	}
	r.apply(a, j.entry.Arrived)
	r.told = a.At
	if r.Status != Pending {
		j.pending--
	}
}

// run works until no attempt is running, and ends the lease.
//
// It is told of outcomes, slots and requests, and looks at the clock when
// something is due.
func (j *job) run() {
	t := time.NewTimer(time.Until(j.alarm()))
	defer t.Stop()
	killed, stopping := j.q.life.attempts.Done(), j.q.life.stopping
	for len(j.running) > 0 || j.linger() {
		select {
		case r := <-j.results:
			j.takeResult(r)
			j.takeMore()
		case <-j.ready:
			if j.dropped.Load() {
				j.noteLost(ErrLeaseLost)
			}
		case <-t.C:
		case <-stopping:
			stopping = nil
		case <-killed:
			killed = nil
			j.cancelAll(time.Now(), errStopped)
		}
		if len(j.running) == 0 && j.pending == 0 {
			break
		}
		now := time.Now()
		j.watch(now)
		j.startLater(now)
		if len(j.running) > 0 || j.linger() {
			j.checkpoint()
		}
		t.Reset(time.Until(j.alarm()))
	}
	j.finish()
}

func (j *job) takeResult(r result) {
	r.attempt.outcomes, r.attempt.err = r.outcomes, r.err
	j.take(r.attempt)
}

// takeMore takes the outcomes that are there already, so that they share a
// checkpoint.
func (j *job) takeMore() {
	for len(j.running) > 0 {
		select {
		case r := <-j.results:
			j.takeResult(r)
		default:
			return
		}
	}
}

// alarm returns when the job has to look at the clock again.
func (j *job) alarm() time.Time {
	at := j.extendAt
	for _, a := range j.running {
		at = earliest(at, a.deadline)
	}
	if j.q.life.stopped() {
		return at
	}
	if len(j.wants) > 0 || !j.idle.IsZero() {
		at = earliest(at, j.expiry)
	}
	if !j.idle.IsZero() {
		at = earliest(at, j.idle)
	}
	return at
}

// firstDue returns when the first of all recipients that are not settled is
// or was due.
func (j *job) firstDue() time.Time {
	at := j.expiry
	for i := range j.recipients {
		if r := &j.recipients[i]; r.Status == Pending {
			at = earliest(at, r.Due)
		}
	}
	return at
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// watch extends the lease, and cancels and then abandons attempts whose time
// is up.
func (j *job) watch(now time.Time) {
	j.shorten(now)
	if !now.Before(j.extendAt) {
		j.extend(now)
	}
	for _, a := range slices.Clone(j.running) {
		if now.Before(a.deadline) {
			continue
		}
		if !a.cancelled {
			j.q.logStalled(a, now)
			a.stop(now, errStalled)
			continue
		}
		j.q.logAbandoned(a, now)
		a.abandon()
		j.take(a)
	}
}

func (j *job) extend(now time.Time) {
	j.extendAt = now.Add(extendAfter)
	if err := j.lease.Extend(leaseTime); err != nil && !j.noteLost(err) {
		j.q.logTrouble("trouble extending a lease", j.entry.ID, err)
	}
}

func (j *job) cancelAll(now time.Time, cause error) {
	for _, a := range j.running {
		if !a.cancelled {
			a.stop(now, cause)
		}
	}
}

// noteLost says whether err means that the lease is lost: then nothing can be
// recorded any more, and the attempts are stopped.
func (j *job) noteLost(err error) bool {
	if !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrClosed) {
		return false
	}
	if !j.lost {
		j.lost = true
		j.cancelAll(time.Now(), err)
	}
	return true
}

// checkpoint records outcomes while other attempts go on, and reports what
// the sender is to know at once. If the store does not take them they are
// recorded with the next ones.
func (j *job) checkpoint() {
	for j.record() && j.reportSuccess() {
	}
}

// record records outcomes. It says whether all that is known is durable.
func (j *job) record() bool {
	j.tell()
	if len(j.fresh) == 0 || j.lost {
		return !j.lost
	}
	j.reportDelay()
	err := j.lease.Checkpoint(context.Background(), j.fresh)
	if err == nil {
		j.fresh = nil
		j.eased()
	} else if !j.noteLost(err) {
		j.q.logTrouble("trouble recording outcomes", j.entry.ID, err)
	}
	return err == nil
}

// eased notes that the store took the message's state.
func (j *job) eased() {
	j.removed()
	if j.troubled {
		j.q.untroubled(j.entry.ID)
		j.troubled = false
	}
}

// guard ends a job that panicked: one bad message must not end the process.
func (j *job) guard() {
	if p := recover(); p != nil {
		j.q.logPanic("job", p)
		j.abandon()
	}
}

// abandon gives a message back that we cannot handle, for an hour, or until
// its time is up.
func (j *job) abandon() {
	for _, a := range j.running {
		a.stop(time.Now(), errStopped)
		a.abandon()
	}
	j.running = nil
	j.q.troubled(j)
	j.q.shaper.end(j.waiter)
	now := time.Now()
	again := now.Add(parkTime)
	if j.expiry.After(now) {
		again = earliest(again, j.expiry)
	}
	_ = j.lease.Retry(context.Background(), nil, again)
	j.ended()
}

// ended makes the job unknown and leaves the gate, once.
func (j *job) ended() {
	if j.free != nil {
		if j.lingers {
			j.q.lingering.Add(-1)
		}
		j.q.leave(j)
		j.free()
		j.free = nil
	}
}
