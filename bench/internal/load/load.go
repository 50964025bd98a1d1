// Package load sends mail to an SMTP server as fast as the server takes it,
// and costs as little as it can: one message, made once, for all.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
)

// Load is what is to be sent.
type Load struct {
	Addr        string
	Connections int
	New         bool // a connection for each message
	Size        int  // octets of a message, as it is sent
	From, To    string

	// It ends after so many messages, or so long, whatever is first; 0: that
	// is no end.
	Messages int
	Time     time.Duration

	// Pace, if not 0, is the time between two messages of a connection.
	Pace time.Duration
}

// Result is what became of it.
type Result struct {
	Accepted int
	Failed   int   // connections that broke, or replies that were no 250
	Err      error // the first failure
	Elapsed  time.Duration
	Latency  []time.Duration // from the last octet to the reply, sorted
}

// Rate is the accepted messages per second.
func (r *Result) Rate() float64 { return float64(r.Accepted) / r.Elapsed.Seconds() }

// Quantile returns the latency that a part q of the messages did not exceed.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.Latency) == 0 {
		return 0
	}
	return r.Latency[int(q*float64(len(r.Latency)-1))]
}

// maxLatencies is how many latencies a connection keeps.
const maxLatencies = 10_000

// sender is what the connections share.
type sender struct {
	Load
	envelope []byte
	message  []byte
	left     atomic.Int64
	end      atomic.Bool

	mu     sync.Mutex
	result Result
}

// Run sends the load and returns when all replies are there.
func (l Load) Run() Result {
	s := &sender{Load: l, message: Message(l.Size)}
	s.envelope = Envelope(or(l.From, "sender@client.test"), or(l.To, "user@bench.test"))
	s.message = append(s.message, ".\r\n"...)
	s.left.Store(int64(l.Messages))
	if l.Messages == 0 {
		s.left.Store(1 << 62)
	}
	if l.Time > 0 {
		defer time.AfterFunc(l.Time, func() { s.end.Store(true) }).Stop()
	}
	start := time.Now()
	var all sync.WaitGroup
	for range max(l.Connections, 1) {
		all.Go(s.connection)
	}
	all.Wait()
	s.result.Elapsed = time.Since(start)
	slices.Sort(s.result.Latency)
	return s.result
}

// Envelope returns MAIL, RCPT and DATA.
func Envelope(from, to string) []byte {
	return fmt.Appendf(nil, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", from, to)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Message returns a message of so many octets, without the final dot.
func Message(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: sender@client.test\r\nTo: user@bench.test\r\nSubject: bench\r\n" +
		"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@client.test>\r\n\r\n")
	line := strings.Repeat("abcdefghij klmnopqrst uvwxyz 01234567 ", 2)[:70] + "\r\n"
	for b.Len()+len(line) <= size {
		b.WriteString(line)
	}
	if rest := size - b.Len() - 2; rest > 0 {
		b.WriteString(line[:rest] + "\r\n")
	}
	return b.Bytes()
}

// more reports whether there is another message to send.
func (s *sender) more() bool { return !s.end.Load() && s.left.Add(-1) >= 0 }

// connection is the work of one connection, or of one after the other.
func (s *sender) connection() {
	var own Result
	var err error
	for err == nil && s.more() {
		var c *Client
		if c, err = Dial(s.Addr); err != nil {
			break
		}
		err = s.session(c, &own)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.result
	r.Accepted += own.Accepted
	r.Latency = append(r.Latency, own.Latency...)
	if err != nil {
		r.Failed++
		if r.Err == nil {
			r.Err = err
		}
	}
}

func (s *sender) session(c *Client, own *Result) error {
	defer c.Close()
	for {
		took, err := c.Send(s.envelope, s.message)
		if err != nil {
			return err
		}
		own.Accepted++
		if len(own.Latency) < maxLatencies {
			own.Latency = append(own.Latency, took)
		}
		if s.New {
			break
		}
		if s.Pace > 0 {
			time.Sleep(s.Pace)
		}
		if !s.more() {
			break
		}
	}
	return c.Quit()
}

// Client is one SMTP connection behind its hello.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
}

// patience is how long a client waits for anything.
const patience = 2 * time.Minute

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 1<<10) }}

// Dial connects, and says EHLO.
func Dial(addr string) (*Client, error) { return DialAs(addr, netip.Addr{}) }

// DialAs is Dial for a server behind a proxy, which is told that the client has
// another address than ours.
func DialAs(addr string, client netip.Addr) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := &Client{conn, readers.Get().(*bufio.Reader)}
	c.r.Reset(conn)
	conn.SetDeadline(time.Now().Add(patience))
	if client.IsValid() {
		_, err = fmt.Fprintf(conn, "PROXY TCP4 %v 192.0.2.25 40000 25\r\n", client)
	}
	if err == nil {
		err = c.expect("220")
	}
	if err == nil {
		_, err = io.WriteString(conn, "EHLO client.test\r\n")
	}
	if err == nil {
		err = c.expect("250")
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Send sends a message, final dot included, in two pieces: MAIL, RCPT and DATA
// at once, and what follows them. It returns how long the final reply took.
func (c *Client) Send(envelope, message []byte) (time.Duration, error) {
	if err := c.Begin(envelope); err != nil {
		return 0, err
	}
	if _, err := c.conn.Write(message); err != nil {
		return 0, err
	}
	sent := time.Now()
	err := c.End()
	return time.Since(sent), err
}

// Begin sends MAIL, RCPT and DATA, and waits for the answers.
func (c *Client) Begin(envelope []byte) error {
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(envelope); err != nil {
		return err
	}
	for _, code := range [...]string{"250", "250", "354"} {
		if err := c.expect(code); err != nil {
			return err
		}
	}
	return nil
}

// Write sends a part of a message.
func (c *Client) Write(p []byte) (int, error) {
	c.conn.SetDeadline(time.Now().Add(patience))
	return c.conn.Write(p)
}

// End waits for the reply to the final dot.
func (c *Client) End() error { return c.expect("250") }

// expect reads a reply, which must have this code.
func (c *Client) expect(code string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case string(line[:min(3, len(line))]) != code:
			return errors.New(strings.TrimSpace(string(line)))
		case len(line) < 4 || line[3] != '-':
			return nil
		}
	}
}

// Quit says QUIT, and waits for the answer.
func (c *Client) Quit() error {
	if _, err := io.WriteString(c.conn, "QUIT\r\n"); err != nil {
		return err
	}
	return c.expect("221")
}

// Close closes the connection.
func (c *Client) Close() error {
	if c.r != nil {
		c.r.Reset(nil)
		readers.Put(c.r)
		c.r = nil
	}
	return c.conn.Close()
}

// Discard is a Receiver that keeps nothing.
func Discard(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	_, err := io.Copy(io.Discard, body)
	return sqmail.Receipt{ID: "1", Time: time.Now()}, err
}
