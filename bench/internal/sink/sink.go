// Package sink is an SMTP server that takes everything and keeps nothing, at
// as little cost as can be: it looks at first letters only, and at nothing
// that a client of ours does not send.
package sink

import (
	"bufio"
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Sink is such a server. Set the fields before Listen.
type Sink struct {
	// Delay is how long each line of replies is held back: a tarpit.
	Delay time.Duration

	// Took, if not nil, is called for each message, before the reply.
	Took func()

	Messages, Connections atomic.Int64

	ln    net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

// Listen listens on a loopback address with a free port, which it returns.
func (s *Sink) Listen() (*net.TCPAddr, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.ln, s.conns = ln, make(map[net.Conn]bool)
	s.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.Connections.Add(1)
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.work.Go(func() { s.serve(conn) })
		}
	})
	return ln.Addr().(*net.TCPAddr), nil
}

// Close closes all connections, and waits for what serves them.
func (s *Sink) Close() error {
	err := s.ln.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return err
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// session is one connection. Replies are sent when the client waits for them.
type session struct {
	s    *Sink
	conn net.Conn
	r    *bufio.Reader
	out  []byte
}

func (s *Sink) serve(conn net.Conn) {
	r := readers.Get().(*bufio.Reader)
	r.Reset(conn)
	t := &session{s: s, conn: conn, r: r}
	t.say("220 sink.test\r\n")
	for t.command() {
	}
	conn.Close()
	r.Reset(nil)
	readers.Put(r)
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
}

func (t *session) say(line string) { t.out = append(t.out, line...) }

// line reads a line, after sending what is due if it is not there yet.
func (t *session) line() ([]byte, error) {
	if t.r.Buffered() == 0 && len(t.out) > 0 {
		if t.s.Delay > 0 {
			time.Sleep(t.s.Delay)
		}
		_, err := t.conn.Write(t.out)
		t.out = t.out[:0]
		if err != nil {
			return nil, err
		}
	}
	return t.r.ReadSlice('\n')
}

// command takes one command, and reports whether there may be another.
func (t *session) command() bool {
	line, err := t.line()
	if err != nil || len(line) < 4 {
		return false
	}
	switch line[0] | 0x20 {
	case 'e':
		t.say("250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
	case 'd':
		t.say("354 go on\r\n")
		return t.body()
	case 'q':
		t.conn.Write([]byte("221 bye\r\n"))
		return false
	default:
		t.say("250 ok\r\n")
	}
	return true
}

// body takes a message.
func (t *session) body() bool {
	for {
		line, err := t.line()
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
		if bytes.Equal(line, []byte(".\r\n")) || t.skim() {
			break
		}
	}
	if t.s.Took != nil {
		t.s.Took()
	}
	t.s.Messages.Add(1)
	t.say("250 ok\r\n")
	return true
}

// skim drops what is buffered of a body. It reports whether that was its end.
func (t *session) skim() bool {
	end := []byte("\r\n.\r\n")
	b, _ := t.r.Peek(t.r.Buffered())
	if i := bytes.Index(b, end); i >= 0 {
		t.r.Discard(i + len(end))
		return true
	}
	t.r.Discard(max(len(b)-len(end), 0))
	return false
}
