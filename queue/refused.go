package queue

import "time"

// There are no more than maxWaiting messages in all lines, so that memory does
// not grow with the queue. What a line refuses is parked under a key of its
// destination, and called in groups when the line has become short: nobody
// asks again and again.

// refusedKey is what messages are parked under that its line has refused.
func (d *destination) refusedKey() string { return d.channel + "/" + d.name }

// admit has refused messages called if there is room for them, and the last
// ones that were called have come.
func (s *shaper) admit(d *destination, now time.Time) {
	late := d.coming > 0 && now.Sub(d.called) < comeForSlot
	if !d.refused || (d.waiting() >= fewWaiting/2 || late) && !s.closed {
		return
	}
	d.refused = false // until we know better
	d.called = now
	s.toAdmit = append(s.toAdmit, d)
}

// wakeRefused unlocks s for a while.
func (s *shaper) wakeRefused() {
	admit := s.toAdmit
	s.toAdmit = nil
	for _, d := range admit {
		n := fewWaiting + min(max(s.maxWaiting-len(s.waiters), 0), manyComing)
		d.coming = n
		if s.closed {
			n = -1
		}
		s.mu.Unlock()
		woken := s.wake(d.refusedKey(), n)
		s.mu.Lock()
		d.coming = max(d.coming-n+woken, 0)
		d.refused = d.refused || woken == n
	}
}

// parkingKey is what a message is parked under.
func (w *waiter) parkingKey() string {
	if w.refusedBy != nil && !w.listed {
		return w.refusedBy.refusedKey()
	}
	return w.key
}
