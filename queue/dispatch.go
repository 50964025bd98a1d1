package queue

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	spareLeases = 1024        // held at a time, besides those whose attempts run
	patience    = time.Second // what a Router may take before it is cut short
)

// errSlowRouter is why the context of a Router ends.
var errSlowRouter = errors.New("queue: the router took too long")

// dispatcher leases what is due, and begins the work on it, one message at a
// time. A Router that takes too long does not stop it: another goroutine goes
// on, and the one that waits for the Router works on that message only.
type dispatcher struct {
	q       *Queue
	leasing brake
	ended   chan error
}

// dispatch works until ctx ends, or the Store is closed.
func (q *Queue) dispatch(ctx context.Context) error {
	d := &dispatcher{q: q, ended: make(chan error, 1)}
	q.life.jobs.Go(func() { d.loop(ctx) })
	return <-d.ended
}

// loop is the goroutine that leases, until another takes its place.
func (d *dispatcher) loop(ctx context.Context) {
	routing, cut := context.WithCancelCause(d.q.life.attempts)
	defer cut(nil)
	successor := time.AfterFunc(patience, func() {
		d.q.logTrouble("trouble routing, others go on", 0, errSlowRouter)
		cut(errSlowRouter)
		d.q.life.jobs.Go(func() { d.loop(ctx) })
	})
	successor.Stop()
	for {
		lease, err := d.lease(ctx)
		if lease == nil {
			d.ended <- err
			return
		}
		successor.Reset(patience)
		d.q.begin(routing, lease, d.q.leases.leave)
		if !successor.Stop() {
			return
		}
	}
}

// lease waits for a message, however long the Store fails. It returns nil at
// the end.
func (d *dispatcher) lease(ctx context.Context) (Lease, error) {
	for d.q.leases.enter(ctx) == nil {
		if d.q.brake.wait(ctx) != nil || d.leasing.wait(ctx) != nil {
			return nil, nil
		}
		lease, err := d.q.Store.Lease(ctx, leaseTime)
		switch {
		case err == nil:
			d.leasing.free()
			return lease, nil
		case errors.Is(err, ErrClosed):
			return nil, err
		case ctx.Err() == nil:
			d.q.logTrouble("trouble leasing", 0, err)
			d.leasing.hit()
		}
		d.q.leases.leave()
	}
	return nil, nil
}

// brake makes the Queue wait while its Store fails: a second first, then
// twice as long each time, up to a minute.
type brake struct {
	mu    sync.Mutex
	pause time.Duration
	until time.Time
}

func (b *brake) hit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(b.until) {
		return // it is known already
	}
	b.pause = min(max(2*b.pause, time.Second), time.Minute)
	b.until = now.Add(b.pause)
}

func (b *brake) free() {
	b.mu.Lock()
	b.pause = 0
	b.mu.Unlock()
}

func (b *brake) wait(ctx context.Context) error {
	b.mu.Lock()
	d := time.Until(b.until)
	b.mu.Unlock()
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
