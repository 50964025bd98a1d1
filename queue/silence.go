package queue

import (
	"sync/atomic"
	"time"
)

// silence is how long an attempt's next hop says nothing until the attempt
// counts as silent.
const silence = 50 * time.Millisecond

// slot is the right to run one attempt.
type slot struct {
	d       *destination
	class   class
	account string
	since   time.Time

	heard atomic.Int64 // when it was heard, after since
	quiet atomic.Bool  // it counts as silent; the shaper's lock guards changes
	ended bool         // the shaper's lock guards this, and timer
	timer *time.Timer
}

// watch is called when a slot's attempt starts. From then on it counts as
// silent when nothing is heard of it.
func (s *shaper) watch(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.d.ch.silent == 0 || sl.ended {
		return
	}
	sl.heard.Store(int64(time.Since(sl.since)))
	sl.timer = time.AfterFunc(silence, func() { s.listen(sl) })
}

// listen looks whether an attempt was heard of late. If not, it makes room.
func (s *shaper) listen(sl *slot) {
	s.mu.Lock()
	if sl.ended || sl.quiet.Load() {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	if left := time.Duration(sl.heard.Load()) + silence - now.Sub(sl.since); left > 0 {
		sl.timer.Reset(left)
		s.mu.Unlock()
		return
	}
	sl.quiet.Store(true)
	ch := sl.d.ch
	ch.used[sl.class]--
	ch.quiet[sl.class]++
	s.serve(ch, now)
	s.unlockAndWake()
}

// hear notes that something was heard of an attempt. If it was silent it
// counts again, even if that makes more than there are slots.
func (s *shaper) hear(sl *slot) {
	sl.heard.Store(int64(time.Since(sl.since)))
	if !sl.quiet.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.ended || !sl.quiet.Load() {
		return
	}
	sl.quiet.Store(false)
	sl.d.ch.quiet[sl.class]--
	sl.d.ch.used[sl.class]++
	sl.timer.Reset(silence)
}

// end takes a slot out of its channel's books.
func (sl *slot) end() {
	sl.ended = true
	if sl.timer != nil {
		sl.timer.Stop()
	}
	sl.d.ch.count(sl, -1)
}
