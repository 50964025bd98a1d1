package queue

import (
	"time"

	"github.com/sqmail/sqmail"
)

// Limits shape what one destination is sent. Every field has a default.
type Limits struct {
	// Concurrency is how many attempts may run at a time. 0: the channel's
	// number is the limit. It is so in any case.
	Concurrency int

	// Rate is how many attempts may start in a second, in the long run, and
	// Burst how many at once after a rest. A Rate of 0 sets no limit; a Burst
	// of 0 means 1.
	Rate  float64
	Burst int

	// SlowStart is how many attempts may run at a time when the destination
	// has answered the first, which runs alone. Every further answer adds one,
	// a reply of 421 takes half away, and no answer leaves one. 0 means 5 (on
	// the local channel: no slow start), and a negative number means no slow
	// start.
	SlowStart int

	// Backoff is how long a destination is left alone when two attempts, two
	// minutes or more apart, got no answer from it: their outcomes were all
	// deferrals without a Reply. (An error of the Deliverer says nothing of
	// the destination.) Up to half as much again
	// is added, so that destinations do not wake up together. Then one attempt
	// probes it. 0 means 64 minutes (on the local channel: never), and a
	// negative duration means never.
	Backoff time.Duration
}

const (
	defaultSlowStart = 5
	defaultBackoff   = 3840 * time.Second // qmail's tcpto, spec/queue.md §8
	failureGap       = 120 * time.Second  // failures closer together count once
	maxFailures      = 10
	noWindow         = 1 << 30
)

// withDefaults fills in what the zero fields mean for a channel.
func (l Limits) withDefaults(channel string) Limits {
	if channel == sqmail.ChannelLocal {
		l.SlowStart, l.Backoff = orDefault(l.SlowStart, -1), orDefault(l.Backoff, -1)
	}
	l.SlowStart, l.Backoff = orDefault(l.SlowStart, defaultSlowStart), orDefault(l.Backoff, defaultBackoff)
	if l.SlowStart < 0 {
		l.SlowStart = noWindow
	}
	if l.Concurrency <= 0 {
		l.Concurrency = noWindow
	}
	l.Burst = max(l.Burst, 1)
	return l
}

// Health is what an attempt showed of its destination.
type health uint8

const (
	healthUnknown health = iota // nothing was shown
	healthGood                  // it answered
	healthBusy                  // it answered that it is too busy
	healthDead                  // it did not answer
)

// healthOf judges a destination by the outcomes of an attempt. It did not
// answer if no recipient has a reply of the next hop, or only the queue's own
// code for that (RFC 3463, X.4.1), and all are deferred.
func healthOf(outcomes []sqmail.Outcome) health {
	h := healthUnknown
	for i := range outcomes {
		o := &outcomes[i]
		switch {
		case o.Class != sqmail.Deferral:
			return healthGood
		case o.Reply.Code == 421:
			h = max(h, healthBusy)
		case o.Reply.Code == 0, o.Reply.Enhanced == sqmail.EnhancedCode{4, 4, 1}:
			h = max(h, healthDead)
		default:
			return healthGood
		}
	}
	return h
}
