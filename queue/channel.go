package queue

import (
	"container/list"

	"github.com/sqmail/sqmail"
)

// class sorts attempts by how much harm they do to others if they turn out to
// be slow. The lower a class, the more of a channel's slots it may use.
type class uint8

const (
	classProven  class = iota // the first to a destination that works
	classUnknown              // the first to another destination
	classBusy                 // a further one to a destination
	classRetry                // not a recipient's first attempt
	classes
)

// channel hands out the slots of a channel.
//
// The last slots are kept for those that do the least harm: of 20, retries
// may use up to 15, they and further attempts to a destination up to 16, those
// to destinations that are not known to work 18. So a crowd of
// messages for slow or dead hosts, fresh or old, never takes what a message
// for another host needs. The classes take turns, so that none starves;
// within a class destinations do, and within a destination accounts.
type channel struct {
	name  string
	limit int
	used  [classes]int
	turns [classes]list.List // of *lane
	next  class              // whose turn it is
}

// defaultConcurrency is the number of slots of a channel.
func defaultConcurrency(channel string) int {
	if channel == sqmail.ChannelLocal {
		return 10
	}
	return 20
}

// share returns how many slots the class c and those above it may use.
func (ch *channel) share(c class) int {
	spare := ch.limit / 5
	switch c {
	case classProven:
		return ch.limit
	case classUnknown:
		return ch.limit - spare/2
	case classBusy:
		return ch.limit - spare
	}
	return ch.limit - max(spare, ch.limit/4)
}

// room says whether another attempt of class c may start.
func (ch *channel) room(c class) bool {
	sum := 0
	for k := int(classRetry); k >= 0; k-- {
		sum += ch.used[k]
		if k <= int(c) && sum >= ch.share(class(k)) {
			return false
		}
	}
	return true
}

func (ch *channel) running() int {
	sum := 0
	for _, n := range ch.used {
		sum += n
	}
	return sum
}

// pick returns the lane whose turn it is and that there is room for, or nil.
func (ch *channel) pick() *lane {
	for i := range classes {
		c := (ch.next + i) % classes
		if e := ch.turns[c].Front(); e != nil && ch.room(c) {
			ch.next = (c + 1) % classes
			ch.turns[c].MoveToBack(e)
			return e.Value.(*lane)
		}
	}
	return nil
}

// classOf returns the class of an attempt that a lane would start now.
func (l *lane) classOf() class {
	switch {
	case l.retry:
		return classRetry
	case l.d.taken > 0:
		return classBusy
	case l.d.proven:
		return classProven
	}
	return classUnknown
}

// arrange gives a lane its turn in the list of its class, or takes it out.
func (ch *channel) arrange(l *lane, eligible bool) {
	c := l.classOf()
	if l.turn != nil && (!eligible || c != l.class) {
		ch.turns[l.class].Remove(l.turn)
		l.turn = nil
	}
	if eligible && l.turn == nil {
		l.class, l.turn = c, ch.turns[c].PushBack(l)
	}
}
