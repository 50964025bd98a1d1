package serve_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/internal/serve"
)

func refuse(c *serve.Conn, why error) {
	switch {
	case errors.Is(why, serve.ErrTooMany):
		c.WriteString("421 total\r\n")
	case errors.Is(why, serve.ErrTooManyForAddress):
		c.WriteString("421 address\r\n")
	case errors.Is(why, serve.ErrTooManyForPrefix):
		c.WriteString("421 prefix\r\n")
	}
}

func greet(ctx context.Context, c *serve.Conn) {
	c.WriteString("220 hello\r\n")
	echoLines(ctx, c)
}

func TestLimits(t *testing.T) {
	const ok, total, address, prefix = "220 hello", "421 total", "421 address", "421 prefix"
	type visit struct{ from, want string }
	for _, tc := range []struct {
		rule   string
		limits serve.Limits
		visits []visit
	}{
		{"total", serve.Limits{Total: 2}, []visit{
			{"192.0.2.1:1", ok}, {"198.51.100.1:1", ok}, {"203.0.113.1:1", total}, {"127.0.0.1:1", total}}},
		{"address", serve.Limits{PerAddress: 2}, []visit{
			{"192.0.2.1:1", ok}, {"192.0.2.1:2", ok}, {"192.0.2.1:3", address}, {"192.0.2.2:1", ok}}},
		{"the same address mapped into IPv6", serve.Limits{PerAddress: 1}, []visit{
			{"192.0.2.1:1", ok}, {"[::ffff:192.0.2.1]:2", address}}},
		{"network of IPv4", serve.Limits{PerPrefix: 2}, []visit{
			{"192.0.2.1:1", ok}, {"192.0.2.200:1", ok}, {"192.0.2.3:1", prefix}, {"192.0.3.1:1", ok}}},
		{"network of IPv6", serve.Limits{PerPrefix: 2}, []visit{
			{"[2001:db8:0:1::1]:1", ok}, {"[2001:db8:0:1:ffff::1]:1", ok},
			{"[2001:db8:0:1::9]:1", prefix}, {"[2001:db8:0:2::1]:1", ok}}},
		{"this host counts in total only", serve.Limits{PerAddress: 1, PerPrefix: 1}, []visit{
			{"127.0.0.1:1", ok}, {"127.0.0.1:2", ok}, {"[::1]:1", ok}, {"[::1]:2", ok}, {"", ok}, {"", ok}}},
		{"no limit", serve.Limits{Total: -1, PerAddress: -1, PerPrefix: -1}, []visit{
			{"192.0.2.1:1", ok}, {"192.0.2.1:2", ok}, {"192.0.2.1:3", ok}}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := start(t, &serve.Server{Handler: greet, Refuse: refuse, Limits: tc.limits})
				for _, v := range tc.visits {
					c := l.dial(t, v.from)
					c.expect(v.want)
					if v.want != ok {
						c.expectEnd()
					}
				}
			})
		})
	}
}

func TestLimitsAreForConnectionsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: greet, Refuse: refuse, Limits: serve.Limits{PerAddress: 1, Total: 1}}
		l := start(t, s)
		for range 5 {
			c := l.dial(t, "192.0.2.1:1")
			c.expect("220 hello")
			c.Close()
			synctest.Wait()
		}
	})
}

// A peer that is refused and does not listen is closed soon, and a crowd of
// them costs no crowd of goroutines.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: greet, Refuse: refuse, Limits: serve.Limits{Total: 1}}
		l := start(t, s)
		l.dial(t, "").expect("220 hello")
		for range 500 {
			l.dial(t, "192.0.2.1:1")
		}
		synctest.Wait()
		if n := s.Connections(); n != 1+64 {
			t.Errorf("%d connections", n)
		}
		time.Sleep(6 * time.Second)
		if n := s.Connections(); n != 1 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestPreambleReplacesTheAddressBeforeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{
			Handler: func(_ context.Context, c *serve.Conn) {
				c.WriteString(c.Peer().Remote.String() + "\r\n")
				c.ReadLine(10)
			},
			Refuse: refuse, Limits: serve.Limits{PerAddress: 1},
			Preamble: func(_ context.Context, c *serve.Conn) error {
				line, err := c.Reader().ReadLine(100)
				if err != nil {
					return err
				}
				c.SetAddrs(addrPort(string(line)), c.LocalAddr())
				return nil
			},
		}
		l := start(t, s)
		for _, v := range []struct{ proxied, want string }{
			{"203.0.113.1:9", "203.0.113.1:9"}, {"203.0.113.1:10", "421 address"}, {"[::ffff:203.0.113.2]:9", "203.0.113.2:9"},
		} {
			c := l.dial(t, "192.0.2.1:1")
			c.send(v.proxied + "\r\n")
			c.expect(v.want)
		}

		silent := l.dial(t, "192.0.2.1:1")
		begin := time.Now()
		silent.expectEnd()
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("a silent proxy is closed after %v", took)
		}
	})
}

// TestServersNameSessionsApart: the logs of several listeners of one process
// are joined by the names of sessions.
func TestServersNameSessionsApart(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		ids := make(chan string, 1)
		s := &serve.Server{Handler: func(_ context.Context, c *serve.Conn) { ids <- c.ID() }}
		client, server := net.Pipe()
		if err := s.ServeConn(server); err != nil {
			t.Fatal(err)
		}
		client.Close()
		s.Close()
		if id := <-ids; seen[id] {
			t.Errorf("the name %s was given twice", id)
		} else {
			seen[id] = true
		}
	}
}

// TestSlowHandshakesMakeRoom: peers that begin TLS and do not go on are cut off
// when others come, the longest first, and keep nobody out.
func TestSlowHandshakesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: echoLines, TLSConfig: serverTLS(t), Limits: serve.Limits{Handshakes: 3}}
		l := newPipes()
		go s.ServeTLS(l)
		defer s.Close()
		var slow []*peer
		for range 10 {
			p := l.dial(t, "192.0.2.1:1")
			p.send("\x16\x03\x01") // a record of TLS begins
			slow = append(slow, p)
			synctest.Wait()
		}
		good := l.dial(t, "198.51.100.1:1").secure()
		good.send("hello\r\n")
		good.expect("hello")
		for _, p := range slow[:8] {
			p.expectEnd()
		}
		synctest.Wait()
		if n := s.Connections(); n != 3 {
			t.Errorf("%d connections, want the good one and two that are slow", n)
		}
		time.Sleep(31 * time.Second)
		slow[8].expectEnd()
		slow[9].expectEnd()
		good.send("hello\r\n")
		good.expect("hello")
	})
}
