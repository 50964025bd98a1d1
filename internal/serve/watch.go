package serve

import (
	"errors"
	"io"
	"os"
	"time"
)

// watchAfter is how long work must take before it is worth a goroutine to see
// whether the peer still waits for it.
const watchAfter = time.Second

// watch is what a connection needs to be watched.
type watch struct {
	timer *time.Timer
	done  chan struct{} // has room for one; filled by look when it ends
	begun bool          // between Watch and Unwatch

	// Guarded by Conn.mu:
	wanted  bool // look may read
	reading bool // look reads
}

// errUnwatched ends the reading of look.
var errUnwatched = errors.New("serve: no longer watched")

// Watch is called before work that may take long while the peer has to wait:
// until Unwatch the context of the connection ends if the peer closes it.
// Nothing but the context may be used in between, nor the line that was read
// last. What the peer sends is kept for the next read; a peer that has sent more is not watched, for it has not
// waited, and neither is work that takes less than a second. A peer that closes only
// its own side after the last command counts as gone.
func (c *Conn) Watch() {
	w := &c.watch
	if w.begun || c.failed || c.outErr != nil || c.reader.Buffered() > 0 {
		return
	}
	w.begun = true
	c.want(true)
	if w.timer == nil {
		w.done = make(chan struct{}, 1)
		w.timer = time.AfterFunc(watchAfter, c.look)
		return
	}
	w.timer.Reset(watchAfter)
}

// Unwatch ends Watch. Without Watch it does nothing.
func (c *Conn) Unwatch() {
	w := &c.watch
	if !w.begun {
		return
	}
	w.begun = false
	if w.timer.Stop() {
		return
	}
	c.want(false)
	<-w.done
}

// want tells look whether to read. Whatever order the two come in, look does
// not go on reading.
func (c *Conn) want(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.wanted = on
	if !on && c.watch.reading {
		c.raw.SetReadDeadline(longAgo)
	}
}

// look waits for the peer to say something, or to leave. It has the reader for
// itself until done is filled.
func (c *Conn) look() {
	c.looking = true
	err := c.reader.Wait()
	c.looking = false
	if errors.Is(err, io.EOF) {
		c.cancel()
	}
	c.watch.done <- struct{}{}
}

// readLooking is a read for look: without a deadline, until it is unwanted.
func (c *Conn) readLooking(p []byte) (int, error) {
	if !c.setReading() {
		return 0, errUnwatched
	}
	n, err := c.nc.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.reading = false
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errUnwatched
	}
	return n, err
}

func (c *Conn) setReading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.reading = c.watch.wanted
	if c.watch.reading {
		c.raw.SetReadDeadline(time.Time{})
	}
	return c.watch.reading
}
