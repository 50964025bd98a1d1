package queue

import (
	"time"

	"github.com/sqmail/sqmail"
)

// class sorts attempts by how much harm they do to others if they turn out to
// be slow. The lower a class, the more of a channel's slots it may use.
type class uint8

const (
	classProven  class = iota // the first to a destination that works
	classNew                  // the first to another destination, for mail that has just come
	classUnknown              // the same for any mail
	classBusy                 // a further one to a destination
	classRetry                // not a recipient's first attempt
	classes
)

// channel hands out the slots of a channel.
//
// There are limit slots for attempts whose next hop has been heard of late,
// and all together may be silent more. An attempt that hears nothing makes
// room for the next (see silence.go), so that what hangs costs a place among
// many, and not one of the few. No attempt starts that would have no place to
// hang in.
//
// The last slots and places are kept for those that do the least harm. So a
// crowd of messages for slow or dead hosts, fresh or old, never takes what a
// message for another host needs, not even for one that nothing is known of:
// it has just come, and they have waited. The classes take turns, so that
// none starves; within a class accounts do, and within an account
// destinations; at a destination accounts do again.
type channel struct {
	name   string
	limit  int
	silent int
	used   [classes]int // heard
	quiet  [classes]int // silent
	turns  [classes]turns
	next   class          // whose turn it is
	newBy  map[string]int // attempts of classNew, by account
	rush   rush

	talking []*slot // those that count in used, if they may become silent
	ticking bool    // ticker is set
	ticker  *time.Timer
}

const (
	silentFactor = 9   // the default of Queue.Silent, in limits,
	maxSilent    = 500 // and at most
)

// defaultConcurrency is the number of slots of a channel.
func defaultConcurrency(channel string) int {
	if channel == sqmail.ChannelLocal {
		return 10
	}
	return 20
}

// defaultSilent is how many further attempts may be silent. Only on the
// remote channel does silence mean that nothing is being done.
func defaultSilent(channel string, limit int) int {
	if channel != sqmail.ChannelRemote {
		return 0
	}
	return min(silentFactor*limit, maxSilent)
}

// share returns how many of the slots for attempts that are heard the class c
// and those below it may use. Of 20, retries have 15, they and further
// attempts at a destination 16, those at destinations that are not known to
// work 17, with those for new messages 19.
func (ch *channel) share(c class) int {
	spare := ch.limit / 5
	switch c {
	case classProven:
		return ch.limit
	case classNew:
		return ch.limit - (spare+3)/4
	case classUnknown:
		return ch.limit - (3*spare+3)/4
	case classBusy:
		return ch.limit - spare
	}
	return ch.limit - max(spare, ch.limit/4)
}

// shareOfAll is the same for all attempts, silent ones included. Of 200,
// retries have 80, then 100, 120, 190.
func (ch *channel) shareOfAll(c class) int {
	if ch.silent == 0 {
		return ch.share(c)
	}
	all := ch.limit + ch.silent
	switch c {
	case classProven:
		return all
	case classNew:
		return all - (all+19)/20
	case classUnknown:
		return all - all*2/5
	case classBusy:
		return all - all/2
	}
	return all - all*3/5
}

// room says whether another attempt of class c may start.
func (ch *channel) room(c class) bool {
	if ch.rush.on {
		return false
	}
	heard, all := 0, 0
	for k := int(classRetry); k >= 0; k-- {
		heard += ch.used[k]
		all += ch.used[k] + ch.quiet[k]
		if k <= int(c) && (heard >= ch.share(class(k)) || all >= ch.shareOfAll(class(k))) {
			return false
		}
	}
	return true
}

// welcomes says whether a new message of an account may use what is kept for
// new mail: an account may have no more of that than it leaves free, so that
// one which writes to many dead hosts does not have it all.
func (ch *channel) welcomes(account string) bool {
	free := ch.shareOfAll(classNew) - ch.shareOfAll(classUnknown) - ch.used[classNew] - ch.quiet[classNew]
	return ch.newBy[account] < free && ch.room(classNew)
}

// count enters a slot in the books, or takes it out.
func (ch *channel) count(sl *slot, n int) {
	if sl.quiet.Load() {
		ch.quiet[sl.class] += n
	} else {
		ch.used[sl.class] += n
	}
	if sl.class == classNew {
		if ch.newBy[sl.account] += n; ch.newBy[sl.account] == 0 {
			delete(ch.newBy, sl.account)
		}
	}
}

func sum(numbers [classes]int) int {
	n := 0
	for _, k := range numbers {
		n += k
	}
	return n
}

// pick returns the lane whose turn it is and that there is room for, or nil.
func (ch *channel) pick() *lane {
	for i := range classes {
		c := (ch.next + i) % classes
		if t := &ch.turns[c]; t.accounts.Len() > 0 && ch.room(c) {
			ch.next = (c + 1) % classes
			return t.next(c == classUnknown)
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

// arrange gives a lane its turn in its class, or takes it out.
func (ch *channel) arrange(l *lane, eligible bool) {
	c := l.classOf()
	if l.turn != nil && (!eligible || c != l.class || l.party.account != l.account()) {
		ch.turns[l.class].remove(l)
	}
	if eligible && l.turn == nil {
		l.class = c
		ch.turns[c].add(l)
	}
}
