package queue

import (
	"sync/atomic"
	"time"
)

const (
	// silence is how long an attempt's next hop says nothing until the attempt
	// counts as silent,
	silence = 50 * time.Millisecond

	// and tick how often that is looked at.
	tick = 10 * time.Millisecond
)

// slot is the right to run one attempt.
type slot struct {
	s       *shaper
	d       *destination
	class   class
	account string
	since   time.Time

	heard atomic.Int64 // when it was heard, after since
	quiet atomic.Bool  // it counts as silent; the shaper's lock guards changes
	ended bool         // the shaper's lock guards this,
	place int          // and where it is in channel.talking
}

// listen begins to look after a slot that counts as heard.
func (s *shaper) listen(sl *slot) {
	ch := sl.d.ch
	if ch.silent == 0 {
		sl.place = -1
		return
	}
	sl.place = len(ch.talking)
	ch.talking = append(ch.talking, sl)
	if ch.ticking {
		return
	}
	ch.ticking = true
	if ch.ticker == nil {
		ch.ticker = time.AfterFunc(tick, func() { s.look(ch) })
	} else {
		ch.ticker.Reset(tick)
	}
}

// ignore undoes listen.
func (sl *slot) ignore() {
	if sl.place < 0 {
		return
	}
	ch := sl.d.ch
	last := len(ch.talking) - 1
	ch.talking[sl.place] = ch.talking[last]
	ch.talking[sl.place].place = sl.place
	ch.talking[last] = nil
	ch.talking = ch.talking[:last]
	sl.place = -1
}

// look has the slots that were not heard of late make room.
func (s *shaper) look(ch *channel) {
	s.mu.Lock()
	now := time.Now()
	for i := len(ch.talking) - 1; i >= 0; i-- {
		sl := ch.talking[i]
		if now.Sub(sl.since)-time.Duration(sl.heard.Load()) < silence {
			continue
		}
		ch.count(sl, -1)
		sl.quiet.Store(true)
		ch.count(sl, 1)
		sl.ignore()
	}
	s.serve(ch, now)
	ch.ticking = len(ch.talking) > 0
	if ch.ticking {
		ch.ticker.Reset(tick)
	}
	s.unlockAndWake()
}

// hear notes that something was heard of an attempt. If it was silent it
// counts again, even if that makes more than there are slots.
func (sl *slot) hear() {
	sl.heard.Store(int64(time.Since(sl.since)))
	if !sl.quiet.Load() {
		return
	}
	sl.s.mu.Lock()
	defer sl.s.mu.Unlock()
	if sl.ended || !sl.quiet.Load() {
		return
	}
	ch := sl.d.ch
	ch.count(sl, -1)
	sl.quiet.Store(false)
	ch.count(sl, 1)
	sl.s.listen(sl)
}

// end takes a slot out of its channel's books.
func (sl *slot) end() {
	sl.ended = true
	sl.ignore()
	sl.d.ch.count(sl, -1)
}
