package queue

// SetMaxWaiting sets how many messages stand in lines.
func (q *Queue) SetMaxWaiting(n int) {
	q.init()
	q.shaper.maxWaiting = n
}

// Waiting returns how many messages stand in lines.
func (q *Queue) Waiting() int {
	q.shaper.mu.Lock()
	defer q.shaper.mu.Unlock()
	return len(q.shaper.waiters)
}

// Remembered returns how much the Queue keeps of messages besides what the
// Store has: nothing, when none is being worked on.
func (q *Queue) Remembered() int {
	q.mu.Lock()
	n := len(q.jobs) + len(q.troubles) + len(q.removals)
	q.mu.Unlock()
	n += int(q.removing.Load() + q.lingering.Load() + q.commits.running.Load())
	s := q.shaper
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.destinations {
		n += d.taken + d.waiting()
	}
	for _, ch := range s.channels {
		n += sum(ch.used) + sum(ch.quiet) + len(ch.talking) + len(ch.newBy)
	}
	return n + len(s.waiters) + len(s.coming)
}
