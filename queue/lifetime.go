package queue

import (
	"context"
	"errors"
	"time"
)

// SetLifetime changes the lifetime of messages; 0 means seven days. If it
// becomes shorter, the messages that wait for a time beyond it are looked for,
// and due when it ends; so they are when Run begins, for it may have become
// shorter since the Queue before. If it becomes longer, that holds for a message
// from its next attempt on.
func (q *Queue) SetLifetime(d time.Duration) {
	q.init()
	d = orDefault(d, defaultLifetime)
	if old := q.lifetime.Swap(int64(d)); int64(d) < old {
		tell(q.shortened)
	}
}

// expiry returns when a message's lifetime ends.
func (q *Queue) expiry(e *Entry) time.Time {
	return e.Arrived.Add(time.Duration(q.lifetime.Load()))
}

// follow has messages keep to a lifetime that has become shorter, until ctx
// ends.
func (q *Queue) follow(ctx context.Context) {
	for {
		select {
		case <-q.shortened:
			q.tellJobs()
			q.shorten(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// tellJobs has the jobs look at the lifetime.
func (q *Queue) tellJobs() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		tell(j.ready)
	}
}

// shorten makes what waits for a time beyond its lifetime due when that ends.
// What is parked looks for itself how long it may stay; it keeps its turn.
func (q *Queue) shorten(ctx context.Context) {
	for e, err := range q.Store.Scan(ctx) {
		if err != nil || e.Held || e.Leased {
			continue
		}
		at := q.expiry(e)
		if !e.Due.After(at) {
			continue
		}
		if e.Parked != "" {
			at = time.Time{}
		}
		if err := q.Store.Retry(ctx, e.ID, at); err != nil && ctx.Err() == nil && !errors.Is(err, ErrNotFound) {
			q.logTrouble("trouble shortening a message's time", e.ID, err)
		}
	}
}

// shorten does so for a message with running attempts.
func (j *job) shorten(now time.Time) {
	expiry := j.q.expiry(j.entry)
	if !expiry.Before(j.expiry) {
		return
	}
	j.expiry = expiry
	for _, a := range j.running {
		if !a.cancelled {
			a.deadline = earliest(a.deadline, j.deadline(now))
		}
	}
}
