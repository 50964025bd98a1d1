package queue

// enter makes a job known, so that an administrator can reach it, and tells
// it what is known of its message.
func (q *Queue) enter(j *job) (t *trouble) {
	id := j.entry.ID
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs[id] = j
	j.removal = q.removals[id]
	return q.troubles[id]
}

// leave undoes enter.
func (q *Queue) leave(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if id := j.entry.ID; q.jobs[id] == j {
		delete(q.jobs, id)
	}
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
		j.waiter.tell()
	}
}

// endRemoval ends the wait for the removal of recipients. q.mu is held.
func (q *Queue) endRemoval(id ID) {
	if r := q.removals[id]; r != nil {
		delete(q.removals, id)
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
