package smtpd_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// inMemory connects a client to the server within a bubble of fake time.
func inMemory(t *testing.T, server *smtpd.Server) *smtpdtest.Client {
	ours, theirs := net.Pipe()
	go server.ServeConn(theirs) // waited for by Close
	t.Cleanup(func() { server.Close() })
	return smtpdtest.NewClient(t, ours, nil)
}

// accepting is a server that takes every recipient.
func accepting(r sqmail.Receiver) *smtpd.Server {
	return &smtpd.Server{Receiver: r, Policy: smtpd.AcceptAll}
}

// begun is a client that has been told 354.
func begun(t *testing.T, server *smtpd.Server) *smtpdtest.Client {
	c := inMemory(t, server)
	c.Expect(220)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.Do("RCPT TO:<b@example.test>", 250)
	c.Do("DATA", 354)
	return c
}

func wantReply(t *testing.T, c *smtpdtest.Client, want string) {
	t.Helper()
	if got := c.Reply(); !strings.HasPrefix(got, want) {
		t.Fatalf("the server says %q, want %q", got, want)
	}
}

func TestIdleSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, &smtpd.Server{})
		c.Expect(220)
		time.Sleep(5*time.Minute - time.Second)
		c.Do("NOOP", 250)
		time.Sleep(5 * time.Minute)
		wantReply(t, c, "421 4.4.2")
		c.ExpectEnd()
	})
}

// TestIdleTimeByClient: ForPeer may give clients less patience.
func TestIdleTimeByClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasty := &smtpd.Server{IdleTimeout: time.Minute / 2}
		c := inMemory(t, &smtpd.Server{ForPeer: func(context.Context, *sqmail.Peer) (*smtpd.Server, error) { return hasty, nil }})
		c.Expect(220)
		time.Sleep(time.Minute / 2)
		wantReply(t, c, "421 4.4.2")
		c.ExpectEnd()
	})
}

func TestDribbledCommandEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, &smtpd.Server{})
		c.Expect(220)
		for range 5 {
			c.Send("N")
			time.Sleep(time.Minute)
		}
		wantReply(t, c, "421 4.4.2")
		c.ExpectEnd()
	})
}

func TestSilenceInMessageEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r smtpdtest.Recorder
		c := begun(t, accepting(&r))
		c.Send("text\r\n")
		time.Sleep(3 * time.Minute)
		wantReply(t, c, "421 4.4.2")
		c.ExpectEnd() // what the client sends now goes nowhere
		if n := len(r.Messages()); n != 0 {
			t.Errorf("%d messages taken", n)
		}
	})
}

func TestDribbledMessageEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begun(t, accepting(&smtpdtest.Recorder{}))
		start := time.Now()
		for time.Since(start) < 10*time.Minute {
			c.SetDeadline(time.Now().Add(time.Minute))
			if _, err := c.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(10 * time.Second)
		}
		if lasted := time.Since(start); lasted > 5*time.Minute {
			t.Errorf("a message of an octet in ten seconds was read for %v", lasted)
		}
	})
}

func TestFailedAuthIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, &smtpd.Server{Verifier: users, CleartextAuth: true})
		c.Expect(220)
		c.Do("EHLO c", 250)
		start := time.Now()
		c.Do("AUTH PLAIN AGpvZQB3cm9uZw==", 535)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("held back for %v", took)
		}
		c.Do("AUTH PLAIN AGpvZQBzZWNyZXQ=", 235)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("success held back too")
		}
	})
}

func TestGreetingIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := inMemory(t, &smtpd.Server{GreetDelay: 20 * time.Second})
		c.Expect(220)
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("held back for %v", took)
		}
	})
}

func TestEarlyTalkerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r smtpdtest.Recorder
		c := inMemory(t, &smtpd.Server{Receiver: &r, GreetDelay: 20 * time.Second})
		time.Sleep(10 * time.Second)
		c.Send("EHLO c\r\n")
		wantReply(t, c, "554 5.5.1")
		c.ExpectEnd()
	})
}

// TestEarlyTalkerUnderTLS: implicit TLS is no way around the delay.
func TestEarlyTalkerUnderTLS(t *testing.T) {
	server := smtpdtest.NewTLSServer(t, nil, func(s *smtpd.Server) { s.GreetDelay = time.Hour })
	c := server.Connect(t)
	c.Handshake()
	c.Send("EHLO c\r\n")
	wantReply(t, c, "554 5.5.1")
	c.ExpectEnd()
}

// TestEarlyTalkerWithoutDelay: the client's words are there when the greeting
// is due, because the Policy has taken its time.
func TestEarlyTalkerWithoutDelay(t *testing.T) {
	talked := make(chan struct{})
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) {
		s.ForPeer = func(context.Context, *sqmail.Peer) (*smtpd.Server, error) {
			<-talked
			return nil, nil
		}
	})
	c := server.Connect(t)
	c.Send("EHLO c\r\n")
	close(talked)
	wantReply(t, c, "554 5.5.1")
	c.ExpectEnd()
}

func TestShutdownTellsIdleSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smtpd.Server{}
		c := inMemory(t, server)
		c.Expect(220)
		done := make(chan error)
		go func() { done <- server.Shutdown(t.Context()) }()
		wantReply(t, c, "421 4.3.2")
		c.ExpectEnd()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownLetsMessagesFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r smtpdtest.Recorder
		server := accepting(&r)
		c := begun(t, server)
		c.Send("text\r\n")
		done := make(chan error)
		go func() { done <- server.Shutdown(t.Context()) }()
		synctest.Wait()
		c.Send("more\r\n.\r\n")
		c.Expect(250)
		wantReply(t, c, "421 4.3.2")
		c.ExpectEnd()
		if err := <-done; err != nil || len(r.Messages()) != 1 {
			t.Error(err, len(r.Messages()))
		}
	})
}

func TestShutdownLetsChunksFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r smtpdtest.Recorder
		server := accepting(&r)
		c := inMemory(t, server)
		c.Expect(220)
		c.Do("EHLO c", 250)
		c.Do("MAIL FROM:<a@example.org>", 250)
		c.Do("RCPT TO:<b@example.test>", 250)
		c.Do("BDAT 6\r\ntext", 250)
		done := make(chan error, 1)
		go func() { done <- server.Shutdown(t.Context()) }()
		synctest.Wait()
		c.Do("NOOP", 250)
		c.Do("BDAT 6\r\nmore", 250)
		c.Do("BDAT 0 LAST", 250)
		wantReply(t, c, "421 4.3.2")
		c.ExpectEnd()
		if err := <-done; err != nil || len(r.Messages()) != 1 {
			t.Error(err, len(r.Messages()))
		}
	})
}

// TestSilenceBetweenChunksEndsSession: it is silence within a message.
func TestSilenceBetweenChunksEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r smtpdtest.Recorder
		c := inMemory(t, accepting(&r))
		c.Expect(220)
		c.Do("EHLO c", 250)
		c.Do("MAIL FROM:<a@example.org>", 250)
		c.Do("RCPT TO:<b@example.test>", 250)
		c.Do("BDAT 6\r\ntext", 250)
		time.Sleep(3 * time.Minute)
		wantReply(t, c, "421 4.4.2")
		c.ExpectEnd()
		if n := len(r.Messages()); n != 0 {
			t.Errorf("%d messages taken", n)
		}
	})
}

// stuckReceiver reads the message and then waits for the end of its context.
var stuckReceiver = sqmail.ReceiverFunc(func(ctx context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	io.Copy(io.Discard, body)
	<-ctx.Done()
	return sqmail.Receipt{}, ctx.Err()
})

func TestShutdownEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := accepting(stuckReceiver)
		c := begun(t, server)
		c.Send(".\r\n")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		c.ExpectEnd()
	})
}

func TestCloseEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := accepting(stuckReceiver)
		idle := inMemory(t, server)
		idle.Expect(220)
		busy := begun(t, server)
		busy.Send(".\r\n")
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		idle.ExpectEnd()
		busy.ExpectEnd()
	})
}

func TestDelayEndsWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smtpd.Server{Verifier: users, CleartextAuth: true, AuthFailureDelay: time.Hour}
		c := inMemory(t, server)
		c.Expect(220)
		c.Do("EHLO c", 250)
		c.Send("AUTH PLAIN AGpvZQB3cm9uZw==\r\n")
		synctest.Wait()
		start := time.Now()
		server.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}
