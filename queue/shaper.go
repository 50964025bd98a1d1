package queue

import (
	"container/list"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

const (
	maxIdle     = 10_000           // destinations remembered with nothing to do
	maxWaiting  = 1 << 18          // messages that stand in lines,
	fewWaiting  = 100              // but so many always may at a destination
	manyComing  = 1000             // that were refused are called at a time, at most
	comeForSlot = 30 * time.Second // a slot is kept that long for a woken message
)

// shaper decides which attempts may run now. It holds the limits of channels
// and destinations, and the lines of the messages that wait for a slot. It
// knows nothing that is not lost without harm.
type shaper struct {
	wake   func(key string, n int) int // wakes parked messages, see Store.Wake
	limits func(channel, destination string) Limits

	mu           sync.Mutex
	concurrency  map[string]int
	silent       map[string]int
	channels     map[string]*channel
	destinations map[place]*destination
	idle         list.List // of *destination, the longest idle first
	waiters      map[ID]*waiter
	coming       map[*waiter]struct{} // woken for a slot, not leased yet
	toWake       []*waiter            // of those, the ones still to be told
	toAdmit      []*destination       // whose refused messages may come
	maxWaiting   int
	sweeper      *time.Timer
	closed       bool
}

// newShaper returns a shaper that wakes parked messages with wake.
func newShaper(concurrency, silent map[string]int, limits func(channel, destination string) Limits, wake func(key string, n int) int) *shaper {
	return &shaper{
		wake:         wake,
		limits:       limits,
		concurrency:  maps.Clone(concurrency),
		silent:       silent,
		channels:     make(map[string]*channel),
		destinations: make(map[place]*destination),
		waiters:      make(map[ID]*waiter),
		coming:       make(map[*waiter]struct{}),
		maxWaiting:   maxWaiting,
	}
}

// acquire gets a slot at a destination for a message, or puts it in line
// there, and returns nil. A line that is full refuses it: then it is called
// when there is room in it. Just says that the message has only just come.
func (s *shaper) acquire(w *waiter, p place, retry, just bool) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	d := s.destination(p, now)
	d.coming = max(d.coming-1, 0)
	if sl := w.kept(d); sl != nil {
		return sl
	}
	if _, inLine := w.spots[d]; inLine {
		return nil
	}
	l := d.lane(retry)
	c := l.classOf()
	room := d.ch.room(c)
	if c == classUnknown && !room && just && !w.listed && d.ch.welcomes(w.account) {
		c, room = classNew, true
	}
	if blocked, _ := d.blocked(now); blocked || !room || s.closed {
		s.enqueue(w, l, now)
		return nil
	}
	return s.take(w, d, c, now)
}

func (s *shaper) enqueue(w *waiter, l *lane, now time.Time) {
	if w.key == "" {
		w.key = l.d.name + "#" + strconv.FormatUint(uint64(w.id), 10)
	}
	if s.waiters[w.id] == nil {
		if len(s.waiters) >= s.maxWaiting && l.d.waiting() >= fewWaiting {
			w.refusedBy = l.d
			return
		}
		s.waiters[w.id] = w
		w.listed = true
	}
	if w.spots == nil {
		w.spots = make(map[*destination]spot)
	}
	w.spots[l.d] = l.push(w)
	s.rearrange(l.d, now)
}

func (s *shaper) take(w *waiter, d *destination, c class, now time.Time) *slot {
	sl := &slot{s: s, d: d, class: c, account: w.account, since: now}
	d.taken++
	d.ch.count(sl, 1)
	s.listen(sl)
	if d.limits.Rate > 0 {
		d.tokens--
	}
	s.rearrange(d, now)
	return sl
}

// release gives a slot back, with what the attempt showed.
func (s *shaper) release(sl *slot, h health) {
	s.mu.Lock()
	now := time.Now()
	s.giveBack(sl, now)
	sl.d.learn(h, now)
	s.rearrange(sl.d, now)
	s.serve(sl.d.ch, now)
	s.admit(sl.d, now)
	s.unlockAndWake()
}

func (s *shaper) giveBack(sl *slot, now time.Time) {
	sl.d.taken--
	sl.end()
	s.rearrange(sl.d, now)
}

// serve hands free slots to those whose turn it is.
func (s *shaper) serve(ch *channel, now time.Time) {
	for !s.closed {
		l := ch.pick()
		if l == nil {
			return
		}
		if blocked, _ := l.d.blocked(now); blocked {
			s.rearrange(l.d, now)
			continue
		}
		c := l.class
		w := l.pop()
		w.slots = append(w.slots, s.take(w, l.d, c, now))
		s.admit(l.d, now)
		if w.held {
			tell(w.ready)
		} else {
			s.call(w)
		}
	}
}

// call has a parked message woken for its slot.
func (s *shaper) call(w *waiter) {
	if _, called := s.coming[w]; called {
		return
	}
	s.toWake = append(s.toWake, w)
	s.coming[w] = struct{}{}
	if s.sweeper == nil && !s.closed {
		s.sweeper = time.AfterFunc(comeForSlot, s.sweep)
	}
}

// tell wakes who waits for c, or will.
func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// unlockAndWake unlocks s, and wakes those that got slots or a place in line.
// One that is not parked any more was removed, or held, or is about to be
// leased because its time came: it is dropped, and in the last case it asks
// again. That may free its slot for the next.
func (s *shaper) unlockAndWake() {
	for len(s.toWake) > 0 || len(s.toAdmit) > 0 {
		s.wakeGranted()
		s.wakeRefused()
	}
	s.mu.Unlock()
}

// wakeGranted unlocks s for a while.
func (s *shaper) wakeGranted() {
	granted := s.toWake
	s.toWake = nil
	s.mu.Unlock()
	var missed []*waiter
	for _, w := range granted {
		if s.wake(w.key, 1) == 0 {
			missed = append(missed, w)
		}
	}
	s.mu.Lock()
	for _, w := range missed {
		if !w.held {
			s.drop(w)
		}
	}
}

// sweep gives back slots that were kept for messages which did not come.
func (s *shaper) sweep() {
	s.mu.Lock()
	now := time.Now()
	for w := range s.coming {
		if len(w.slots) == 0 || now.Sub(w.slots[0].since) >= comeForSlot {
			s.drop(w)
		}
	}
	s.sweeper = nil
	if len(s.coming) > 0 && !s.closed {
		s.sweeper = time.AfterFunc(comeForSlot, s.sweep)
	}
	s.unlockAndWake()
}

// destination returns the state of a place, new if there is none.
func (s *shaper) destination(p place, now time.Time) *destination {
	d := s.destinations[p]
	if d == nil {
		d = newDestination(p, s.channel(p.channel), s.limitsOf(p), now)
		s.destinations[p] = d
		s.rearrange(d, now)
	} else if now.Sub(d.limitsAt) > time.Minute {
		d.limits, d.limitsAt = s.limitsOf(p), now
	}
	return d
}

func (s *shaper) limitsOf(p place) Limits {
	return s.limits(p.channel, p.name).withDefaults(p.channel)
}

func (s *shaper) channel(name string) *channel {
	ch := s.channels[name]
	if ch == nil {
		ch = s.newChannel(name)
		s.channels[name] = ch
	}
	return ch
}

func (s *shaper) newChannel(name string) *channel {
	ch := &channel{name: name, newBy: make(map[string]int)}
	limit, ok := s.concurrency[name]
	if !ok {
		limit = defaultConcurrency(name)
	}
	s.setLimit(ch, limit)
	return ch
}

// places is the number of attempts that may run on all channels that are
// known of beforehand.
func (s *shaper) places() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{sqmail.ChannelLocal: true, sqmail.ChannelRemote: true}
	for name := range s.concurrency {
		names[name] = true
	}
	n := 0
	for name := range names {
		ch := s.newChannel(name)
		n += ch.limit + ch.silent
	}
	return n
}

func (s *shaper) setLimit(ch *channel, limit int) {
	silent, ok := s.silent[ch.name]
	if !ok {
		silent = defaultSilent(ch.name, limit)
	}
	ch.limit, ch.silent = max(limit, 0), max(silent, 0)
}

// rearrange is called after every change of a destination: it puts its lanes
// where they belong, sets the timer, and keeps the number of idle ones small.
func (s *shaper) rearrange(d *destination, now time.Time) {
	waiting := d.waiting() > 0
	if waiting || d.lanes[0].turn != nil || d.lanes[1].turn != nil {
		blocked, until := d.blocked(now)
		for i := range d.lanes {
			d.ch.arrange(&d.lanes[i], !blocked && d.lanes[i].n > 0)
		}
		if waiting && !until.IsZero() {
			s.setAlarm(d, until, now)
		}
	}
	if busy := waiting || d.taken > 0; busy && d.resting != nil {
		s.idle.Remove(d.resting)
		d.resting = nil
	} else if !busy && d.resting == nil {
		d.resting = s.idle.PushBack(d)
		s.forget()
	}
}

func (s *shaper) forget() {
	for s.idle.Len() > maxIdle {
		d := s.idle.Remove(s.idle.Front()).(*destination)
		d.resting = nil
		delete(s.destinations, d.place)
		if d.timer != nil {
			d.timer.Stop()
		}
	}
}

// setAlarm has the destination served at a time when it is not blocked.
func (s *shaper) setAlarm(d *destination, at, now time.Time) {
	if d.alarm.Equal(at) || s.closed {
		return
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	d.alarm = at
	d.timer = time.AfterFunc(at.Sub(now), func() { s.reconsider(d) })
}

func (s *shaper) reconsider(d *destination) {
	s.mu.Lock()
	now := time.Now()
	d.alarm = time.Time{}
	s.rearrange(d, now)
	s.serve(d.ch, now)
	s.unlockAndWake()
}

// revive makes a destination forget that it was dead.
func (s *shaper) revive(p place) {
	s.mu.Lock()
	if d := s.destinations[p]; d != nil && d.failures > 0 {
		now := time.Now()
		d.failures, d.deadUntil = 0, time.Time{}
		s.rearrange(d, now)
		s.serve(d.ch, now)
	}
	s.unlockAndWake()
}

// setConcurrency changes a channel's number of slots.
func (s *shaper) setConcurrency(name string, n int) {
	s.mu.Lock()
	if s.concurrency == nil {
		s.concurrency = make(map[string]int)
	}
	s.concurrency[name] = n
	ch, now := s.channel(name), time.Now()
	s.setLimit(ch, n)
	for _, d := range s.destinations {
		if d.ch == ch {
			s.rearrange(d, now)
		}
	}
	s.serve(ch, now)
	s.unlockAndWake()
}

// close makes no more slots available and wakes all that are parked, so that
// they are due as they were before.
func (s *shaper) close() {
	s.mu.Lock()
	s.closed = true
	if s.sweeper != nil {
		s.sweeper.Stop()
	}
	for _, d := range s.destinations {
		if d.timer != nil {
			d.timer.Stop()
		}
		s.admit(d, time.Now())
	}
	for _, w := range s.waiters {
		if !w.held {
			s.toWake = append(s.toWake, w)
		}
	}
	s.unlockAndWake()
}
