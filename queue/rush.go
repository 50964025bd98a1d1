package queue

import (
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
)

// A rush is a time when many messages are committed at once. Local deliveries
// write to the same disk, and each costs it more than several commits do. But
// it is the clients who are waiting, so in a rush no attempt starts on the
// local channel.
//
// That cannot go on: after rushTime the channel has its slots again, for as
// long as it went without them at least, whatever comes.
const (
	manyCommits = 4                     // at once: a rush
	rushPause   = 20 * time.Millisecond // with fewer for so long it is over
	rushTime    = 2 * time.Second
)

// rush is what a channel knows of it. The shaper's lock guards it.
type rush struct {
	on    bool
	since time.Time
	until time.Time // it ends, if it is not renewed
	rest  time.Time // none begins before that
	timer *time.Timer
}

// renew begins a rush, or has it go on, and reports whether it began.
func (r *rush) renew(now time.Time) (began bool) {
	if !r.on {
		if now.Before(r.rest) {
			return false
		}
		r.on, r.since, began = true, now, true
	}
	r.until = now.Add(rushPause)
	if last := r.since.Add(rushTime); r.until.After(last) {
		r.until = last
	}
	return began
}

// end ends the rush if it is time, and else returns how long it still has.
func (r *rush) end(now time.Time) (left time.Duration) {
	if left = r.until.Sub(now); left > 0 {
		return left
	}
	r.on, r.rest = false, now.Add(now.Sub(r.since))
	return 0
}

// commits counts the messages that are being committed.
type commits struct {
	running atomic.Int32
	told    atomic.Int64 // when the shaper last heard of many, in Unix nanoseconds
}

// begin counts a commit, and tells the shaper if there are many.
func (c *commits) begin(s *shaper, now time.Time) {
	if c.running.Add(1) < manyCommits {
		return
	}
	told := c.told.Load()
	if now.UnixNano()-told < int64(rushPause/4) || !c.told.CompareAndSwap(told, now.UnixNano()) {
		return
	}
	s.rush(now)
}

func (c *commits) end() { c.running.Add(-1) }

func (s *shaper) rush(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.channels[sqmail.ChannelLocal]
	if ch == nil || s.closed || !ch.rush.renew(now) {
		return
	}
	if ch.rush.timer == nil {
		ch.rush.timer = time.AfterFunc(rushPause, func() { s.calm(ch) })
	} else {
		ch.rush.timer.Reset(rushPause)
	}
}

// calm is called when a rush may have ended.
func (s *shaper) calm(ch *channel) {
	s.mu.Lock()
	now := time.Now()
	if left := ch.rush.end(now); left > 0 && !s.closed {
		ch.rush.timer.Reset(left)
	} else {
		s.serve(ch, now)
	}
	s.unlockAndWake()
}
