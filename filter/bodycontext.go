package filter

import (
	"context"
	"errors"
	"sync"
	"time"
)

// endTime is how long all scanners together may take when a message is
// complete: a client waits for ten minutes (RFC 5321, 4.5.3.2.6), and then
// sends the message once more.
const endTime = 9 * time.Minute

var errEndTime = errors.New("filter: the filters took too long at the end of the message")

// bodyContext is the context of the scanners of a message. Most of them wait for
// nobody, so that it is only made a context of its own, with a timer for the
// end of the message, when somebody looks at it.
type bodyContext struct {
	context.Context // the session's

	mu     sync.Mutex
	own    context.Context // nil: nobody has looked yet
	cancel context.CancelCauseFunc
	end    time.Time // when the scanners' time is over; zero: it has not begun
	timer  *time.Timer
	closed bool
}

func (c *bodyContext) start() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		c.own, c.cancel = context.WithCancelCause(c.Context)
		if c.closed {
			c.cancel(nil)
		}
		c.limit()
	}
	return c.own
}

// limit sets the timer if it is time for that.
func (c *bodyContext) limit() {
	if c.own != nil && c.timer == nil && !c.end.IsZero() && !c.closed {
		cancel := c.cancel
		c.timer = time.AfterFunc(time.Until(c.end), func() { cancel(errEndTime) })
	}
}

func (c *bodyContext) Done() <-chan struct{} { return c.start().Done() }
func (c *bodyContext) Err() error            { return c.start().Err() }

// Value is, once somebody has looked, that of the context's own, by which
// [context.Cause] finds it.
func (c *bodyContext) Value(key any) any {
	c.mu.Lock()
	from := c.own
	c.mu.Unlock()
	if from == nil {
		from = c.Context
	}
	return from.Value(key)
}

// ending begins the time for the end of the message.
func (c *bodyContext) ending() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = time.Now().Add(endTime)
	c.limit()
}

// late reports whether the time for the end of the message is over.
func (c *bodyContext) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own != nil && context.Cause(c.own) == errEndTime
}

// close ends the context.
func (c *bodyContext) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.own != nil {
		c.cancel(nil)
	}
}

// stop stops the timer: there are all verdicts.
func (c *bodyContext) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = time.Time{}
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
