package smtpd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// lineOfPeers is a listener in memory, whose clients say where they come from.
type lineOfPeers struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newLine() *lineOfPeers {
	return &lineOfPeers{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *lineOfPeers) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *lineOfPeers) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *lineOfPeers) Addr() net.Addr { return &net.TCPAddr{} }

func (l *lineOfPeers) dial(from net.IP) net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- comesFrom{theirs, from}
	return ours
}

type comesFrom struct {
	net.Conn
	ip net.IP
}

func (c comesFrom) RemoteAddr() net.Addr { return &net.TCPAddr{IP: c.ip, Port: 40000} }

// dribble says what brings a session into a state, and then sends an octet a
// second until the connection ends.
func dribble(c net.Conn, say, drip string, gone *atomic.Int64) {
	defer gone.Add(1)
	defer c.Close()
	go io.Copy(io.Discard, c) // ends with the connection
	if _, err := io.WriteString(c, say); err != nil {
		return
	}
	for i := 0; ; i++ {
		time.Sleep(time.Second)
		if _, err := c.Write([]byte{drip[i%len(drip)]}); err != nil {
			return
		}
	}
}

const inTransaction = "EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.test>\r\n"

// TestSlowPeersKeepNobodyOut: peers that send an octet a second, in whatever
// state, do not hold up a good client, and are gone after a while.
func TestSlowPeersKeepNobodyOut(t *testing.T) {
	const peers = 200
	for _, test := range []struct {
		name, say, drip string
		gone            time.Duration // when the last one is
	}{
		{"before the first command", "", "EHLO x", 5 * time.Minute},
		{"in a long command", inTransaction, "NOOP ", 5 * time.Minute},
		{"in AUTH", "EHLO c\r\nAUTH LOGIN\r\n", "dXNlcg", 5 * time.Minute},
		{"in DATA", inTransaction + "DATA\r\n", "Subject: x\r\n", 4 * time.Minute},
		{"in BDAT", inTransaction + "BDAT 100000\r\n", "x", 4 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r smtpdtest.Recorder
				server := accepting(&r)
				server.Verifier, server.CleartextAuth = users, true
				l := newLine()
				go server.Serve(l)
				defer server.Close()
				var gone atomic.Int64
				for i := range peers { // no two in a network
					c := l.dial(net.IPv4(10, byte(i), 0, 1))
					go dribble(c, test.say, test.drip, &gone)
				}
				time.Sleep(20 * time.Second)
				if n := gone.Load(); n != 0 {
					t.Errorf("%d have left at once", n)
				}
				start := time.Now()
				good := smtpdtest.NewClient(t, l.dial(net.IPv4(192, 0, 2, 1)), nil)
				good.Expect(220)
				good.Do("EHLO c", 250)
				good.Do("MAIL FROM:<a@example.org>", 250)
				good.Do("RCPT TO:<b@example.test>", 250)
				good.Do("DATA", 354)
				good.Do("Subject: x\r\n\r\ntext\r\n.", 250)
				if took := time.Since(start); took > 0 {
					t.Errorf("a good client had to wait for %v", took)
				}
				good.Do("QUIT", 221)
				time.Sleep(test.gone)
				if n := gone.Load(); n != peers {
					t.Errorf("%d of %d are gone after %v", n, peers, test.gone)
				}
			})
		})
	}
}

// TestOneNetworkCannotTakeAllPlaces: the limits by address and network leave
// room for others.
func TestOneNetworkCannotTakeAllPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := accepting(&smtpdtest.Recorder{})
		server.MaxConnections = 700 // of which a network may have 500, and an address 100
		l := newLine()
		go server.Serve(l)
		defer time.Sleep(2 * time.Second) // the peers find out
		defer server.Close()
		var gone atomic.Int64
		for i := range 1000 {
			c := l.dial(net.IPv4(10, 0, 0, byte(i%10)))
			go dribble(c, "", "x", &gone)
		}
		time.Sleep(10 * time.Second)
		if n := gone.Load(); n != 500 {
			t.Errorf("%d were sent away, want 500", n)
		}
		good := smtpdtest.NewClient(t, l.dial(net.IPv4(192, 0, 2, 1)), nil)
		good.Expect(220)
		good.Do("QUIT", 221)
	})
}

// TestMemoryDoesNotGrowWithTheMessage: a body of 100 MB holds no more than one
// of 1 MB, policy and all.
func TestMemoryDoesNotGrowWithTheMessage(t *testing.T) {
	var high [2]uint64
	for i, size := range []int{1 << 20, 100 << 20} {
		high[i] = heapOf(t, size)
	}
	if high[1] > high[0]+4<<20 {
		t.Errorf("%d octets in use amid a message of 1 MB, %d amid one of 100 MB", high[0], high[1])
	}
}

// heapOf is how much memory is in use at most while a message is received.
func heapOf(t *testing.T, size int) (high uint64) {
	read := 0
	server := accepting(sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		buf := make([]byte, 32<<10)
		for next := 0; ; {
			n, err := body.Read(buf)
			if read += n; read >= next {
				next += size / 4
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				high = max(high, m.HeapAlloc)
			}
			if errors.Is(err, io.EOF) {
				return sqmail.Receipt{ID: "1"}, nil
			}
			if err != nil {
				return sqmail.Receipt{}, err
			}
		}
	}))
	server.MaxMessageBytes = -1
	ours, theirs := net.Pipe()
	go server.ServeConn(theirs)
	defer server.Close()
	c := smtpdtest.NewClient(t, ours, nil)
	c.Expect(220)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.Do("RCPT TO:<b@example.test>", 250)
	c.Do("DATA", 354)
	chunk := []byte(strings.Repeat(strings.Repeat("x", 998)+"\r\n", 64))
	for sent := 0; sent < size; sent += len(chunk) {
		if _, err := ours.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	c.Do(".", 250)
	if read < size*99/100 {
		t.Errorf("%d of %d octets arrived", read, size)
	}
	return high
}
