package queue

import "time"

// trouble is what is remembered of a message whose state the store did not
// take: outcomes, so that nothing is delivered twice while this process lives,
// and when to bother the store with it again.
type trouble struct {
	attempts []Attempt
	reported bool // its report has been sent
	pause    time.Duration
	until    time.Time
}

const (
	maxTroubles  = 100_000
	manyTroubles = 16 // so many at a time are the store's fault, not a message's
)

// troubled notes that the store failed with a message.
func (q *Queue) troubled(j *job) {
	id := j.entry.ID
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.troubles[id]
	if t == nil {
		if len(q.troubles) >= maxTroubles {
			return
		}
		t = &trouble{}
		q.troubles[id] = t
	}
	t.attempts, t.reported = j.fresh, j.reported
	t.pause = min(max(2*t.pause, time.Second), time.Minute)
	t.until = time.Now().Add(t.pause)
	if len(q.troubles) >= manyTroubles {
		q.brake.hit()
	}
}

// untroubled forgets a message: the store took its state.
func (q *Queue) untroubled(id ID) {
	q.forget(id)
	q.brake.free()
}

// forget forgets a message.
func (q *Queue) forget(id ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.troubles, id)
}
