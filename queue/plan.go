package queue

import (
	"context"
	"slices"
	"time"

	"github.com/sqmail/sqmail"
)

// group is the work of one attempt: recipients with one route.
type group struct {
	route      sqmail.Route
	sender     sqmail.Path
	recipients []int // their indexes in the message's envelope
	paths      []sqmail.Path
}

// want is what a message wants to send to one destination.
type want struct {
	place  place
	groups []*group
	asks   bool // is in job.asking
}

// start starts the attempts that are due and get a slot. What is due and gets
// none waits, unless the message's time is up.
func (j *job) start(ctx context.Context, now time.Time) {
	if j.lost || j.q.life.stopped() {
		return
	}
	j.removeAsked(now)
	j.resume(now)
	last := !now.Before(j.expiry)
	if j.due(now) {
		j.collect(ctx, now, last)
		j.launch(now)
	}
	if last {
		j.expire(now)
	}
}

// startLater is start while other attempts of the message are running.
func (j *job) startLater(now time.Time) {
	ctx := j.q.life.attempts
	if j.due(now) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, errSlowRouter)
		defer cancel()
	}
	j.start(ctx, now)
}

// due says whether a recipient that is neither running nor waiting is due.
func (j *job) due(now time.Time) bool {
	return !j.idle.IsZero() && !now.Before(earliest(j.idle, j.expiry))
}

// collect routes the recipients that are due, and puts them into groups.
func (j *job) collect(ctx context.Context, now time.Time, last bool) {
	env := &j.entry.Envelope
	j.idle = time.Time{}
	for i := range j.recipients {
		r := &j.recipients[i]
		if r.Status != Pending || r.busy {
			continue
		}
		if !last && r.Due.After(now) {
			j.rest(r)
			continue
		}
		routing, err := j.q.route(ctx, env, env.Recipients[i].Path)
		if err != nil {
			j.q.logRouting(j.entry, i, err)
			reply := sqmail.ReplyFor(err)
			j.settle(i, sqmail.Outcome{Class: sqmail.ClassOf(err), Text: reply.String()}, now, now)
			j.rest(r)
			continue
		}
		r.busy, r.channel = true, routing.Route.Channel
		j.want(i, routing)
	}
}

// rest notes that a recipient is neither running nor waiting for a slot.
func (j *job) rest(r *recipient) {
	r.busy = false
	if r.Status == Pending && (j.idle.IsZero() || r.Due.Before(j.idle)) {
		j.idle = r.Due
	}
}

// want adds a recipient to the group of its route.
func (j *job) want(i int, routing sqmail.Routing) {
	p := place{routing.Route.Channel, routing.Route.Destination}
	if j.wants == nil {
		j.wants = make(map[place]*want)
	}
	w := j.wants[p]
	if w == nil {
		w = &want{place: p}
		j.wants[p] = w
	}
	if !w.asks {
		w.asks = true
		j.asking = append(j.asking, w)
	}
	sender, alone := j.entry.Envelope.ReversePath.VERP(routing.Deliver)
	if !alone && !j.q.OneRecipient {
		for _, g := range w.groups {
			if g.route == routing.Route && g.sender == sender {
				g.recipients, g.paths = append(g.recipients, i), append(g.paths, routing.Deliver)
				return
			}
		}
	}
	w.groups = append(w.groups, &group{routing.Route, sender, []int{i}, []sqmail.Path{routing.Deliver}})
	j.waiting++
}

// launch asks for slots for what has been collected, and starts the attempts
// that get one.
func (j *job) launch(now time.Time) {
	for _, w := range j.asking {
		w.asks = false
		j.ask(w, now)
	}
	j.asking = j.asking[:0]
}

// ask starts attempts at one destination until there is no slot.
func (j *job) ask(w *want, now time.Time) {
	for len(w.groups) > 0 {
		slot := j.q.shaper.acquire(j.waiter, w.place, j.retries(w.groups[0]), now.Sub(j.entry.Arrived) < justNow)
		if slot == nil {
			return
		}
		j.use(w, slot, now)
	}
}

// use starts the next attempt at a destination.
func (j *job) use(w *want, s *slot, now time.Time) {
	g := w.groups[0]
	w.groups = w.groups[1:]
	j.waiting--
	if len(w.groups) == 0 {
		delete(j.wants, w.place)
	}
	j.attempt(g, s, now)
}

// retries says that none of a group's recipients is tried for the first time.
func (j *job) retries(g *group) bool {
	return !slices.ContainsFunc(g.recipients, func(i int) bool { return j.recipients[i].Attempts == 0 })
}

// resume uses the slots that have come free for the message since it stands in
// line. (When it is leased they are asked for like others.)
func (j *job) resume(now time.Time) {
	if len(j.wants) == 0 {
		return
	}
	for _, s := range j.q.shaper.granted(j.waiter) {
		w := j.wants[s.d.place]
		if w == nil {
			j.q.shaper.release(s, healthUnknown)
			continue
		}
		j.use(w, s, now)
		j.ask(w, now)
	}
}

// removeAsked settles the recipients that an administrator removes. One whose
// attempt is running has its turn when that has failed.
func (j *job) removeAsked(now time.Time) {
	if j.q.removing.Load() == 0 {
		return
	}
	j.newRemoval()
	if len(j.asked) == 0 {
		return
	}
	j.unwant()
	for _, i := range j.asked {
		if r := &j.recipients[i]; r.Status == Pending && !r.busy {
			a := Attempt{Recipient: i, Number: max(r.Attempts, 1), At: now, Status: Removed}
			j.note(a)
			j.announce(a)
			j.q.logRemoved(j.entry, i)
		}
	}
}

// unwant takes back all that waits for a slot.
func (j *job) unwant() {
	for p, w := range j.wants {
		for _, g := range w.groups {
			for _, i := range g.recipients {
				j.rest(&j.recipients[i])
			}
		}
		delete(j.wants, p)
	}
	j.waiting = 0
	j.q.shaper.forgo(j.waiter, func(place) bool { return false })
}

// expire fails the recipients that got no slot for their last attempt.
func (j *job) expire(now time.Time) {
	if len(j.wants) == 0 {
		return
	}
	j.unwant()
	for i := range j.recipients {
		if r := &j.recipients[i]; r.Status == Pending && !r.busy {
			j.settle(i, j.lastOutcome(i), now, now)
		}
	}
	j.idle = time.Time{}
}

// lastOutcome is the answer of a recipient's last attempt, if there was one.
func (j *job) lastOutcome(i int) sqmail.Outcome {
	if last := j.recipients[i].Last; last != nil {
		return last.Outcome
	}
	return sqmail.Outcome{Text: notTried}
}

const notTried = "The destination could not be tried: it does not answer, or it is too busy."

func (q *Queue) accountOf(env *sqmail.Envelope) (name string) {
	if q.Account == nil {
		return account(env)
	}
	defer q.recovered("account", func() { name = account(env) })
	return q.Account(env)
}
