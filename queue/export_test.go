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
