package queue

import (
	"container/list"
	"hash/fnv"
	"math"
	"time"
)

// place names a destination: what limits and back-off apply to.
type place struct{ channel, name string }

// destination is what the scheduler remembers of one destination while there
// is something to remember. The shaper's lock guards it.
type destination struct {
	place
	ch       *channel
	limits   Limits
	limitsAt time.Time // when they were asked for

	taken  int  // slots in use, or kept for a message that is on its way
	window int  // slow start: how many may be taken when it is proven
	proven bool // the last attempt got an answer

	refused bool      // messages are parked that its line had no room for
	coming  int       // of those, the ones that were called and are on their way,
	called  time.Time // since then

	failures  int
	failedAt  time.Time
	deadUntil time.Time

	tokens   float64 // token bucket, as of refilled
	refilled time.Time

	lanes   [2]lane // messages that wait for a slot: first attempts, retries
	timer   *time.Timer
	alarm   time.Time     // when the timer goes off
	resting *list.Element // in shaper.idle while nothing goes on here
}

func newDestination(p place, ch *channel, l Limits, now time.Time) *destination {
	d := &destination{place: p, ch: ch, limits: l, limitsAt: now, window: l.SlowStart, tokens: float64(l.Burst), refilled: now}
	for i := range d.lanes {
		d.lanes[i] = lane{d: d, retry: i == 1}
	}
	return d
}

func (d *destination) lane(retry bool) *lane {
	if retry {
		return &d.lanes[1]
	}
	return &d.lanes[0]
}

func (d *destination) waiting() int { return d.lanes[0].n + d.lanes[1].n }

// blocked says whether the destination's own limits forbid another attempt
// now, and when time alone changes that (zero: when a slot is given back).
func (d *destination) blocked(now time.Time) (bool, time.Time) {
	if d.taken >= min(d.limits.Concurrency, d.open(), max(d.ch.limit, 1)) {
		return true, time.Time{}
	}
	if now.Before(d.deadUntil) {
		return true, d.deadUntil
	}
	if at := d.tokenAt(now); now.Before(at) {
		return true, at
	}
	return false, time.Time{}
}

// open is how many attempts slow start lets run: one, until there is an answer.
func (d *destination) open() int {
	if d.proven || d.limits.SlowStart == noWindow {
		return d.window
	}
	return 1
}

// tokenAt returns when the rate allows the next attempt.
func (d *destination) tokenAt(now time.Time) time.Time {
	if d.limits.Rate <= 0 {
		return now
	}
	grown := d.tokens + now.Sub(d.refilled).Seconds()*d.limits.Rate
	d.tokens, d.refilled = min(grown, float64(d.limits.Burst)), now
	if d.tokens >= 1 {
		return now
	}
	wait := math.Ceil((1 - d.tokens) / d.limits.Rate * float64(time.Second))
	return now.Add(time.Duration(min(wait, float64(time.Hour))) + 1)
}

// learn takes in what an attempt showed.
func (d *destination) learn(h health, now time.Time) {
	switch h {
	case healthGood:
		d.proven, d.failures, d.deadUntil = true, 0, time.Time{}
		d.resize(d.window + 1)
	case healthBusy:
		d.resize(min(d.window, d.taken+1) / 2)
	case healthDead:
		d.proven = false
		d.resize(1)
		d.fail(now)
	}
}

// resize sets the window, unless slow start is off.
func (d *destination) resize(window int) {
	if d.limits.SlowStart != noWindow {
		d.window = min(max(window, 1), noWindow)
	}
}

// fail counts a failure as qmail's tcpto does: those that come soon after the
// one before do not count, as they were under way already.
func (d *destination) fail(now time.Time) {
	if d.failures > 0 && now.Sub(d.failedAt) < failureGap {
		return
	}
	d.failures, d.failedAt = min(d.failures+1, maxFailures), now
	if d.failures >= 2 && d.limits.Backoff > 0 {
		d.deadUntil = now.Add(d.limits.Backoff + d.spread())
	}
}

// spread is up to half of Backoff: qmail spreads over 31/60 of it.
func (d *destination) spread() time.Duration {
	h := fnv.New32a()
	h.Write([]byte(d.name))
	return d.limits.Backoff / 60 * time.Duration(h.Sum32()%32)
}

// lane holds the messages that wait for a destination, either with a first
// attempt or with a retry, in a line for each account. Accounts take turns, and
// lanes do, too: the lane stands in its channel's turns while it may be served.
type lane struct {
	d         *destination
	retry     bool
	n         int
	byAccount map[string]*line // nil when nobody waits: most destinations are remembered so
	accounts  list.List        // of *line
	class     class            // while it has a turn
	party     *party
	turn      *list.Element
}

// line is first in, first out.
type line struct {
	lane    *lane
	account string
	waiting list.List // of *waiter
	turn    *list.Element
}

// spot is where a waiter stands in a line.
type spot struct {
	line *line
	elem *list.Element
}

func (l *lane) push(w *waiter) spot {
	ln := l.byAccount[w.account]
	if ln == nil {
		if l.byAccount == nil {
			l.byAccount = make(map[string]*line)
		}
		ln = &line{lane: l, account: w.account}
		ln.turn = l.accounts.PushBack(ln)
		l.byAccount[w.account] = ln
	}
	l.n++
	return spot{ln, ln.waiting.PushBack(w)}
}

// account is whose message is next.
func (l *lane) account() string {
	if e := l.accounts.Front(); e != nil {
		return e.Value.(*line).account
	}
	return ""
}

// pop takes the first of the account whose turn it is.
func (l *lane) pop() *waiter {
	ln := l.accounts.Front().Value.(*line)
	l.accounts.MoveToBack(ln.turn)
	e := ln.waiting.Front()
	w := e.Value.(*waiter)
	w.leave(l.d)
	return w
}

func (s spot) remove() {
	l := s.line.lane
	s.line.waiting.Remove(s.elem)
	l.n--
	if s.line.waiting.Len() == 0 {
		l.accounts.Remove(s.line.turn)
		delete(l.byAccount, s.line.account)
	}
	if l.n == 0 {
		l.byAccount = nil
	}
}
