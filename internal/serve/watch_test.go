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

// working does work of a length for each line, under watch, and says how it
// ended.
func working(long time.Duration, results chan<- error) *serve.Server {
	return &serve.Server{Handler: func(ctx context.Context, c *serve.Conn) {
		for {
			text, err := c.ReadLine(100)
			if err != nil {
				return
			}
			line := string(text)
			c.Watch()
			select {
			case <-ctx.Done():
			case <-time.After(long):
			}
			c.Unwatch()
			results <- ctx.Err()
			c.WriteString(line + "\r\n")
		}
	}}
}

func TestWorkEndsWhenThePeerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := make(chan error, 1)
		l := start(t, working(time.Hour, results))
		c := l.dial(t, "")
		c.send("work\r\n")
		begin := time.Now()
		time.Sleep(10 * time.Second)
		c.Close()
		if err := <-results; !errors.Is(err, context.Canceled) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestWhatComesDuringWorkIsNotLost(t *testing.T) {
	for _, long := range []time.Duration{time.Millisecond, time.Second, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			results := make(chan error, 20)
			l := start(t, working(long, results))
			c := l.dial(t, "")
			go func() {
				for range 3 { // the watch is used again
					c.send("one\r\n")
					time.Sleep(long / 2)
					c.send("two\r\nthree\r\nfo")
					c.send("ur\r\n")
				}
			}()
			for range 3 {
				for _, line := range []string{"one", "two", "three", "four"} {
					c.expect(line)
				}
			}
			for range 12 {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWatchUnderTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := make(chan error, 1)
		s := working(5*time.Second, results)
		s.TLSConfig = serverTLS(t)
		l := newPipes()
		go s.ServeTLS(l)
		defer s.Close()
		c := l.dial(t, "").secure()
		for range 2 { // a read that was ended is no harm to TLS
			c.send("one\r\n")
			c.expect("one")
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		c.send("two\r\n")
		time.Sleep(2 * time.Second)
		c.Close()
		if err := <-results; err == nil {
			t.Error("nobody is there")
		}
	})
}

// Shutdown lets the work finish, Close ends it.
func TestWatchedWorkAndShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := make(chan error, 1)
		s := working(10*time.Second, results)
		l := start(t, s)
		c := l.dial(t, "")
		c.send("work\r\n")
		time.Sleep(5 * time.Second)
		go s.Shutdown(t.Context())
		c.expect("work")
		if err := <-results; err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		results := make(chan error, 1)
		s := working(10*time.Second, results)
		l := start(t, s)
		l.dial(t, "").send("work\r\n")
		time.Sleep(5 * time.Second)
		s.Close()
		if err := <-results; err == nil {
			t.Error("not ended")
		}
	})
}

// On TCP too, and however the end of the watch and the client meet.
func TestWatchOnTCP(t *testing.T) {
	results := make(chan error, 1)
	s := working(time.Hour, results)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln)
	defer s.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("work\r\n"))
	c.Close()
	if err := <-results; err == nil {
		t.Error("not ended")
	}
}
