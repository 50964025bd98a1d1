package queue

import "time"

// enter makes a job known, so that an administrator can reach it, and returns
// what is known of its message. If that is not to be touched yet, enter only
// says when it is: the store failed with it, or another job has it still, one
// that has lost its lease and is about to tell what it knows.
func (q *Queue) enter(j *job) (t *trouble, again time.Time) {
	id := j.entry.ID
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.jobs[id] != nil {
		return nil, now.Add(time.Second)
	}
	t = q.troubles[id]
	if t != nil && now.Before(t.until) {
		return nil, t.until
	}
	q.jobs[id] = j
	j.removal = q.removals[id]
	return t, time.Time{}
}

// leave undoes enter.
func (q *Queue) leave(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.jobs, j.entry.ID)
}

// dropped stops the work on a message that has been removed.
func (q *Queue) dropped(id ID) {
	q.mu.Lock()
	j := q.jobs[id]
	q.endRemoval(id)
	delete(q.troubles, id)
	q.mu.Unlock()
	if j != nil {
		j.dropped.Store(true)
		tell(j.ready)
	}
}

// endRemoval ends the wait for the removal of recipients. q.mu is held.
func (q *Queue) endRemoval(id ID) {
	if r := q.removals[id]; r != nil {
		delete(q.removals, id)
		q.removing.Add(-1)
		close(r.done)
	}
}

// newRemoval looks for recipients that are to be removed from the job's
// message by now.
func (j *job) newRemoval() {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	j.removal = j.q.removals[j.entry.ID]
	if j.removal != nil {
		j.asked = j.removal.recipients
	}
}

// removed says, when the store has taken the message's state, that the
// removal is done, if it is.
func (j *job) removed() {
	if j.removal == nil {
		return
	}
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	r := j.q.removals[j.entry.ID]
	if r == nil {
		return
	}
	for _, i := range r.recipients {
		if j.recipients[i].Status == Pending {
			return
		}
	}
	j.q.endRemoval(j.entry.ID)
}
