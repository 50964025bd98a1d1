package queue

import "time"

// waiter is a message that wants slots. While its lease is held, held is
// true, and ready is told of slots; else it is parked under key.
type waiter struct {
	id      ID
	account string // set before it is listed

	// The holder of the lease alone uses these.
	key       string
	listed    bool         // the shaper may know it
	refusedBy *destination // its line was full

	// The shaper's lock guards these.
	held  bool
	ready chan struct{}
	spots map[*destination]spot
	slots []*slot // kept for it
}

func (w *waiter) leave(d *destination) {
	if s, ok := w.spots[d]; ok {
		s.remove()
		delete(w.spots, d)
	}
}

// begin returns the waiter of a message that has just been leased. It tells
// ready of slots.
func (s *shaper) begin(id ID, ready chan struct{}) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiters[id]
	if w == nil {
		return &waiter{id: id, held: true, ready: ready}
	}
	delete(s.coming, w)
	w.held, w.refusedBy, w.ready = true, nil, ready
	return w
}

// kept takes the slot that is kept for w at d.
func (w *waiter) kept(d *destination) *slot {
	for i, sl := range w.slots {
		if sl.d == d {
			w.slots = append(w.slots[:i], w.slots[i+1:]...)
			return sl
		}
	}
	return nil
}

// granted takes the slots that are kept for w.
func (s *shaper) granted(w *waiter) []*slot {
	if !w.listed {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slots := w.slots
	w.slots = nil
	return slots
}

// drop takes a waiter out of all lines and gives its slots back.
func (s *shaper) drop(w *waiter) {
	now := time.Now()
	for d := range w.spots {
		w.leave(d)
		s.rearrange(d, now)
	}
	slots := w.slots
	w.slots = nil
	for _, sl := range slots {
		s.giveBack(sl, now)
	}
	delete(s.coming, w)
	if s.waiters[w.id] == w {
		delete(s.waiters, w.id)
	}
	for _, sl := range slots {
		s.serve(sl.d.ch, now)
	}
}

// parked is called when a message has been parked under its key: a slot that
// it got in the meantime wakes it.
func (s *shaper) parked(w *waiter) {
	s.mu.Lock()
	w.held = false
	if len(w.slots) > 0 || s.closed {
		s.call(w)
	}
	if d := w.refusedBy; d != nil && !w.listed {
		d.refused = true
		s.admit(d, time.Now())
	}
	s.unlockAndWake()
}

// end is called when a message's lease has ended in another way.
func (s *shaper) end(w *waiter) {
	if !w.listed {
		return
	}
	s.mu.Lock()
	w.held = false
	s.drop(w)
	s.unlockAndWake()
}

// forgo gives up a message's places and slots at destinations that it does
// not want any more.
func (s *shaper) forgo(w *waiter, wanted func(place) bool) {
	if !w.listed {
		return
	}
	s.mu.Lock()
	now := time.Now()
	for d := range w.spots {
		if !wanted(d.place) {
			w.leave(d)
			s.rearrange(d, now)
		}
	}
	slots := w.slots
	w.slots = nil
	var unwanted []*slot
	for _, sl := range slots {
		if wanted(sl.d.place) {
			w.slots = append(w.slots, sl)
		} else {
			unwanted = append(unwanted, sl)
			s.giveBack(sl, now)
		}
	}
	for _, sl := range unwanted {
		s.serve(sl.d.ch, now) // may give w another
	}
	s.unlockAndWake()
}
