package qmailspool

import (
	"crypto/sha256"
	"io"
	"strconv"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// Finished reports whether there is nothing left to do: nobody to try, and
// nobody to report. Such a message was about to be removed.
func (m *Message) Finished() bool {
	for _, r := range m.Recipients {
		if r.Status != Delivered {
			return false
		}
	}
	return true
}

// farthest is how far ahead a recipient can be due: qmail-send's schedule has
// no greater step. What is due later was set with a wrong clock.
const farthest = 24 * time.Hour

// Submission returns what a queue.Store has to know so that it goes on where
// qmail stopped, at the time now: recipients that are done are in the journal,
// those that failed with the report that their sender will get, those that
// were deferred with their next attempt; the message has the age that it had.
// It has no recipients if the message is Finished and had none left.
func (m *Message) Submission(now time.Time) queue.Submission {
	s := queue.Submission{
		Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf(m.Sender)},
		Arrived:  earlier(m.Born, now),
	}
	for i, r := range m.Recipients {
		s.Envelope.Recipients = append(s.Envelope.Recipients, sqmail.Recipient{Path: sqmail.PathOf(r.Address)})
		due := now
		if a := r.attempt(i, now); a != nil {
			s.Journal = append(s.Journal, *a)
			due = a.Due
		}
		if r.Status == Pending && (s.Due.IsZero() || due.Before(s.Due)) {
			s.Due = due
		}
	}
	if s.Due.IsZero() { // the bounce is due
		s.Due = now
	}
	return s
}

// attempt is what is known of the attempts at a recipient; nil if there is
// nothing that matters.
func (r *Recipient) attempt(index int, now time.Time) *queue.Attempt {
	a := &queue.Attempt{Recipient: index, Number: 1, At: now}
	switch {
	case r.Status == Delivered:
		a.Status, a.Outcome = queue.Delivered, sqmail.Outcome{Class: sqmail.Accepted, Text: "Done by qmail.\n"}
	case r.Status == Failed:
		a.Status, a.Outcome = queue.Failed, sqmail.Outcome{Class: sqmail.Rejection, Text: r.Report}
	case r.Due.After(now) && r.Due.Before(now.Add(farthest)):
		a.Due, a.Outcome = r.Due, sqmail.Outcome{Class: sqmail.Deferral, Text: "Deferred by qmail.\n"}
	default:
		return nil
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Identity returns what tells a message from all others, in all queues and for
// all time: its number, its sender and its octets, which begin with when and
// by which process it was taken. It reads the message. The recipients do not
// count: which of them are left changes.
func (m *Message) Identity() (string, error) {
	body, err := m.Open()
	if err != nil {
		return "", err
	}
	defer body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		return "", &EntryError{ID: m.ID, File: m.path, Err: err}
	}
	return "qmail\x00" + strconv.FormatUint(m.ID, 10) + "\x00" + m.Sender + "\x00" + string(sum.Sum(nil)), nil
}
