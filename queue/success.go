package queue

import (
	"slices"
	"time"

	"github.com/sqmail/sqmail"
)

// A sender that asked for it (RFC 3461, 4.1) hears of deliveries when the
// attempt that made them has ended, however long the message's other
// recipients take. The journal is the memory of that: the delivery stands in
// it, durably, before the report is sent, and a line that says so follows the
// report. A crash between these two repeats the report, and no crash loses it.
//
// If nobody is waited for any more, what is owed stands in the message's last
// report, which takes the message's place.

// success is what the sender knows of a recipient's delivery.
type success uint8

const (
	successNone success = iota // it does not want to know, or there is none
	successOwed
	successTold
)

const toldText = "The sender was told of this delivery.\n"

// wantsSuccess says whether the sender is to hear of a delivery. Nothing goes
// to the null path (RFC 3461, 6.2), nor does a bounce that bounces.
func (j *job) wantsSuccess(i int) bool {
	env := &j.entry.Envelope
	asked := env.Recipients[i].Notify&(sqmail.NotifySuccess|sqmail.NotifyNever) == sqmail.NotifySuccess
	return asked && !env.ReversePath.IsNull() && env.ReversePath != doubleSender()
}

// noteOwed keeps the list of recipients whose delivery the sender has not
// heard of. An attempt with Notifies has nothing more to be told: the next hop
// does it, or we have.
func (j *job) noteOwed(a *Attempt) {
	switch {
	case a.Status != Delivered || !j.wantsSuccess(a.Recipient):
	case a.Outcome.Notifies:
		j.recipients[a.Recipient].success = successTold
	case j.recipients[a.Recipient].success == successNone:
		j.recipients[a.Recipient].success = successOwed
		j.owed = append(j.owed, a.Recipient)
	}
}

// stillOwed forgets those of the list that have been told of.
func (j *job) stillOwed() []int {
	j.owed = slices.DeleteFunc(j.owed, func(i int) bool { return j.recipients[i].success == successTold })
	return j.owed
}

// reportSuccess sends a report of the deliveries that the sender has not heard
// of, all of which are durable, while other recipients are still to come. It
// says whether there was one: then the journal has lines to be recorded.
func (j *job) reportSuccess() bool {
	if len(j.owed) == 0 || j.pending == 0 {
		return false
	}
	now, owed := time.Now(), j.stillOwed()
	if len(owed) == 0 || now.Before(j.owedAt) {
		return false
	}
	if err := j.q.injectReport(j, successReport, owed); err != nil {
		j.q.logTrouble("trouble injecting success report, will try later", j.entry.ID, err)
		j.owedAt = now.Add(bounceRetry)
		return false
	}
	for _, i := range owed {
		r := &j.recipients[i]
		done := sqmail.Outcome{Class: sqmail.Accepted, Text: toldText, Notifies: true}
		j.note(Attempt{Recipient: i, Number: r.Attempts, At: now, Status: Delivered, Outcome: done})
	}
	j.owed = nil
	return true
}
