package serve_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/internal/serve"
)

// messages reads a body of n octets after each command.
func messages(n int64) func(context.Context, *serve.Conn) {
	return func(_ context.Context, c *serve.Conn) {
		for {
			line, err := c.ReadLine(100)
			if err != nil {
				if err == serve.ErrServerClosed {
					c.WriteString("421 goodbye\r\n")
				}
				return
			}
			c.WriteString("354 " + string(line) + "\r\n")
			c.BeginBody()
			if _, err := io.CopyN(io.Discard, c.Reader(), n); err != nil {
				return
			}
			c.WriteString("250 taken\r\n")
		}
	}
}

func TestShutdownEndsIdleSessionsAndLetsBusyOnesFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: messages(10)}
		l := start(t, s)
		idle, half, busy := l.dial(t, ""), l.dial(t, ""), l.dial(t, "")
		half.send("half a comma")
		busy.send("DATA\r\n")
		busy.expect("354 DATA")
		busy.send("12345")
		synctest.Wait()

		begin := time.Now()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(t.Context()) }()
		for _, c := range []*peer{idle, half} {
			c.expect("421 goodbye")
			c.expectEnd()
		}
		if time.Since(begin) != 0 {
			t.Errorf("goodbye after %v", time.Since(begin))
		}

		time.Sleep(time.Minute)
		busy.send("67890")
		busy.expect("250 taken")
		busy.expect("421 goodbye")
		busy.expectEnd()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownTakesNoPipelinedCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: messages(1)}
		l := start(t, s)
		c := l.dial(t, "")
		go c.send("DATA\r\nxDATA\r\n")
		c.expect("354 DATA")
		go s.Shutdown(t.Context())
		synctest.Wait()
		c.expect("250 taken")
		// Either the second command was begun before the shutdown, or it is
		// not begun at all.
		line, _ := c.r.ReadString('\n')
		if line != "421 goodbye\r\n" && line != "354 DATA\r\n" {
			t.Errorf("got %q", line)
		}
		c.Close()
	})
}

func TestShutdownWaitsForNoHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: startTLS(make(chan error, 1)), TLSConfig: serverTLS(t)}
		l, implicit := start(t, s), newPipes()
		go s.ServeTLS(implicit)
		silent := implicit.dial(t, "")
		c := l.dial(t, "")
		c.send("STARTTLS\r\n")
		c.expect("220 go ahead")
		synctest.Wait()
		begin := time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		silent.expectEnd()
		c.expectEnd()
	})
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		s := &serve.Server{Handler: func(ctx context.Context, c *serve.Conn) {
			c.WriteString("220\r\n")
			c.Flush()
			<-ctx.Done() // a Receiver that takes long
			close(ended)
		}}
		l := start(t, s)
		l.dial(t, "").expect("220")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		<-ended
	})
}

func TestCloseEndsEverythingAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		s := &serve.Server{Handler: func(ctx context.Context, c *serve.Conn) {
			running++
			c.BeginBody()
			c.Reader().ReadByte()
			<-ctx.Done()
			time.Sleep(time.Second) // to clean up
			running--
		}}
		l := start(t, s)
		c := l.dial(t, "")
		synctest.Wait()
		s.Close()
		if running != 0 {
			t.Error("Close did not wait")
		}
		c.expectEnd()
	})
}

func TestClosedServerServesNothing(t *testing.T) {
	var unused, closed serve.Server
	if err := unused.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	closed.Close()
	closed.Close()
	for _, s := range []*serve.Server{&unused, &closed} {
		l := newPipes()
		if err := s.Serve(l); err != serve.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		if _, err := l.Accept(); err == nil {
			t.Error("the listener is open")
		}
		if err := s.ServeConn(pipeConn{}.open()); err != serve.ErrServerClosed {
			t.Errorf("ServeConn: %v", err)
		}
	}
}

func (pipeConn) open() net.Conn {
	near, _ := net.Pipe()
	return near
}

func TestServeConn(t *testing.T) {
	s := &serve.Server{Handler: echoLines}
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.ServeConn(far) }()
	near.Write([]byte("hello\r\n"))
	b := make([]byte, 7)
	io.ReadFull(near, b)
	near.Close()
	if err := <-done; string(b) != "hello\r\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, &serve.Server{Handler: func(ctx context.Context, c *serve.Conn) {
			if line, _ := c.ReadLine(10); string(line) == "PANIC" {
				c.WriteString("half a rep")
				panic("a bug")
			}
			c.WriteString("fine\r\n")
		}})
		first, second := l.dial(t, ""), l.dial(t, "")
		first.send("PANIC\r\n")
		first.expectEnd()
		second.send("NOOP\r\n")
		second.expect("fine")
	})
}

// failing fails its first accepts.
type failing struct {
	*pipes
	errs []error
}

func (l *failing) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	return l.pipes.Accept()
}

func TestAcceptErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failing{pipes: newPipes()}
		for range 10 {
			l.errs = append(l.errs, syscall.EMFILE, syscall.ENOBUFS)
		}
		s := &serve.Server{Handler: greet}
		go s.Serve(l)
		defer s.Close()
		begin := time.Now()
		l.dial(t, "").expect("220 hello")
		// 5, 10, … 640 ms, and then one second each
		if took := time.Since(begin); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestBrokenListenerIsReported(t *testing.T) {
	l := &failing{pipes: newPipes(), errs: []error{syscall.EINVAL}}
	s := &serve.Server{Handler: greet}
	defer s.Close()
	if err := s.Serve(l); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("err = %v", err)
	}
}

func TestSeveralListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: greet, Refuse: refuse, Limits: serve.Limits{Total: 2}}
		one, two := start(t, s), newPipes()
		go s.Serve(two)
		one.dial(t, "").expect("220 hello")
		two.dial(t, "").expect("220 hello")
		one.dial(t, "").expect("421 total")
	})
}
