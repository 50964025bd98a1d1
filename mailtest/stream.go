package mailtest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// stream is one direction of a connection: a bounded buffer with a deadline
// at either end. It waits on a sync.Cond, not on channels, so that it can be
// made outside a synctest bubble and still be used inside.
type stream struct {
	latency time.Duration
	limit   int

	mu      sync.Mutex
	changed sync.Cond
	queue   []segment
	size    int

	reader, writer end
	reset          bool
}

// segment is what one write put in; it can be read from the time at.
// A nil data is the end of the stream.
type segment struct {
	data []byte
	at   time.Time
}

// end is what the reader or the writer of a stream has done to it.
type end struct {
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

func newStream(latency time.Duration, limit int) *stream {
	s := &stream{latency: latency, limit: limit}
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.reader.err(); err != nil {
			return 0, err
		}
		if s.reset {
			return 0, syscall.ECONNRESET
		}
		if len(p) == 0 {
			return 0, nil
		}
		if len(s.queue) > 0 {
			wait := time.Until(s.queue[0].at)
			if wait <= 0 {
				return s.take(p)
			}
			timer := time.AfterFunc(wait, s.wake)
			s.changed.Wait()
			timer.Stop()
			continue
		}
		s.changed.Wait()
	}
}

// take reads from the first segment, whose time has come.
func (s *stream) take(p []byte) (int, error) {
	head := &s.queue[0]
	if head.data == nil {
		return 0, io.EOF
	}
	n := copy(p, head.data)
	head.data = head.data[n:]
	if len(head.data) == 0 {
		s.queue = s.queue[1:]
	}
	s.size -= n
	s.changed.Broadcast()
	return n, nil
}

func (s *stream) write(p []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.writer.err(); err != nil {
			return written, err
		}
		if s.reset {
			return written, syscall.ECONNRESET
		}
		if s.reader.closed {
			return written, syscall.EPIPE
		}
		if len(p) == 0 {
			return written, nil
		}
		if room := s.limit - s.size; room > 0 {
			n := min(room, len(p))
			s.put(append([]byte{}, p[:n]...))
			s.size += n
			written += n
			p = p[n:]
			continue
		}
		s.changed.Wait()
	}
}

func (s *stream) put(data []byte) {
	s.queue = append(s.queue, segment{data, time.Now().Add(s.latency)})
	s.changed.Broadcast()
}

// closeWrite lets the reader find the end of the stream behind what is in it.
func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer.close() {
		s.put(nil)
	}
}

func (s *stream) closeRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader.close() {
		s.queue = nil
		s.changed.Broadcast()
	}
}

// abort makes both ends fail at once, and forgets what is under way.
func (s *stream) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset = true
	s.queue = nil
	s.changed.Broadcast()
}

func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

// setDeadline sets the deadline of the stream's reader or writer.
func (s *stream) setDeadline(e *end, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	e.deadline = t
	if !t.IsZero() {
		e.timer = time.AfterFunc(time.Until(t), s.wake)
	}
	s.changed.Broadcast()
	return nil
}

func (e *end) err() error {
	switch {
	case e.closed:
		return net.ErrClosed
	case !e.deadline.IsZero() && !time.Now().Before(e.deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// close reports whether the end was open.
func (e *end) close() bool {
	if e.closed {
		return false
	}
	e.closed = true
	if e.timer != nil {
		e.timer.Stop()
	}
	return true
}
