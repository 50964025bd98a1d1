package queue

import (
	"math"
	"time"

	"github.com/sqmail/sqmail"
)

// A Schedule says when a recipient that was deferred is tried again.
//
// Next is given the recipient's channel, when the message arrived, when the
// attempt that failed was started, and how many attempts there have been (at
// least 1). The Queue moves the answer: to a second after the attempt at the
// earliest, to the end of the message's lifetime at the latest. Next is called
// concurrently.
type Schedule interface {
	Next(channel string, arrived, started time.Time, attempts int) time.Time
}

// ScheduleFunc makes a function a [Schedule].
type ScheduleFunc func(channel string, arrived, started time.Time, attempts int) time.Time

// Next calls f.
func (f ScheduleFunc) Next(channel string, arrived, started time.Time, attempts int) time.Time {
	return f(channel, arrived, started, attempts)
}

// Quadratic is qmail's schedule: the gaps between attempts grow with the
// square root of the message's age. Attempt k is due (s(k-1))² seconds after
// the arrival, if all goes in time; s is 10 on the local channel, and 20 on
// all others. It has no state, so that a changed clock or a late attempt
// does no harm.
//
// An s that is 0 has its default.
type Quadratic struct {
	Local, Remote int
}

// Next keeps the formula: arrival + (⌊√age⌋ + s)², in whole seconds.
func (q Quadratic) Next(channel string, arrived, started time.Time, _ int) time.Time {
	skip := orDefault(q.Remote, 20)
	if channel == sqmail.ChannelLocal {
		skip = orDefault(q.Local, 10)
	}
	age := max(0, int64(started.Sub(arrived)/time.Second))
	root := int64(math.Sqrt(float64(age))) // exact: an age has far fewer than 53 bits
	root += int64(skip)
	return arrived.Add(time.Duration(root*root) * time.Second)
}

// Exponential waits First after the first attempt, and after each further one
// Factor times as long, but never longer than Max. Zero fields mean a minute,
// 2, and six hours.
type Exponential struct {
	First  time.Duration
	Factor float64
	Max    time.Duration
}

// Next counts from the attempt's start.
func (e Exponential) Next(_ string, _, started time.Time, attempts int) time.Time {
	first, limit := orDefault(e.First, time.Minute), orDefault(e.Max, 6*time.Hour)
	gap := float64(first) * math.Pow(orDefault(e.Factor, 2), float64(attempts-1))
	if gap > float64(limit) { // also when it is infinite
		return started.Add(limit)
	}
	return started.Add(time.Duration(gap))
}

// Fixed is a list of the gaps between attempts. When it is used up, its last
// gap is repeated; without any it is a quarter of an hour.
type Fixed []time.Duration

// Next counts from the attempt's start.
func (f Fixed) Next(_ string, _, started time.Time, attempts int) time.Time {
	if len(f) == 0 {
		return started.Add(15 * time.Minute)
	}
	return started.Add(f[min(attempts, len(f))-1])
}

// orDefault returns v, or def if v is zero.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
