package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
)

const (
	tooLong  = "I'm not going to try again; this message has been in the queue too long.\n"
	cutShort = "\nError report too long, sorry.\n"

	maxText  = 10_000 // octets of an outcome's text that are kept
	maxWhere = 512
	maxReply = 2_000
)

// take records the outcomes of an attempt that has ended.
func (j *job) take(a *attempt) {
	j.running = slices.DeleteFunc(j.running, func(b *attempt) bool { return a == b })
	a.cancel(nil)
	now := time.Now()
	for k, o := range a.perRecipient() {
		i := a.group.recipients[k]
		j.settle(i, o, a.started, now)
		j.rest(&j.recipients[i])
		j.q.logOutcome(a, k, &j.fresh[len(j.fresh)-1], now)
	}
}

// perRecipient gives each recipient of an attempt one outcome. Where there
// are several for one, a success counts, else the first. Where there is none
// the error's class does.
func (a *attempt) perRecipient() []sqmail.Outcome {
	outcomes := make([]sqmail.Outcome, len(a.group.recipients))
	seen := make([]bool, len(outcomes))
	for _, o := range a.outcomes {
		if k := o.Recipient; k < 0 || k >= len(outcomes) || seen[k] && o.Class != sqmail.Accepted {
			continue
		}
		outcomes[o.Recipient], seen[o.Recipient] = bounded(o), true
	}
	missing := sqmail.Outcome{Text: "The delivery agent gave no answer."}
	if a.err != nil {
		missing.Class = sqmail.ClassOf(a.err)
		missing.Text = sqmail.ReplyFor(a.err).String() // the cause is for the log alone
	}
	for k := range outcomes {
		if !seen[k] {
			outcomes[k] = missing
		}
	}
	return outcomes
}

// bounded cuts what an agent says to a size that is worth keeping, and makes
// a deferral of a class that it made up.
func bounded(o sqmail.Outcome) sqmail.Outcome {
	if o.Class != sqmail.Accepted && o.Class != sqmail.Rejection {
		o.Class = sqmail.Deferral
	}
	if len(o.Text) > maxText {
		o.Text = o.Text[:maxText-len(cutShort)] + cutShort
	}
	o.Where = o.Where[:min(len(o.Where), maxWhere)]
	o.Reply.Text = o.Reply.Text[:min(len(o.Reply.Text), maxReply)]
	return o
}

// settle gives a recipient its new state, and notes the attempt for the
// journal.
func (j *job) settle(i int, o sqmail.Outcome, started, now time.Time) {
	r := &j.recipients[i]
	a := Attempt{Recipient: i, Number: r.Attempts + 1, At: now, Outcome: o}
	a.Outcome.Recipient = 0
	switch {
	case o.Class == sqmail.Accepted:
		a.Status = Delivered
	case o.Class == sqmail.Rejection:
		a.Status = Failed
	case !now.Before(j.expiry):
		a.Status = Failed
		a.Outcome.Text = withTooLong(o)
	default:
		a.Due = j.next(i, started, now)
	}
	j.note(a)
	j.announce(a)
}

// withTooLong is the text of an outcome with the sentence that qmail adds.
func withTooLong(o sqmail.Outcome) string {
	text := reason(&o)
	if strings.HasSuffix(text, tooLong) {
		return text
	}
	return text + tooLong
}

// reason is what a report says of an outcome, ended by LF.
func reason(o *sqmail.Outcome) string {
	text := o.Text
	if strings.Trim(text, "\n") == "" && o.Reply.Code != 0 {
		text = o.Reply.String()
	}
	if strings.Trim(text, "\n") == "" {
		text = "No reason was given."
		if o.Class == sqmail.Accepted {
			text = "Delivered."
		}
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

func (j *job) note(a Attempt) {
	j.fresh = append(j.fresh, a)
	j.apply(&a)
}

// next returns when a deferred recipient is due again.
func (j *job) next(i int, started, now time.Time) time.Time {
	r := &j.recipients[i]
	at := j.q.scheduled(r.channel, j.entry.Arrived, started, r.Attempts+1)
	if soonest := now.Add(time.Second); at.Before(soonest) {
		at = soonest
	}
	if d := j.delayAt(i); !d.IsZero() && now.Before(d) {
		at = earliest(at, d)
	}
	return earliest(at, j.expiry)
}

// scheduled asks the Schedule; one that panics is none.
func (q *Queue) scheduled(channel string, arrived, started time.Time, attempts int) (at time.Time) {
	if q.Schedule == nil {
		return Quadratic{}.Next(channel, arrived, started, attempts)
	}
	defer q.recovered("schedule", func() { at = Quadratic{}.Next(channel, arrived, started, attempts) })
	return q.Schedule.Next(channel, arrived, started, attempts)
}

// finish ends the lease.
func (j *job) finish() {
	defer j.ended()
	j.tell()
	now := time.Now()
	switch {
	case j.lost:
		j.fenced()
	case j.pending > 0:
		j.giveBack(now)
	default:
		j.close()
	}
}

// giveBack ends the lease of a message that is not settled: it is parked if
// it waits for a slot, else it is due when the next recipient is.
func (j *job) giveBack(now time.Time) {
	defer j.ended()
	j.noteDelay(now)
	j.reportDelay()
	waits := len(j.wants) > 0 && !j.q.life.stopped()
	if waits || len(j.stillOwed()) > 0 {
		j.checkpoint()
		if j.lost {
			j.fenced()
			return
		}
		if waits && len(j.fresh) == 0 {
			j.park(now)
			return
		}
	}
	j.q.shaper.end(j.waiter)
	err := j.lease.Retry(context.Background(), j.fresh, j.againAt(j.firstDue()))
	j.store("giving a message back", err)
}

// againAt is the given time, or an earlier one if a report is owed.
func (j *job) againAt(t time.Time) time.Time {
	if len(j.stillOwed()) == 0 {
		return t
	}
	return earliest(t, time.Now().Add(bounceRetry))
}

// park hands the message over to the line that it stands in.
func (j *job) park(now time.Time) {
	until := now.Add(parkTime + time.Duration(j.entry.ID%1000)*parkTime/1000) // not all at once
	if j.waiter.refusedBy != nil && j.waiter.listed {                         // it waits elsewhere
		until = now.Add(refusedTime)
	}
	if !j.idle.IsZero() {
		until = earliest(until, j.idle)
	}
	err := j.lease.Park(j.waiter.parkingKey(), j.againAt(earliest(until, j.untilDelay(now))))
	if !j.store("parking a message", err) {
		j.q.shaper.end(j.waiter)
		return
	}
	j.ended() // before somebody wakes it
	j.q.shaper.parked(j.waiter)
}

// close ends the lease of a message whose recipients are all settled: it is
// reported to the sender, if need be, and leaves the queue.
func (j *job) close() {
	j.q.shaper.end(j.waiter)
	r := j.q.report(j)
	if r == nil || j.reported {
		j.remove()
		return
	}
	if j.checkpoint(); !j.lost {
		j.extend(time.Now())
	}
	if j.lost {
		j.fenced()
		return
	}
	removed, err := j.q.inject(r)
	switch {
	case err != nil:
		j.q.logTrouble("trouble injecting bounce message, will try later", j.entry.ID, err)
		err = j.lease.Retry(context.Background(), j.fresh, time.Now().Add(bounceRetry))
		j.store("giving a message back", err)
	case removed:
		j.eased()
		j.q.logEnd(j.entry)
	default:
		j.reported = true
		j.remove()
	}
}

func (j *job) remove() {
	err := j.lease.Done(context.Background(), j.fresh)
	if j.store("removing a message", err) {
		j.q.logEnd(j.entry)
	}
}

// store looks at how the lease's end went. What the store did not take is
// kept for when the message is leased again.
func (j *job) store(doing string, err error) bool {
	switch {
	case err == nil:
		j.eased()
		return true
	case j.noteLost(err):
		j.fenced()
	default:
		j.remember()
		j.q.logTrouble("trouble "+doing, j.entry.ID, err)
	}
	return false
}

// fenced ends the work on a message that is not ours any more. If it is still
// in the queue, what we know of it is kept, as we may get it again.
func (j *job) fenced() {
	j.q.shaper.end(j.waiter)
	j.q.logLost(j.entry)
	if len(j.fresh) > 0 || j.reported {
		j.remember()
	}
}

// remember keeps what the store does not have, unless the message has left
// the queue: what ends with an error may have been done nevertheless.
func (j *job) remember() {
	m, err := j.q.Store.Open(context.Background(), j.entry.ID)
	switch {
	case err == nil:
		m.Close()
	case errors.Is(err, ErrNotFound):
		j.q.forget(j.entry.ID)
		return
	}
	j.q.troubled(j)
}
