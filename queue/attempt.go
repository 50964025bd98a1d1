package queue

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

var (
	errStalled   = errors.New("queue: the attempt took too long")
	errAbandoned = errors.New("queue: the attempt was abandoned")
)

// attempt is one call of the Deliverer.
type attempt struct {
	job     *job
	group   *group
	slot    *slot
	message *sqmail.Message
	content *content
	started time.Time
	number  uint64 // the delivery number of its first recipient

	cancel    context.CancelCauseFunc
	deadline  time.Time // when it is cancelled, and then: abandoned
	cancelled bool
	stopped   bool          // because the Queue stops
	gone      chan struct{} // closed when nobody waits for it any more

	outcomes []sqmail.Outcome // when it is over
	err      error
}

// result is what the Deliverer returned.
type result struct {
	attempt  *attempt
	outcomes []sqmail.Outcome
	err      error
}

// attempt starts an attempt in a goroutine of its own. It reports to
// j.results.
func (j *job) attempt(g *group, s *slot, now time.Time) {
	if j.results == nil {
		j.results = make(chan result)
	}
	n := uint64(len(g.recipients))
	var a *attempt
	defer func() {
		if a == nil { // the store panicked
			j.q.shaper.release(s, healthUnknown)
		}
	}()
	a = &attempt{
		job: j, group: g, slot: s, started: now,
		content:  &content{from: j.lease.Content()},
		number:   j.q.number.Add(n) - n + 1,
		deadline: j.deadline(now),
		gone:     make(chan struct{}),
	}
	a.message = j.message(g, a.content)
	a.message.Progress = s.hear
	ctx, cancel := context.WithCancelCause(j.q.life.attempts)
	a.cancel = cancel
	j.running = append(j.running, a)
	j.q.logStarting(a)
	s.hear() // it may have been kept for a while
	go a.run(ctx)
}

// deadline returns when an attempt that starts now is cancelled. What is left
// of the minute after the message's lifetime is for the settlement.
func (j *job) deadline(now time.Time) time.Time {
	limit := now.Add(orDefault(j.q.AttemptTimeout, defaultAttemptTimeout))
	over := j.expiry
	if over.Before(now) {
		over = now // released late, or it waited while the queue was down
	}
	return earliest(limit, over.Add(overtime))
}

// message is what the Deliverer is given.
func (j *job) message(g *group, c *content) *sqmail.Message {
	m := &sqmail.Message{
		ID:       j.entry.ID.String(),
		Envelope: j.entry.Envelope,
		Route:    g.route,
		Content:  c,
		Size:     j.entry.Size,
		Arrived:  j.entry.Arrived,
	}
	m.Envelope.ReversePath = g.sender
	m.Envelope.Recipients = make([]sqmail.Recipient, len(g.recipients))
	for k, i := range g.recipients {
		m.Envelope.Recipients[k] = j.entry.Envelope.Recipients[i]
		m.Envelope.Recipients[k].Path = g.paths[k]
		m.Attempt = max(m.Attempt, j.recipients[i].Attempts+1)
	}
	return m
}

func (a *attempt) run(ctx context.Context) {
	q := a.job.q
	outcomes, err := q.deliver(ctx, a.message)
	h := healthOf(outcomes)
	if cause := context.Cause(ctx); cause != nil && cause != errStalled {
		h = healthUnknown // we cut it short
		if cause == errStopped && !settlesAll(outcomes, len(a.group.recipients)) {
			q.life.cutOff.Store(true)
		}
	}
	if a.content.close() {
		q.shaper.release(a.slot, h)
	}
	select {
	case a.job.results <- result{a, outcomes, err}:
	case <-a.gone: // then a is not ours to change
	}
}

// settlesAll says whether an attempt came to its end for all recipients.
func settlesAll(outcomes []sqmail.Outcome, recipients int) bool {
	settled := 0
	for i := range outcomes {
		if outcomes[i].Class != sqmail.Deferral {
			settled++
		}
	}
	return settled >= recipients
}

func (q *Queue) deliver(ctx context.Context, m *sqmail.Message) (outcomes []sqmail.Outcome, err error) {
	defer q.recoverTo(&err, "deliverer")
	return q.Deliverer.Deliver(ctx, m)
}

// stop cancels an attempt, which then has some seconds to return.
func (a *attempt) stop(now time.Time, cause error) {
	a.cancelled, a.stopped = true, cause == errStopped
	a.deadline = now.Add(grace)
	a.cancel(cause)
}

// abandon goes on without an attempt: its slot is freed, and it cannot read
// the message any more. What it returns is ignored.
func (a *attempt) abandon() {
	h := healthDead
	if a.stopped {
		h = healthUnknown
		a.job.q.life.cutOff.Store(true)
	}
	if a.content.close() {
		a.job.q.shaper.release(a.slot, h)
	}
	close(a.gone)
	a.outcomes, a.err = nil, errAbandoned
}

// content is the message as an attempt reads it, until the attempt is over:
// the store's content is not to be used after the lease.
type content struct {
	mu   sync.RWMutex
	from io.ReaderAt // nil when it is over
}

func (c *content) ReadAt(p []byte, off int64) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.from == nil {
		return 0, errAbandoned
	}
	return c.from.ReadAt(p, off)
}

// close ends reading. It says whether it was open: then the caller is the one
// that ends the attempt.
func (c *content) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.from != nil
	c.from = nil
	return was
}
