package queue

import (
	"time"

	"github.com/sqmail/sqmail"
)

const defaultDelay = 4 * time.Hour

// delayAt returns when a recipient's sender is to hear that it is delayed;
// zero if never (RFC 3461, 4.1: only who asked for it, and not the null path).
func (j *job) delayAt(i int) time.Time {
	env := &j.entry.Envelope
	after := orDefault(j.q.bounces.Load().Delay, defaultDelay)
	asked := env.Recipients[i].Notify&(sqmail.NotifyDelay|sqmail.NotifyNever) == sqmail.NotifyDelay
	if !asked || after < 0 || env.ReversePath.IsNull() {
		return time.Time{}
	}
	if at := j.entry.Arrived.Add(after); at.Before(j.expiry) {
		return at
	}
	return time.Time{}
}

// overdue says whether the recipient is delayed, seen at a time. A recipient
// with an attempt in the journal for which this holds has been reported: the
// journal is the memory of that.
func (j *job) overdue(i int, at time.Time) bool {
	d := j.delayAt(i)
	return !d.IsZero() && !at.Before(d)
}

// untilDelay returns when a parked message is to be looked at for the sake of
// a report of delay.
func (j *job) untilDelay(now time.Time) time.Time {
	at := j.expiry
	if !j.asksDelay {
		return at
	}
	for i := range j.recipients {
		if d := j.delayAt(i); j.recipients[i].Status == Pending && now.Before(d) {
			at = earliest(at, d)
		}
	}
	return at
}

// noteDelay makes a line in the journal for recipients that wait for a slot
// when they are reported as delayed.
func (j *job) noteDelay(now time.Time) {
	if !j.asksDelay {
		return
	}
	for _, w := range j.wants {
		for _, g := range w.groups {
			for _, i := range g.recipients {
				r := &j.recipients[i]
				if r.warned || !j.overdue(i, now) || j.overdue(i, r.told) {
					continue
				}
				j.note(Attempt{Recipient: i, Number: max(r.Attempts, 1), At: now, Due: now, Outcome: j.lastOutcome(i)})
			}
		}
	}
}

// reportDelay sends a report if recipients have become overdue. It does so
// before that stands in the journal: a crash in between repeats the report. If
// it fails, the journal is kept from showing it.
func (j *job) reportDelay() {
	if !j.asksDelay {
		return
	}
	var delayed []int
	for i := range j.recipients {
		if r := &j.recipients[i]; r.Status == Pending && !r.warned && j.overdue(i, r.told) {
			delayed = append(delayed, i)
		}
	}
	if len(delayed) == 0 {
		return
	}
	err := j.q.injectReport(j, delayReport, delayed)
	if err != nil {
		j.q.logTrouble("trouble injecting delay report, will try later", j.entry.ID, err)
	}
	for _, i := range delayed {
		if j.recipients[i].warned = err == nil; err != nil {
			j.denyDelay(i)
		}
	}
}

// denyDelay dates the recipient's new attempts back to before the delay.
func (j *job) denyDelay(i int) {
	before := j.delayAt(i).Add(-time.Second)
	soon := time.Now().Add(bounceRetry)
	r := &j.recipients[i]
	r.told, r.Due = before, earliest(r.Due, soon)
	if !r.busy {
		j.rest(r)
	}
	for k := range j.fresh {
		if a := &j.fresh[k]; a.Recipient == i && a.Status == Pending {
			a.At, a.Due = earliest(a.At, before), earliest(a.Due, soon)
		}
	}
}
