package serve_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/internal/serve"
)

// serveOnce runs handler on one connection; what it returns is sent to result.
func serveOnce(t *testing.T, timeouts serve.Timeouts, handler func(c *serve.Conn) error) (*peer, <-chan error) {
	result := make(chan error, 1)
	l := start(t, &serve.Server{Timeouts: timeouts, Handler: func(_ context.Context, c *serve.Conn) { result <- handler(c) }})
	return l.dial(t, "192.0.2.1:1"), result
}

// within fails unless the result comes after d, as fake time goes.
func within(t *testing.T, result <-chan error, begin time.Time, d time.Duration, want error) {
	t.Helper()
	if err := <-result; err != want {
		t.Errorf("err = %v, want %v", err, want)
	}
	if took := time.Since(begin).Round(time.Second); took != d {
		t.Errorf("took %v, want %v", took, d)
	}
}

func TestSilentPeerIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c, result := serveOnce(t, serve.Timeouts{}, func(c *serve.Conn) error {
			_, err := c.ReadLine(100)
			c.WriteString("421 idle\r\n")
			return err
		})
		c.expect("421 idle")
		within(t, result, begin, 5*time.Minute, serve.ErrIdle)
	})
}

func TestDribblingACommandDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c, result := serveOnce(t, serve.Timeouts{Idle: time.Minute}, func(c *serve.Conn) error {
			if _, err := c.ReadLine(100); err != nil {
				return err
			}
			_, err := c.ReadLine(100)
			return err
		})
		time.Sleep(30 * time.Second)
		c.send("NOOP\r\n")
		defer dribble(c, 1, time.Second)()
		within(t, result, begin, 90*time.Second, serve.ErrIdle)
	})
}

// dribble sends n octets each interval. The function that it returns ends that.
func dribble(c *peer, n int, interval time.Duration) (end func()) {
	var sending sync.WaitGroup
	sending.Go(func() { c.dribble(n, interval) })
	return func() { c.Close(); sending.Wait() }
}

func (c *peer) dribble(n int, interval time.Duration) {
	for piece := make([]byte, n); ; time.Sleep(interval) {
		if _, err := c.Write(piece); err != nil {
			return
		}
	}
}

func TestMinimumRateOfABody(t *testing.T) {
	readAll := func(limit int64) func(c *serve.Conn) error {
		return func(c *serve.Conn) error {
			c.BeginBody()
			_, err := io.CopyN(io.Discard, c.Reader(), limit)
			return err
		}
	}
	for _, tc := range []struct {
		rule     string
		timeouts serve.Timeouts
		octets   int
		interval time.Duration
		ends     time.Duration
		err      error
	}{
		// 180 s of credit, of which 100 octets a second would make good all.
		{"silence", serve.Timeouts{}, 0, time.Hour, 3 * time.Minute, serve.ErrSlow},
		{"an octet a second", serve.Timeouts{}, 1, time.Second, 182 * time.Second, serve.ErrSlow},
		{"less than half the rate", serve.Timeouts{}, 40, time.Second, 300 * time.Second, serve.ErrSlow},
		{"the rate", serve.Timeouts{}, 100, time.Second, 999 * time.Second, nil},
		{"long pauses at a good rate", serve.Timeouts{}, 20_000, 170 * time.Second, 4 * 170 * time.Second, nil},
		{"a pause that is too long", serve.Timeouts{}, 50_000, 181 * time.Second, 180 * time.Second, serve.ErrSlow},
		{"no minimum", serve.Timeouts{MinRate: -1}, 100, 179 * time.Second, 999 * 179 * time.Second, nil},
		{"no bound", serve.Timeouts{Body: -1}, 100, time.Hour, 999 * time.Hour, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				c, result := serveOnce(t, tc.timeouts, readAll(100_000))
				if tc.octets > 0 {
					defer dribble(c, tc.octets, tc.interval)()
				}
				within(t, result, begin, tc.ends, tc.err)
			})
		})
	}
}

func TestCreditIsNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c, result := serveOnce(t, serve.Timeouts{}, func(c *serve.Conn) error {
			c.BeginBody()
			_, err := io.Copy(io.Discard, c.Reader())
			return err
		})
		c.send(string(make([]byte, 1_000_000))) // worth hours
		within(t, result, begin, 3*time.Minute, serve.ErrSlow)
	})
}

func TestOwnTimeCostsThePeerNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c, result := serveOnce(t, serve.Timeouts{}, func(c *serve.Conn) error {
			c.BeginBody()
			for range 3 {
				if _, err := c.Reader().ReadByte(); err != nil {
					return err
				}
				time.Sleep(time.Hour) // a slow disk
			}
			c.EndBody()
			_, err := c.ReadLine(10)
			return err
		})
		c.send("abc")
		c.send("Q\r\n")
		within(t, result, begin, 3*time.Hour, nil)
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		gone := make(chan time.Duration, 1)
		l := start(t, &serve.Server{Handler: func(ctx context.Context, c *serve.Conn) {
			if _, err := c.Write(make([]byte, 100_000)); err == nil {
				t.Error("written to a peer that does not read")
			}
			<-ctx.Done()
			gone <- time.Since(begin)
		}})
		l.dial(t, "")
		if d := <-gone; d != 3*time.Minute {
			t.Errorf("gone after %v", d)
		}
	})
}

func TestSlowReaderMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, result := serveOnce(t, serve.Timeouts{Write: time.Minute}, func(c *serve.Conn) error {
			_, err := c.Write(make([]byte, 10*32<<10))
			return err
		})
		for range 10 {
			time.Sleep(50 * time.Second)
			io.ReadFull(c, make([]byte, 32<<10))
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		talked := make(chan bool, 2)
		c, result := serveOnce(t, serve.Timeouts{}, func(c *serve.Conn) error {
			for range 2 {
				early, err := c.Talks(10 * time.Second)
				if err != nil {
					return err
				}
				talked <- early
			}
			line, err := c.ReadLine(10)
			if string(line) != "EHLO" {
				t.Errorf("got %q, %v", line, err)
			}
			return err
		})
		time.Sleep(15 * time.Second)
		begin := time.Now()
		c.send("EHLO\r\n")
		if <-talked || !<-talked || time.Since(begin) != 0 {
			t.Error("the first pause was silent, the second was not")
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}
