package mailtest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/sqmail/sqmail/mailtest"
)

// connect returns both ends of a connection to 192.0.2.1:25.
func connect(t *testing.T, n *mailtest.Network) (client, server net.Conn) {
	t.Helper()
	l, err := n.Listen("tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = n.DialContext(t.Context(), "tcp", "192.0.2.1:25"); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestConnIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		var n mailtest.Network
		l, err := n.Listen("tcp", "192.0.2.1:0")
		if err != nil {
			return nil, nil, nil, err
		}
		if c1, err = n.DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		c2, err = l.Accept()
		return c1, c2, func() { l.Close(); c1.Close(); c2.Close() }, err
	})
}

func TestConnHasTCPAddresses(t *testing.T) {
	client, server := connect(t, new(mailtest.Network))
	if got := client.RemoteAddr().(*net.TCPAddr).String(); got != "192.0.2.1:25" {
		t.Errorf("the client sees %s", got)
	}
	if got := server.RemoteAddr().(*net.TCPAddr); got.String() != client.LocalAddr().String() || !got.IP.Equal(net.ParseIP("198.51.100.1")) {
		t.Errorf("the server sees %v, the client is %v", got, client.LocalAddr())
	}
}

func TestDialFromAHost(t *testing.T) {
	var n mailtest.Network
	l, err := n.Listen("tcp", ":25")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, to := range []string{"192.0.2.1:25", "[2001:db8::25]:25"} {
		client, err := n.From("203.0.113.9").DialContext(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := server.RemoteAddr().String(); !strings.HasPrefix(got, "203.0.113.9:") {
			t.Errorf("the server sees %s", got)
		}
		if got := server.LocalAddr().String(); got != to {
			t.Errorf("a listener for all addresses sees %s, dialled was %s", got, to)
		}
		client.Close()
		server.Close()
	}
	client, err := n.DialFrom(t.Context(), netip.MustParseAddr("203.0.113.10"), "tcp", "192.0.2.1:25")
	if err != nil || !strings.HasPrefix(client.LocalAddr().String(), "203.0.113.10:") {
		t.Errorf("DialFrom: %v, %v", client, err)
	}
}

func TestDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n mailtest.Network
		l, err := n.Listen("tcp", "192.0.2.1:25")
		if err != nil {
			t.Fatal(err)
		}
		n.Link("192.0.2.2", mailtest.Link{Refuse: true})
		n.Link("192.0.2.3:25", mailtest.Link{Blackhole: true})
		dial := func(address string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := n.DialContext(ctx, "tcp", address)
			return err
		}
		for address, want := range map[string]error{
			"192.0.2.1:26":  syscall.ECONNREFUSED,
			"192.0.2.2:25":  syscall.ECONNREFUSED,
			"192.0.2.3:25":  context.DeadlineExceeded,
			"192.0.2.1:smt": nil, "mx.test:25": nil, "192.0.2.1": nil,
		} {
			err := dial(address)
			if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" || want != nil && !errors.Is(err, want) {
				t.Errorf("dial %s: %v, want %v", address, err, want)
			}
		}
		if _, err := n.Listen("tcp", "192.0.2.1:25"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second Listen: %v", err)
		}
		l.Close()
		if err := dial("192.0.2.1:25"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial behind Close: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept behind Close: %v", err)
		}
	})
}

func TestDialToABlackholeEndsWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n mailtest.Network
		n.Link("192.0.2.1", mailtest.Link{Blackhole: true})
		start := time.Now()
		_, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:25")
		if !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A listener that accepts nothing holds a bounded number of connections.
func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n mailtest.Network
		l, err := n.Listen("tcp", "192.0.2.1:25")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		dialled := 0
		for ; dialled < 1000; dialled++ {
			if _, err = n.DialContext(ctx, "tcp", "192.0.2.1:25"); err != nil {
				break
			}
		}
		if dialled != 128 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d connections, then %v", dialled, err)
		}
	})
}

func TestWriteDoesNotWaitForTheReader(t *testing.T) {
	client, server := connect(t, new(mailtest.Network))
	if _, err := client.Write(make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	client.SetWriteDeadline(time.Now().Add(-time.Second))
	if n, err := client.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write into a full buffer: %d, %v", n, err)
	}
	if _, err := io.ReadFull(server, make([]byte, 64<<10)); err != nil {
		t.Error(err)
	}
}

// A peer that does not read holds up its writer until the writer's deadline,
// however large the write.
func TestDeadlineEndsABlockedWriteInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connect(t, new(mailtest.Network))
		start := time.Now()
		client.SetDeadline(start.Add(5 * time.Minute))
		n, err := client.Write(make([]byte, 1<<20))
		if n != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Minute {
			t.Errorf("wrote %d, %v after %v", n, err, time.Since(start))
		}
	})
}

func TestDeadlineEndsABlockedReadInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connect(t, new(mailtest.Network))
		start := time.Now()
		client.SetReadDeadline(start.Add(time.Hour))
		_, err := client.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("%v is not a timeout", err)
		}
	})
}

// A shutdown wakes its readers by a deadline in the past.
func TestPastDeadlineWakesAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connect(t, new(mailtest.Network))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("woken by %v", err)
			}
		})
		synctest.Wait()
		client.SetReadDeadline(time.Unix(1, 0))
		wg.Wait()
	})
}

func TestHalfClose(t *testing.T) {
	client, server := connect(t, new(mailtest.Network))
	io.WriteString(client, "QUIT")
	if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(server); string(b) != "QUIT" || err != nil {
		t.Errorf("server read %q, %v", b, err)
	}
	io.WriteString(server, "221")
	server.Close()
	if b, err := io.ReadAll(client); string(b) != "221" || err != nil {
		t.Errorf("client read %q, %v", b, err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write behind CloseWrite: %v", err)
	}
}

func TestWriteToAClosedPeerFails(t *testing.T) {
	client, server := connect(t, new(mailtest.Network))
	server.Close()
	if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
}

func TestResetLosesWhatWasNotRead(t *testing.T) {
	client, server := connect(t, new(mailtest.Network))
	io.WriteString(server, "250 ok\r\n")
	server.(interface{ SetLinger(int) error }).SetLinger(0)
	server.Close()
	if b, err := io.ReadAll(client); len(b) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write: %v", err)
	}
}

func TestClosedListenerResetsWhoWaits(t *testing.T) {
	var n mailtest.Network
	l, err := n.Listen("tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	client, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}

func TestLatencyIsOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n mailtest.Network
		n.Link("192.0.2.1", mailtest.Link{Latency: 40 * time.Millisecond})
		start := time.Now()
		client, server := connect(t, &n)
		if took := time.Since(start); took != 80*time.Millisecond {
			t.Errorf("the dial took %v", took)
		}
		start = time.Now()
		io.WriteString(client, "EHLO a.test\r\n")
		io.WriteString(client, "MAIL FROM:<>\r\n")
		client.Close()
		if b, err := io.ReadAll(server); len(b) != 27 || err != nil || time.Since(start) != 40*time.Millisecond {
			t.Errorf("read %q, %v after %v", b, err, time.Since(start))
		}
	})
}

func TestHostKnowsItsOwnAddresses(t *testing.T) {
	var n mailtest.Network
	for addr, want := range map[string]bool{"198.51.100.1": true, "2001:db8::1": true, "127.0.0.1": true, "192.0.2.2": false, "203.0.113.9": false} {
		if got := n.IsOwn(netip.MustParseAddr(addr)); got != want {
			t.Errorf("the network's %s: %v", addr, got)
		}
	}
	h := n.From("203.0.113.9")
	for addr, want := range map[string]bool{"203.0.113.9": true, "::ffff:203.0.113.9": true, "::1": true, "198.51.100.1": false, "2001:db8::1": false} {
		if got := h.IsOwn(netip.MustParseAddr(addr)); got != want {
			t.Errorf("the host's %s: %v", addr, got)
		}
	}
}
