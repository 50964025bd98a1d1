package agenda

import (
	"context"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// Lease is somebody's right to a message. Its address is the fencing token.
type Lease struct {
	Slot Slot

	// Due is when the message was due.
	Due time.Time

	// Retried says that somebody asked for the message to be due at RetryAt
	// while it was leased.
	Retried bool
	RetryAt time.Time
}

// Next waits for a message that is due, and leases it for ttl.
func (a *Agenda[D]) Next(ctx context.Context, ttl time.Duration) (*Lease, error) {
	for {
		l, turn, err := a.next(ctx, ttl)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-turn:
		case <-ctx.Done():
			a.Lock()
			a.unwait(turn)
			a.Unlock()
			return nil, ctx.Err()
		}
	}
}

func (a *Agenda[D]) next(ctx context.Context, ttl time.Duration) (*Lease, chan struct{}, error) {
	a.Lock()
	defer a.Unlock()
	if a.closed != nil {
		return nil, nil, a.closed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	a.start()
	a.advance()
	if s, ok := a.take(); ok {
		l := a.lease(s, ttl)
		a.changed()
		return l, nil, nil
	}
	turn := make(chan struct{})
	a.waiters = append(a.waiters, turn)
	a.arm()
	return nil, turn, nil
}

// take picks what is due, from the three lines in turn.
func (a *Agenda[D]) take() (Slot, bool) {
	for range 3 {
		a.turn = (a.turn + 1) % 3
		s := none
		switch a.turn {
		case 0:
			s = a.lists[freshList].head
		case 1:
			s = a.lists[wokenList].head
		case 2:
			if at, ok := a.first(againHeap); ok && at <= wall() {
				s = a.heaps[againHeap][0]
			}
		}
		if s != none {
			return s, true
		}
	}
	return none, false
}

func (a *Agenda[D]) lease(s Slot, ttl time.Duration) *Lease {
	it := a.Item(s)
	a.leave(s)
	l := &Lease{Slot: s, Due: Time(it.at)}
	it.leased, it.tried = true, true
	it.at = a.mono() + int64(ttl)
	a.leases[s] = l
	a.push(leasedHeap, s)
	return l
}

// Valid reports whether l has neither ended nor run out.
func (a *Agenda[D]) Valid(l *Lease) bool {
	if a.closed != nil || a.leases[l.Slot] != l {
		return false
	}
	a.advance()
	return a.leases[l.Slot] == l
}

// Extend makes l run out at ttl from now.
func (a *Agenda[D]) Extend(l *Lease, ttl time.Duration) error {
	if !a.Valid(l) {
		return queue.ErrLeaseLost
	}
	a.pull(l.Slot)
	a.Item(l.Slot).at = a.mono() + int64(ttl)
	a.push(leasedHeap, l.Slot)
	return nil
}

// Freeze keeps l from running out until it ends or Thaw is called.
func (a *Agenda[D]) Freeze(l *Lease) error {
	if !a.Valid(l) {
		return queue.ErrLeaseLost
	}
	a.pull(l.Slot)
	return nil
}

// Thaw undoes Freeze.
func (a *Agenda[D]) Thaw(l *Lease) {
	if it := a.Item(l.Slot); a.leases[l.Slot] == l && it.heap == noHeap {
		a.push(leasedHeap, l.Slot)
		a.changed()
	}
}

// End ends l. The message is due at the given time, unless Retry has set
// another.
func (a *Agenda[D]) End(l *Lease, at time.Time) error {
	if !a.Valid(l) {
		return queue.ErrLeaseLost
	}
	if l.Retried {
		at = l.RetryAt
	}
	a.end(l.Slot, Nanos(at))
	a.changed()
	return nil
}

// Park ends l, and parks the message under key, unless it is held or Retry
// has set when it is due.
func (a *Agenda[D]) Park(l *Lease, key string, until time.Time) error {
	if !a.Valid(l) {
		return queue.ErrLeaseLost
	}
	if l.Retried || a.Item(l.Slot).held {
		return a.End(l, l.Due)
	}
	a.end(l.Slot, Nanos(until))
	a.link(a.keyList(key), l.Slot)
	a.changed()
	return nil
}

func (a *Agenda[D]) end(s Slot, at int64) {
	it := a.Item(s)
	a.pull(s)
	delete(a.leases, s)
	it.leased = false
	it.at = at
	if !it.held {
		a.enter(s)
	}
}

// advance does what time alone does: leases run out, and messages that were
// never leased become due.
func (a *Agenda[D]) advance() {
	for {
		at, ok := a.first(leasedHeap)
		if !ok || at > a.mono() {
			break
		}
		s := a.heaps[leasedHeap][0]
		due := wall()
		if l := a.leases[s]; l.Retried {
			due = Nanos(l.RetryAt)
		}
		a.end(s, due)
	}
	for {
		at, ok := a.first(soonHeap)
		if !ok || at > wall() {
			break
		}
		s := a.heaps[soonHeap][0]
		a.leave(s)
		a.link(freshList, s)
	}
}

func (a *Agenda[D]) mono() int64 { return int64(time.Since(a.epoch)) }

// changed wakes a waiter if there is something for it. The waiter wakes the
// next one.
func (a *Agenda[D]) changed() {
	if len(a.waiters) == 0 {
		return
	}
	a.advance()
	if !a.ready() {
		a.arm()
		return
	}
	close(a.waiters[0])
	a.waiters = a.waiters[1:]
}

func (a *Agenda[D]) ready() bool {
	at, ok := a.first(againHeap)
	return a.lists[freshList].n > 0 || a.lists[wokenList].n > 0 || ok && at <= wall()
}

// unwait takes back a place in the line of waiters. Whoever was called
// already passes the call on.
func (a *Agenda[D]) unwait(turn chan struct{}) {
	for i, w := range a.waiters {
		if w == turn {
			a.waiters = append(a.waiters[:i:i], a.waiters[i+1:]...)
			return
		}
	}
	a.changed()
}

// maxNap bounds how long the jump of a clock can go unnoticed.
const maxNap = time.Minute

// arm sets the timer for the next thing that time alone will do.
func (a *Agenda[D]) arm() {
	nap := int64(maxNap)
	if at, ok := a.first(leasedHeap); ok {
		nap = min(nap, at-a.mono())
	}
	for _, h := range []heapID{soonHeap, againHeap} {
		if at, ok := a.first(h); ok {
			if now := wall(); at < now+nap {
				nap = at - now
			}
		}
	}
	d := time.Duration(max(nap, 0))
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.tick)
	} else {
		a.timer.Reset(d)
	}
}

func (a *Agenda[D]) tick() {
	a.Lock()
	defer a.Unlock()
	if a.closed == nil {
		a.changed()
	}
}

// Close ends the waits and the leases. It locks the Agenda itself.
func (a *Agenda[D]) Close() { a.CloseWith(queue.ErrClosed) }

// CloseWith is Close for a reason, which the waits end with. Of several the
// first counts.
func (a *Agenda[D]) CloseWith(err error) {
	a.Lock()
	defer a.Unlock()
	if a.closed == nil {
		a.closed = err
	}
	for _, w := range a.waiters {
		close(w)
	}
	a.waiters = nil
	if a.timer != nil {
		a.timer.Stop()
	}
}

// Closed reports whether Close was called.
func (a *Agenda[D]) Closed() bool { return a.closed != nil }

// Err returns why the Agenda is closed, nil if it is not.
func (a *Agenda[D]) Err() error { return a.closed }
