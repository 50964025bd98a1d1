package queue

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/sqmail/sqmail"
)

// Selection chooses messages: those for which all conditions hold that are
// set. If none is, it chooses nothing, unless All is true.
type Selection struct {
	All bool `json:"all,omitempty"`

	// IDs are the messages' numbers.
	IDs []ID `json:"ids,omitempty"`

	// Sender is the reverse-path, or with no Local everything in its Domain.
	Sender sqmail.Path `json:"sender,omitzero"`

	// Null chooses the messages with the null reverse-path.
	Null bool `json:"null,omitempty"`

	// Recipient is a pending recipient, or with no Local any in its Domain.
	Recipient sqmail.Path `json:"recipient,omitzero"`

	// Destination is where the Router sends a pending recipient now.
	Destination string `json:"destination,omitempty"`
}

func (s *Selection) empty() bool {
	return !s.All && len(s.IDs) == 0 && s.Sender == sqmail.Path{} && !s.Null && !s.byRecipient()
}

func (s *Selection) byRecipient() bool {
	return s.Recipient != sqmail.Path{} || s.Destination != ""
}

// matches says whether p is the wanted path, or in the wanted domain. The zero
// Path is any.
func matches(want, p sqmail.Path) bool {
	switch {
	case want == sqmail.Path{}:
		return true
	case want.Local == "":
		return lowerASCII(want.Domain) == lowerASCII(p.Domain)
	}
	return want.Equal(p)
}

// Select yields the messages that s chooses, and errors as [Store].Scan does.
func (q *Queue) Select(ctx context.Context, s Selection) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		if s.empty() {
			return
		}
		for e, err := range q.candidates(ctx, &s) {
			if err == nil && !q.chooses(ctx, &s, e) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// candidates reads no more messages than s needs.
func (q *Queue) candidates(ctx context.Context, s *Selection) iter.Seq2[*Entry, error] {
	if len(s.IDs) == 0 {
		return q.Store.Scan(ctx)
	}
	return func(yield func(*Entry, error) bool) {
		for _, id := range s.IDs {
			m, err := q.Store.Open(ctx, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			var e *Entry
			if err == nil {
				e = m.Entry
				m.Close()
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (q *Queue) chooses(ctx context.Context, s *Selection, e *Entry) bool {
	sender := e.Envelope.ReversePath
	if !matches(s.Sender, sender) || s.Null && !sender.IsNull() {
		return false
	}
	return !s.byRecipient() || len(q.chosen(ctx, s, e)) > 0
}

// chosen returns the pending recipients that s chooses.
func (q *Queue) chosen(ctx context.Context, s *Selection, e *Entry) (recipients []int) {
	for i, state := range e.States() {
		to := e.Envelope.Recipients[i].Path
		if state.Status != Pending || !matches(s.Recipient, to) {
			continue
		}
		if s.Destination != "" {
			routing, err := q.route(ctx, &e.Envelope, to)
			if err != nil || lowerASCII(routing.Route.Destination) != lowerASCII(s.Destination) {
				continue
			}
		}
		recipients = append(recipients, i)
	}
	return recipients
}

// each does something to the messages that s chooses. It goes on after
// errors, counts the successes, and returns the errors joined, the first ten.
// A message that has left the queue is no error.
func (q *Queue) each(ctx context.Context, s Selection, do func(*Entry) error) (n int, err error) {
	var errs []error
	for e, err := range q.Select(ctx, s) {
		if err == nil {
			err = do(e)
		}
		switch {
		case err == nil:
			n++
		case !errors.Is(err, ErrNotFound) && len(errs) < 10:
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// Scan yields the messages in the queue; see [Store].
func (q *Queue) Scan(ctx context.Context) iter.Seq2[*Entry, error] { return q.Store.Scan(ctx) }

// Open returns a message; see [Store].
func (q *Queue) Open(ctx context.Context, id ID) (*Message, error) { return q.Store.Open(ctx, id) }

// Stats counts what is in the queue.
func (q *Queue) Stats() Stats { return q.Store.Stats() }

// Hold keeps a message from being tried until Release. Attempts that are
// running go on. As long as a message is held, its lifetime does not end.
func (q *Queue) Hold(ctx context.Context, id ID) error { return q.Store.Hold(ctx, id) }

// HoldAll holds the messages that s chooses, and counts them.
func (q *Queue) HoldAll(ctx context.Context, s Selection) (int, error) {
	return q.each(ctx, s, func(e *Entry) error { return q.Hold(ctx, e.ID) })
}

// Release undoes Hold.
func (q *Queue) Release(ctx context.Context, id ID) error { return q.Store.Release(ctx, id) }

// ReleaseAll releases the messages that s chooses, and counts them.
func (q *Queue) ReleaseAll(ctx context.Context, s Selection) (int, error) {
	return q.each(ctx, s, func(e *Entry) error { return q.Release(ctx, e.ID) })
}

// Retry makes a message due at the given time, zero meaning now, but no later
// than its lifetime ends. In the case of now the destinations of its recipients
// that did not answer are given another chance. Attempts that are running go on.
func (q *Queue) Retry(ctx context.Context, id ID, at time.Time) error {
	m, err := q.Store.Open(ctx, id)
	if err != nil {
		return err
	}
	defer m.Close()
	return q.retry(ctx, m.Entry, at)
}

// RetryAll does so with the messages that s chooses, and counts them.
func (q *Queue) RetryAll(ctx context.Context, s Selection, at time.Time) (int, error) {
	return q.each(ctx, s, func(e *Entry) error { return q.retry(ctx, e, at) })
}

func (q *Queue) retry(ctx context.Context, e *Entry, at time.Time) error {
	q.init()
	if at.IsZero() {
		for i, state := range e.States() {
			if state.Status == Pending {
				r := q.routing(&e.Envelope, i).Route
				q.shaper.revive(place{r.Channel, r.Destination})
			}
		}
	}
	return q.Store.Retry(ctx, e.ID, earliest(at, q.expiry(e)))
}

// Remove deletes a message. Nobody is told, not even of recipients that have
// failed already. Attempts that are running are cancelled; what they have
// handed over by then is delivered.
func (q *Queue) Remove(ctx context.Context, id ID) error {
	q.init()
	if err := q.Store.Remove(ctx, id); err != nil {
		return err
	}
	q.log(slog.LevelInfo, "removed msg", idAttr(id))
	q.dropped(id)
	return nil
}

// RemoveAll removes the messages that s chooses, and counts them.
//
// If s names a recipient or a destination, only the pending recipients it
// chooses are removed, and the messages stay for the others. For that the
// Queue must be running, a message that is held must have been released, and
// RemoveAll waits for the attempts that are running.
func (q *Queue) RemoveAll(ctx context.Context, s Selection) (int, error) {
	if !s.byRecipient() {
		return q.each(ctx, s, func(e *Entry) error { return q.Remove(ctx, e.ID) })
	}
	q.init()
	var partly []*removal
	n, err := q.each(ctx, s, func(e *Entry) error {
		recipients := q.chosen(ctx, &s, e)
		if len(recipients) == len(e.Envelope.Recipients) {
			return q.Remove(ctx, e.ID)
		}
		r, err := q.removeLater(ctx, e, recipients)
		if err == nil {
			partly = append(partly, r)
		}
		return err
	})
	for _, r := range partly {
		select {
		case <-r.done:
		case <-q.life.ended:
			return n, errors.Join(err, errNotRunning)
		case <-ctx.Done():
			return n, errors.Join(err, ctx.Err())
		}
	}
	return n, err
}

// removal is what an administrator asked to remove of a message. The job that
// has the message next does it.
type removal struct {
	recipients []int
	done       chan struct{}
}

var (
	errHeld       = errors.New("queue: the message is held")
	errNotRunning = errors.New("queue: not running")
)

func (q *Queue) removeLater(ctx context.Context, e *Entry, recipients []int) (*removal, error) {
	switch {
	case e.Held:
		return nil, errHeld
	case !q.life.runs():
		return nil, errNotRunning
	}
	q.mu.Lock()
	r := q.removals[e.ID]
	if r == nil {
		r = &removal{done: make(chan struct{})}
		q.removals[e.ID] = r
		q.removing.Add(1)
	}
	r.recipients = append(slices.Clone(r.recipients), recipients...)
	j := q.jobs[e.ID]
	q.mu.Unlock()
	if j != nil {
		tell(j.ready)
	}
	return r, q.Store.Retry(ctx, e.ID, time.Time{})
}
