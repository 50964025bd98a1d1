package remote_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
)

// TestReuse: what goes over one connection, and what needs another.
func TestReuse(t *testing.T) {
	const again = mails + rcpts + datas + takes
	const mailRefused = greets + "C: MAIL FROM:<s@me.test>\nS: 451 no\n"
	const rcptRefused = greets + mails + "C: RCPT TO:<u@x.test>\nS: 451 no\n"
	for _, tt := range []struct {
		name    string
		scripts []string
		pause   time.Duration
		change  func(*remote.Agent)
		want    string // of the last message
	}{
		{"three messages, one connection", []string{takesAll + again + again}, 0, nil, accepted},
		{"after refused MAIL no RSET", []string{mailRefused + again + again}, 0, nil, accepted},
		{"after refused RCPT there is RSET", []string{rcptRefused + "C: RSET\nS: 250 ok\n" + again + again}, 0, nil, accepted},
		{"after refused DATA there is RSET", []string{greets + mails + rcpts + "C: DATA\nS: 451 no\nC: RSET\nS: 250 ok\n" + again + again}, 0, nil, accepted},
		{"after a refused body no RSET", []string{greets + mails + rcpts + datas + "B:\nS: 451 no\n" + again + again}, 0, nil, accepted},
		{"too long a pause", []string{takesAll, takesAll, takesAll}, 6 * time.Second, nil, accepted},
		{"short enough a pause", []string{takesAll + again + again}, 4 * time.Second, nil, accepted},
		{"no reuse", []string{takesAll, takesAll, takesAll}, 0, func(a *remote.Agent) { a.IdleTime = -1 }, accepted},
		{"two for each", []string{takesAll + again, takesAll}, 0, func(a *remote.Agent) { a.MaxMessages = 2 }, accepted},

		{"dead: EOF", []string{takesAll + "close", takesAll + "close", takesAll}, time.Second, nil, accepted},
		{"dead: 421 waits", []string{takesAll + "C: MAIL FROM:<s@me.test>\nS: 421 too old\nclose", takesAll + again}, time.Second, nil, accepted},
		{"dead: EOF at RSET", []string{rcptRefused + "C: RSET\nclose", takesAll + again}, time.Second, nil, accepted},
		{"dead: refused RSET", []string{rcptRefused + "C: RSET\nS: 500 what\nclose", takesAll + again}, time.Second, nil, accepted},
		{"dead, and then no answer", []string{takesAll + again + "close"}, time.Second, nil, noConn},
		{"a new one that dies is not replaced", []string{takesAll + again + "close", greets + "C: MAIL FROM:<s@me.test>\nclose", takesAll}, time.Second, nil, died},
		{"after MAIL nothing is repeated", []string{takesAll + again + mails + "C: RCPT TO:<u@x.test>\nclose", takesAll}, time.Second, nil, died},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = tt.scripts
				a := w.agent()
				if tt.change != nil {
					tt.change(a)
				}
				got := ""
				for range 3 {
					got = one(t, a)
					time.Sleep(tt.pause)
					synctest.Wait()
				}
				if got != tt.want {
					t.Errorf("the last: %q", got)
				}
				w.done(a)
			})
		})
	}
}

// The queue hears of each sign of life, in a session of its own and in one
// that another message has left.
func TestProgressIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.hosts["192.0.2.1:25"] = []string{takesAll + mails + rcpts + datas + takes}
		a := w.agent()
		for _, least := range []int{7, 4} { // connection, greeting, EHLO; MAIL, RCPT, DATA, dot
			told := 0
			m := message("Subject: x\n\nx\n", "u@x.test")
			m.Progress = func() { told++ }
			deliver(t, a, m)
			if told < least {
				t.Errorf("told %d times of progress, want at least %d", told, least)
			}
		}
		w.done(a)
	})
}

// TestNotShared: what must not go over the connection of another.
func TestNotShared(t *testing.T) {
	relay := sqmail.Relay{Host: "192.0.2.1"}
	variants := map[string]struct {
		script string
		change func(*remote.Agent, *sqmail.Message)
	}{
		"another user": {offers("AUTH PLAIN") + "C: AUTH PLAIN\nS: 235 ok\n" + mails + rcpts + datas + takes,
			func(_ *remote.Agent, m *sqmail.Message) { m.Route.Relay.User, m.Route.Relay.Password = "tim", "x" }},
		"another rule": {takesAll, func(a *remote.Agent, _ *sqmail.Message) { a.TLS = policy(&remote.TLSRule{}) }},
		"another name": {"S: 220 x\nC: EHLO other.test\nS: 250 x\n" + sends, func(a *remote.Agent, _ *sqmail.Message) {
			a.Source = func(sqmail.Path) (remote.Source, error) { return remote.Source{HelloName: "other.test"}, nil }
		}},
	}
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = []string{takesAll, v.script}
				a := w.agent()
				for i := range 2 {
					m := message(mail, "u@x.test")
					m.Route.Relay = relay
					if i == 1 {
						v.change(a, m)
					}
					if got := short(deliver(t, a, m)[0]); got != accepted {
						t.Errorf("%q", got)
					}
				}
				w.done(a)
			})
		})
	}
}

func TestRuleIsForOneDestination(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.mx["y.test"] = "10 mx.x.test"
		w.hosts["192.0.2.1:25"] = []string{takesAll, greets + mails + "C: RCPT TO:<u@y.test>\nS: 250 ok\n" + datas + takes}
		a := w.agent()
		a.TLS = policy(&remote.TLSRule{})
		one(t, a)
		if got := short(deliver(t, a, message(mail, "u@y.test"))[0]); got != accepted || len(w.calls()) != 2 {
			t.Errorf("%q, %d connections", got, len(w.calls()))
		}
		w.done(a)
	})
}

func TestExchangerWithConnectionIsPreferred(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.mx["x.test"] = "10 a.test 10 b.test 10 c.test"
		w.addrs = map[string]string{"a.test": "192.0.2.1", "b.test": "192.0.2.2", "c.test": "192.0.2.3"}
		script := greets
		for range 20 {
			script += sends
		}
		for i := 1; i <= 3; i++ {
			w.hosts[fmt.Sprintf("192.0.2.%d:25", i)] = []string{script + "hang"}
		}
		a := w.agent()
		for range 20 {
			if o := deliver(t, a, message(mail, "u@x.test"))[0]; o.Class != sqmail.Accepted {
				t.Errorf("%q", short(o))
			}
		}
		if len(w.calls()) != 1 {
			t.Errorf("connections: %q", w.calls())
		}
		w.done(a)
	})
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.agent()
		a.MaxIdle = 2
		for i := 1; i <= 4; i++ {
			addr := fmt.Sprintf("192.0.2.%d", i)
			w.hosts[addr+":25"] = []string{takesAll}
			m := message(mail, "u@x.test")
			m.Route.Relay.Host = addr
			deliver(t, a, m)
		}
		synctest.Wait()
		if w.ended() != 2 {
			t.Errorf("%d sessions have ended, want 2 of 4", w.ended())
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if w.ended() != 4 {
			t.Errorf("%d sessions have ended, want 4", w.ended())
		}
		w.done(a)
	})
}

func TestShutdownDrains(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve["192.0.2.2:25"] = slowPeer(w, time.Minute)
		w.hosts["192.0.2.1:25"] = []string{takesAll}
		a := w.agent()
		one(t, a) // leaves an idle connection
		got := make(chan sqmail.Outcome, 1)
		go func() { got <- deliverTo(t, a, "192.0.2.2") }()
		synctest.Wait()
		start := time.Now()
		if err := a.Shutdown(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if o := <-got; o.Class != sqmail.Accepted {
			t.Errorf("%q", short(o))
		}
		w.ends.Wait()
		out, err := a.Deliver(t.Context(), message(mail, "u@x.test"))
		if out != nil || !errors.Is(err, remote.ErrClosed) || sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("%v, %v", out, err)
		}
	})
}

func TestShutdownCutsOffWhenItsContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve["192.0.2.2:25"] = slowPeer(w, time.Hour)
		a := w.agent()
		got := make(chan sqmail.Outcome, 1)
		go func() { got <- deliverTo(t, a, "192.0.2.2") }()
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if o := <-got; o.Class != sqmail.Deferral || !o.InDoubt {
			t.Errorf("%q", short(o))
		}
		w.ends.Wait()
	})
}

func TestCloseOfUnusedAgent(t *testing.T) {
	if err := new(remote.Agent).Close(); err != nil {
		t.Error(err)
	}
	if err := new(remote.Agent).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func deliverTo(t *testing.T, a *remote.Agent, host string) sqmail.Outcome {
	m := message(mail, "u@x.test")
	m.Route.Relay.Host = host
	return deliver(t, a, m)[0]
}
