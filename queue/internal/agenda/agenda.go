// Package agenda is the memory of a store: which message is due when, and who
// holds it. It knows nothing of storage; queue/memstore and queue/segstore
// hang what they need to know of a message on it.
//
// A message is waiting for its time, due, parked, leased or held. What is due
// is taken in turn from three lines, so that none of them starves: messages
// never leased before, messages woken from parking, and those that are due
// again. A message costs about 60 bytes, its Data not counted.
//
// An Agenda is locked by its user: every method but Next and Close is called
// with the lock held.
package agenda

import (
	"sync"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// Slot is where an Agenda keeps a message, until it is deleted.
type Slot uint32

const none = ^Slot(0)

const chunkLen = 1 << 12

// Item is a message. Data is the user's.
type Item[D any] struct {
	Data D

	id         queue.ID
	at         int64 // the key of the heap it is in; else when it is due
	pos        uint32
	next, prev Slot
	list       uint32
	heap       heapID
	tried      bool // has been leased before
	held       bool
	leased     bool
}

// ID returns the message's number.
func (it *Item[D]) ID() queue.ID { return it.id }

// Agenda is ready to use as its zero value.
type Agenda[D any] struct {
	sync.Mutex

	chunks []*[chunkLen]Item[D]
	used   Slot   // slots ever given out
	free   []Slot // of those, the ones to be used again
	order  order

	heaps  [heapCount][]Slot
	lists  []list
	spare  []uint32 // empty lists
	keys   map[string]uint32
	parked int
	held   int
	leases map[Slot]*Lease
	turn   int

	started bool
	closed  error     // why; nil: it is not
	epoch   time.Time // leases are measured from here, by the monotonic clock
	waiters []chan struct{}
	timer   *time.Timer
}

func (a *Agenda[D]) start() {
	if a.started {
		return
	}
	a.started = true
	a.epoch = time.Now()
	a.lists = make([]list, firstParked)
	for i := range a.lists {
		a.lists[i] = list{head: none, tail: none}
	}
	a.keys = make(map[string]uint32)
	a.leases = make(map[Slot]*Lease)
}

// Item returns the message at s.
func (a *Agenda[D]) Item(s Slot) *Item[D] { return &a.chunks[s/chunkLen][s%chunkLen] }

// Split says that messages whose numbers are below first are entered in a
// sequence of their own, in the order of their numbers, while others with
// higher numbers come and go. It is called before the first Add.
func (a *Agenda[D]) Split(first queue.ID) { a.order.first = first }

// Add enters a message. Tried says that it has been attempted before.
func (a *Agenda[D]) Add(id queue.ID, due time.Time, tried, held bool, data D) Slot {
	a.start()
	s := a.newSlot()
	*a.Item(s) = Item[D]{Data: data, id: id, at: Nanos(due), next: none, prev: none, tried: tried}
	a.order.add(id, s)
	if held {
		a.Hold(s)
		return s
	}
	a.enter(s)
	a.changed()
	return s
}

func (a *Agenda[D]) newSlot() Slot {
	if n := len(a.free); n > 0 {
		s := a.free[n-1]
		a.free = a.free[:n-1]
		return s
	}
	if int(a.used) == len(a.chunks)*chunkLen {
		a.chunks = append(a.chunks, new([chunkLen]Item[D]))
	}
	a.used++
	return a.used - 1
}

// enter puts a message that nothing keeps where it waits for its turn.
func (a *Agenda[D]) enter(s Slot) {
	it := a.Item(s)
	switch {
	case it.tried:
		a.push(againHeap, s)
	case it.at <= wall():
		a.link(freshList, s)
	default:
		a.push(soonHeap, s)
	}
}

// leave takes a message out of wherever it waits.
func (a *Agenda[D]) leave(s Slot) {
	a.pull(s)
	a.unlink(s)
}

// Delete forgets a message. A lease on it is lost.
func (a *Agenda[D]) Delete(s Slot) {
	it := a.Item(s)
	a.leave(s)
	delete(a.leases, s)
	if it.held {
		a.held--
	}
	a.order.remove(it.id)
	*it = Item[D]{}
	a.free = append(a.free, s)
}

// Find returns where a message is.
func (a *Agenda[D]) Find(id queue.ID) (Slot, bool) { return a.order.find(id) }

// After returns the first message whose number is greater than id.
func (a *Agenda[D]) After(id queue.ID) (Slot, bool) { return a.order.after(id) }

// Len returns the number of messages.
func (a *Agenda[D]) Len() int { return a.order.old.live + a.order.young.live }

// Hold keeps a message from being leased, and ends its parking. A lease on it
// goes on.
func (a *Agenda[D]) Hold(s Slot) {
	it := a.Item(s)
	if it.held {
		return
	}
	a.start()
	it.held = true
	a.held++
	if it.leased {
		return
	}
	if it.list >= firstParked {
		it.at = wall() // it was due when it was parked
	}
	a.leave(s)
}

// Held reports whether a message is held.
func (a *Agenda[D]) Held(s Slot) bool { return a.Item(s).held }

// Tried reports whether a message has been leased before.
func (a *Agenda[D]) Tried(s Slot) bool { return a.Item(s).tried }

// Release undoes Hold.
func (a *Agenda[D]) Release(s Slot) {
	it := a.Item(s)
	if !it.held {
		return
	}
	it.held = false
	a.held--
	if !it.leased {
		a.enter(s)
		a.changed()
	}
}

// Retry sets when a message is due, at the end of its lease if it has one.
func (a *Agenda[D]) Retry(s Slot, at time.Time) {
	it := a.Item(s)
	if l := a.leases[s]; l != nil {
		l.Retried, l.RetryAt = true, at
		return
	}
	a.leave(s)
	it.at = Nanos(at)
	if !it.held {
		a.enter(s)
		a.changed()
	}
}

// Wake makes up to n messages parked under key due, all of them if n < 0, and
// returns how many it woke.
func (a *Agenda[D]) Wake(key string, n int) int {
	woken := 0
	for n < 0 || woken < n {
		l, ok := a.keys[key]
		if !ok {
			break
		}
		s := a.lists[l].head
		a.leave(s)
		a.Item(s).at = wall()
		a.link(wokenList, s)
		woken++
	}
	if woken > 0 {
		a.changed()
	}
	return woken
}

// State fills in what the Agenda knows of a message.
func (a *Agenda[D]) State(s Slot, e *queue.Entry) {
	a.advance()
	it := a.Item(s)
	e.ID, e.Held, e.Leased = it.id, it.held, it.leased
	e.Due = Time(it.at)
	if l := a.leases[s]; l != nil {
		e.Due = l.Due
		if l.Retried {
			e.Due = l.RetryAt
		}
	}
	if it.list >= firstParked {
		e.Parked = a.lists[it.list].key
	}
}

// Stats counts the messages.
func (a *Agenda[D]) Stats() queue.Stats {
	a.start()
	a.advance()
	st := queue.Stats{Fresh: a.lists[freshList].n, Parked: a.parked, Leased: len(a.leases), Held: a.held}
	for _, l := range a.leases {
		if a.Item(l.Slot).held {
			st.Held--
		}
	}
	st.Deferred = len(a.heaps[soonHeap]) + len(a.heaps[againHeap]) - a.parked + a.lists[wokenList].n
	return st
}

// wall is the time by which messages are due.
func wall() int64 { return time.Now().UnixNano() }

// Nanos returns t as an Agenda and a file keep it. The zero Time is before
// everything else, and what does not fit is as early or late as possible.
func Nanos(t time.Time) int64 {
	const maxSec = 1<<63/1_000_000_000 - 1
	switch sec := t.Unix(); {
	case t.IsZero() || sec < -maxSec:
		return -1 << 63
	case sec > maxSec:
		return 1<<63 - 1
	}
	return t.UnixNano()
}

// Time undoes Nanos.
func Time(n int64) time.Time {
	if n == -1<<63 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
