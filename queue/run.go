package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// life is the running and stopping of a Queue.
type life struct {
	mu       sync.Mutex
	running  bool
	endLoop  func()        // ends the waiting for leases
	stopping chan struct{} // closed: no new attempts
	ended    chan struct{} // closed: Run has returned
	shutdown bool          // somebody else says when running attempts are cancelled

	attempts context.Context // ends when running attempts are cancelled
	cancel   context.CancelCauseFunc
	cutOff   atomic.Bool // it cancelled some
	jobs     sync.WaitGroup
}

const drainTime = 30 * time.Second // for running attempts, if nobody calls Shutdown

var errStopped = errors.New("queue: shutting down")

func (l *life) init() {
	l.stopping, l.ended = make(chan struct{}), make(chan struct{})
	l.attempts, l.cancel = context.WithCancelCause(context.Background())
}

func (l *life) stopped() bool {
	select {
	case <-l.stopping:
		return true
	default:
		return false
	}
}

// stop makes the stop known, and says whether the Queue runs.
func (l *life) stop(shutdown bool) (running bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shutdown = l.shutdown || shutdown
	if !l.stopped() {
		close(l.stopping)
	}
	if l.running {
		l.endLoop()
	}
	return l.running
}

// runs says whether attempts are being started.
func (l *life) runs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running && !l.stopped()
}

func (l *life) start(endLoop context.CancelFunc) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return errors.New("queue: Run was called twice")
	}
	l.running, l.endLoop = true, endLoop
	if l.stopped() {
		endLoop()
	}
	return nil
}

// Run delivers until Shutdown is called, and returns nil then. When ctx ends
// it stops in the same way, with 30 seconds for the attempts that are running
// unless Shutdown gives them another time, and returns ctx's error. If the
// Store is closed under it, or closes itself because it cannot load what it
// holds, Run returns its error, which is ErrClosed. A Queue runs once.
func (q *Queue) Run(ctx context.Context) error {
	if q.Store == nil || q.Deliverer == nil {
		return errors.New("queue: Run needs a Store and a Deliverer")
	}
	q.init()
	loop, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := q.life.start(cancel); err != nil {
		return err
	}
	defer close(q.life.ended)
	tell(q.shortened) // it may be, since the Store was used before
	q.life.jobs.Go(func() { q.follow(loop) })
	err := q.dispatch(loop)
	if err == nil {
		err = ctx.Err()
	}
	cancel()
	q.life.stop(false)
	q.shaper.close()
	q.drain()
	return err
}

// drain waits for the jobs, which go on until their attempts have ended.
func (q *Queue) drain() {
	done := make(chan struct{})
	go func() {
		q.life.jobs.Wait()
		close(done)
	}()
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-done:
		return
	case <-t.C:
		q.life.mu.Lock()
		if !q.life.shutdown {
			q.life.cancel(errStopped)
		}
		q.life.mu.Unlock()
	}
	<-done
}

// Shutdown stops the Queue: it starts no more attempts, and waits until those
// that are running have ended. When ctx ends before that they are cancelled,
// and Shutdown returns some ten seconds later at most: ctx's error if that cut
// deliveries off, nil if all came to their end. Whatever is not settled stays
// in the Store, due as it was. Receive works as before.
//
// It returns nil at once if the Queue does not run.
func (q *Queue) Shutdown(ctx context.Context) error {
	q.init()
	l := &q.life
	if running := l.stop(true); !running {
		return nil
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
	}
	l.cancel(errStopped)
	t := time.NewTimer(grace + 5*time.Second)
	defer t.Stop()
	select {
	case <-l.ended:
		if !l.cutOff.Load() {
			return nil
		}
	case <-t.C:
	}
	return ctx.Err()
}

// recoverTo makes an error of a panic in somebody else's code.
func (q *Queue) recoverTo(err *error, who string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s panicked: %v", who, p)
		q.logPanic(who, p)
	}
}

// recovered does what is done without somebody else's code that panicked.
func (q *Queue) recovered(who string, instead func()) {
	if p := recover(); p != nil {
		q.logPanic(who, p)
		instead()
	}
}
