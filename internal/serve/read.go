package serve

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/sqmail/sqmail/internal/wire"
)

// Reader returns the connection's reader. Its reads are bounded by what was
// called last: ReadLine, Await or BeginBody.
func (c *Conn) Reader() *wire.Reader { return &c.reader }

// ReadLine reads a command as [wire.Reader.ReadLine] does. Before it waits for
// the peer, it sends what is written.
//
// It fails with ErrIdle if the command is not there in time, and, buffered
// commands or not, with ErrServerClosed if the server is shutting down; the
// handler can still write.
func (c *Conn) ReadLine(limit int) ([]byte, error) {
	if err := c.beforeCommand(); err != nil {
		return nil, err
	}
	return c.reader.ReadLine(limit)
}

// Await waits until the peer sends something, with the bounds and errors of
// ReadLine, and takes nothing.
func (c *Conn) Await() error {
	if err := c.beforeCommand(); err != nil {
		return err
	}
	return c.reader.Wait()
}

// Talks waits for d and reports whether the peer sends something in that time
// although it is not asked to. It returns as soon as it does. With d <= 0 it
// looks, where the system lets it, at what has arrived.
func (c *Conn) Talks(d time.Duration) (bool, error) {
	if c.reader.Buffered() > 0 {
		return true, nil
	}
	if d <= 0 {
		return arrived(c.nc), nil
	}
	if err := c.beforeCommand(); err != nil {
		return false, err
	}
	c.until = time.Now().Add(d)
	err := c.reader.Wait()
	if err == ErrIdle {
		return false, nil
	}
	return err == nil, err
}

// BeginBody makes the reads that follow those of a message: they are bounded
// by [Timeouts].Body and MinRate, fail with ErrSlow, and Shutdown lets them
// finish.
func (c *Conn) BeginBody() {
	c.body, c.credit = true, c.timeouts.Body
}

// EndBody is called when the message is complete. ReadLine and Await call it.
func (c *Conn) EndBody() { c.body = false }

func (c *Conn) beforeCommand() error {
	c.EndBody()
	c.until = deadline(c.timeouts.Idle)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return ErrServerClosed
	}
	return nil
}

// readUntil bounds reads that are neither of commands nor of a message.
func (c *Conn) readUntil(t time.Time) { c.body, c.until = false, t }

// source is where the reader gets octets from when it has none.
type source Conn

func (s *source) Read(p []byte) (int, error) {
	c := (*Conn)(s)
	if err := c.Flush(); err != nil {
		return 0, err
	}
	var n int
	var err error
	switch {
	case c.looking:
		n, err = c.readLooking(p)
	case c.body:
		n, err = c.readBody(p)
	default:
		n, err = c.readCommand(p)
	}
	if err != nil && !harmless(err) {
		c.cancel()
	}
	return n, err
}

// harmless reports whether the peer may still be there after a read failed.
func harmless(err error) bool {
	return err == io.EOF || err == ErrIdle || err == ErrServerClosed || err == errUnwatched
}

func (c *Conn) readCommand(p []byte) (int, error) {
	if !c.setWaiting(true) {
		return 0, ErrServerClosed
	}
	n, err := c.nc.Read(p)
	open := c.setWaiting(false)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrIdle
		if !open {
			err = ErrServerClosed
		}
	}
	return n, err
}

// setWaiting notes whether the session waits for a command, and in that case
// sets the deadline. It reports whether the server is open; if not, there is no
// waiting. The lock makes sure that shutdown finds either the deadline set, or
// the wait not begun.
func (c *Conn) setWaiting(waiting bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = waiting && !c.closing
	if c.waiting {
		c.raw.SetReadDeadline(c.until)
	}
	return !c.closing
}

func (c *Conn) readBody(p []byte) (int, error) {
	if c.timeouts.Body < 0 {
		c.raw.SetReadDeadline(time.Time{})
		return c.nc.Read(p)
	}
	start := time.Now()
	c.raw.SetReadDeadline(start.Add(c.credit))
	n, err := c.nc.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrSlow
	}
	c.pay(time.Since(start), n)
	return n, err
}

// pay takes the time that the peer has let us wait from its credit, and adds
// what its octets are worth.
func (c *Conn) pay(waited time.Duration, octets int) {
	if c.timeouts.MinRate < 0 {
		c.credit = c.timeouts.Body
		return
	}
	earned := time.Duration(octets) * time.Second / time.Duration(c.timeouts.MinRate)
	c.credit = min(c.credit-waited+earned, c.timeouts.Body)
}
