package queue

import (
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
type want struct{ groups []*group }

// start starts the attempts that are due and get a slot. What is due and gets
// none waits, unless the message's time is up.
func (j *job) start(now time.Time) {
	if j.lost || j.q.life.stopped() {
		return
	}
	last := !now.Before(j.expiry)
	j.removeAsked(now)
	j.collect(now, last)
	j.launch(now)
	if last {
		j.expire(now)
	}
}

// collect routes the recipients that are due, and puts them into groups.
func (j *job) collect(now time.Time, last bool) {
	env := &j.entry.Envelope
	for i := range j.recipients {
		r := &j.recipients[i]
		if r.Status != Pending || r.busy || !last && r.Due.After(now) {
			continue
		}
		routing, err := j.q.route(j.q.life.attempts, env, env.Recipients[i].Path)
		if err != nil {
			j.q.logRouting(j.entry, i, err)
			reply := sqmail.ReplyFor(err)
			j.settle(i, sqmail.Outcome{Class: sqmail.ClassOf(err), Text: reply.String()}, now, now)
			continue
		}
		r.busy, r.channel = true, routing.Route.Channel
		j.want(i, routing)
	}
}

// removeAsked settles the recipients that an administrator removes. One whose
// attempt is running has its turn when that has failed.
func (j *job) removeAsked(now time.Time) {
	j.newRemoval()
	if len(j.asked) == 0 {
		return
	}
	j.unwant()
	for _, i := range j.asked {
		if r := &j.recipients[i]; r.Status == Pending && !r.busy {
			j.note(Attempt{Recipient: i, Number: max(r.Attempts, 1), At: now, Status: Removed})
			j.q.logRemoved(j.entry, i)
		}
	}
}

// unwant takes back all that waits for a slot, to be collected anew.
func (j *job) unwant() {
	for p, w := range j.wants {
		for _, g := range w.groups {
			for _, i := range g.recipients {
				j.recipients[i].busy = false
			}
		}
		delete(j.wants, p)
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
		w = &want{}
		j.wants[p] = w
	}
	sender, alone := verp(j.entry.Envelope.ReversePath, routing.Deliver)
	if !alone && !j.q.OneRecipient {
		for _, g := range w.groups {
			if g.route == routing.Route && g.sender == sender {
				g.recipients, g.paths = append(g.recipients, i), append(g.paths, routing.Deliver)
				return
			}
		}
	}
	w.groups = append(w.groups, &group{routing.Route, sender, []int{i}, []sqmail.Path{routing.Deliver}})
}

// launch starts the attempts that get a slot.
func (j *job) launch(now time.Time) {
	for p, w := range j.wants {
		for len(w.groups) > 0 {
			g := w.groups[0]
			slot := j.slot(p, g)
			if slot == nil {
				break
			}
			w.groups = w.groups[1:]
			j.attempt(g, slot, now)
		}
		if len(w.groups) == 0 {
			delete(j.wants, p)
		}
	}
	j.q.shaper.forgo(j.waiter, func(p place) bool { return j.wants[p] != nil })
}

func (j *job) slot(p place, g *group) *slot {
	if j.waiter.account == "" && !j.waiter.listed {
		j.waiter.account = j.q.accountOf(&j.entry.Envelope)
	}
	retry := !slices.ContainsFunc(g.recipients, func(i int) bool { return j.recipients[i].Attempts == 0 })
	return j.q.shaper.acquire(j.waiter, p, retry)
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
	j.q.shaper.forgo(j.waiter, func(place) bool { return false })
}

// lastOutcome is the answer of a recipient's last attempt, if there was one.
func (j *job) lastOutcome(i int) sqmail.Outcome {
	if last := j.recipients[i].Last; last != nil {
		return last.Outcome
	}
	return sqmail.Outcome{Text: notTried}
}

const notTried = "The destination could not be tried: it does not answer, or it is too busy."

func (q *Queue) accountOf(env *sqmail.Envelope) string {
	if q.Account == nil {
		return account(env)
	}
	return q.Account(env)
}
