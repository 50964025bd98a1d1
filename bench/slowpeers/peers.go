package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// state is where the peers stay.
type state struct {
	name, what string
	service    string
	say        []string // one after the other, each after an answer
	drip       string   // then this, an octet a second, again and again; "": nothing
	deaf       bool     // it does not read, and has a small buffer
}

const begin = "EHLO x\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<postmaster@mx.bench.test>\r\n"

// hello is the first flight of a TLS handshake.
var hello = clientHello()

// record begins a record of TLS that is as long as one may be.
const record = "\x17\x03\x03\x40\x00"

var states = []state{
	{name: "silent", what: "connects, and says nothing", service: "smtpd", deaf: true},
	{name: "command", what: "in the first command", service: "smtpd", drip: "NOOP "},
	{name: "long", what: "in a command of 2,000 octets", service: "smtpd", say: []string{"EHLO x\r\n", "NOOP " + strings.Repeat("x", 1900)}, drip: "x"},
	{name: "auth", what: "in AUTH", service: "smtpd", say: []string{"EHLO x\r\n", "AUTH LOGIN\r\n"}, drip: "dXNlcg"},
	{name: "longauth", what: "in a response of 5,000 octets", service: "smtpd", say: []string{"EHLO x\r\n", "AUTH PLAIN\r\n", strings.Repeat("x", 5000)}, drip: "x"},
	{name: "data", what: "in DATA", service: "smtpd", say: []string{begin, "DATA\r\n"}, drip: "Subject: x\r\n"},
	{name: "fulldata", what: "in DATA, behind 8,000 octets", service: "smtpd", say: []string{begin, "DATA\r\n", strings.Repeat("Subject: x\r\n", 700)}, drip: "x"},
	{name: "largedata", what: "in DATA, behind 100,000 octets", service: "smtpd", say: []string{begin, "DATA\r\n", strings.Repeat(strings.Repeat("x", 998)+"\r\n", 100)}, drip: "x"},
	{name: "bdat", what: "in BDAT", service: "smtpd", say: []string{begin, "BDAT 1000000\r\n"}, drip: "x"},
	{name: "fullbdat", what: "in BDAT, behind 8,000 octets", service: "smtpd", say: []string{begin, "BDAT 1000000\r\n" + strings.Repeat("x", 8000)}, drip: "x"},
	{name: "deaf", what: "sends commands, and reads no replies", service: "smtpd", say: []string{strings.Repeat("EHLO x\r\n", 4000)}, drip: "NOOP\r\n", deaf: true},
	{name: "tls", what: "in its first message of TLS", service: "smtps", drip: string(hello)},
	{name: "halftls", what: "behind its first message of TLS", service: "smtps", say: []string{string(hello), record}, drip: "x"},
	{name: "starttls", what: "behind STARTTLS and that message", service: "smtpd", say: []string{"EHLO x\r\n", "STARTTLS\r\n", string(hello), record}, drip: "x"},
	{name: "pop3", what: "in the first command", service: "pop3d", drip: "CAPA "},
	{name: "pop3auth", what: "in a response of 5,000 octets", service: "pop3d", say: []string{"CAPA\r\n", "AUTH PLAIN\r\n", strings.Repeat("x", 5000)}, drip: "x"},
	{name: "pop3deaf", what: "reads no replies", service: "pop3d", say: []string{strings.Repeat("CAPA\r\n", 4000)}, drip: "NOOP\r\n", deaf: true},
	{name: "pop3tls", what: "behind its first message of TLS", service: "pop3sd", say: []string{string(hello), record}, drip: "x"},
}

// clientHello returns what a client begins with.
func clientHello() []byte {
	var first bytes.Buffer
	near, far := net.Pipe()
	go func() {
		tls.Client(near, &tls.Config{ServerName: "mx.bench.test"}).Handshake()
		near.Close()
	}()
	buf := make([]byte, 64<<10)
	n, _ := far.Read(buf)
	first.Write(buf[:n])
	far.Close()
	return first.Bytes()
}

// crowd is slow peers.
type crowd struct {
	conns []net.Conn
	gone  atomic.Int64 // that the server has sent away
	over  chan struct{}
	wait  sync.WaitGroup
}

// gather connects n peers, from a hundred addresses each of fifty networks, and
// returns when they are in a state.
func gather(d *daemon, s state, n int) *crowd {
	c := &crowd{conns: make([]net.Conn, n), over: make(chan struct{})}
	var ready sync.WaitGroup
	slots := make(chan struct{}, 200)
	for i := range n {
		ready.Add(1)
		c.wait.Go(func() {
			slots <- struct{}{}
			conn, err := s.reach(d.addrs[s.service], net.IPv4(127, 1+byte(i%50), 0, 1+byte(i/50%100)))
			<-slots
			c.conns[i] = conn
			ready.Done()
			if err != nil || !s.stay(conn, c.over) {
				c.gone.Add(1)
			}
		})
	}
	ready.Wait()
	return c
}

// reach connects, and gets into the state.
func (s *state) reach(addr string, from net.IP) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: from}}
	if s.deaf {
		dialer.Control = func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
		}
	}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	for _, text := range s.say {
		if (!s.deaf || text == s.say[0]) && s.service != "smtps" && s.service != "pop3sd" {
			if err := heard(conn); err != nil {
				return conn, err
			}
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(conn, text) // as much as goes
	}
	return conn, nil
}

// heard waits for an answer.
func heard(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(patience))
	var buf [4096]byte
	_, err := conn.Read(buf[:])
	return err
}

// stay sends an octet a second until it is over. It reports whether the
// connection has lasted until then.
func (s *state) stay(conn net.Conn, over chan struct{}) bool {
	for i := 0; ; i++ {
		select {
		case <-over:
			return true
		case <-time.After(time.Second):
		}
		if s.drip == "" {
			continue
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second / 2))
		at := i % len(s.drip)
		_, err := io.WriteString(conn, s.drip[at:at+1])
		if e, ok := err.(net.Error); err != nil && !(ok && e.Timeout()) { // or else the buffers are full
			return false
		}
	}
}

// there is how many are still connected.
func (c *crowd) there() int { return len(c.conns) - int(c.gone.Load()) }

// leave closes all connections.
func (c *crowd) leave() {
	close(c.over)
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
	c.wait.Wait()
}
