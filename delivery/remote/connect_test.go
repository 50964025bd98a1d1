package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
)

func sysError(call string, err error) error {
	return &net.OpError{Op: "dial", Err: os.NewSyscallError(call, err)}
}

func TestConnecting(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fail  error
		want  string
		tried int
	}{
		{"refused", sysError("connect", syscall.ECONNREFUSED), noConn, 2},
		{"silent", errSilent, noConn, 2},
		{"unreachable", sysError("connect", syscall.EHOSTUNREACH), noConn, 2},
		{"unknown error", errors.New("what?"), noConn, 2},
		{"no files", sysError("socket", syscall.EMFILE), "ZSystem resources temporarily unavailable. (#4.3.0)\n", 1},
		{"no ports", sysError("connect", syscall.EADDRNOTAVAIL), "ZSystem resources temporarily unavailable. (#4.3.0)\n", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.addrs["mx.x.test"] = "192.0.2.1 192.0.2.2"
				w.fail["192.0.2.1:25"], w.fail["192.0.2.2:25"] = tt.fail, tt.fail
				a, start := w.agent(), time.Now()
				if got := one(t, a); got != tt.want || len(w.calls()) != tt.tried {
					t.Errorf("%q after %q", got, w.calls())
				}
				if took := time.Since(start); tt.fail == errSilent && took != 2*time.Minute {
					t.Errorf("took %v, want 60 s for each", took)
				}
			})
		})
	}
}

func TestNextAddressIsTried(t *testing.T) {
	for name, script := range map[string]string{
		"greeting 554":  "S: 554 no",
		"greeting 451":  "S: 451 no",
		"greeting 421":  "S: 421 no\nclose",
		"EOF":           "close",
		"nonsense":      "S: what\nclose",
		"silence":       "hang",
		"EHLO then EOF": "S: 220 x\nC: EHLO me.test\nclose",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.addrs["mx.x.test"] = "192.0.2.2 192.0.2.1"
				w.hosts["192.0.2.2:25"] = []string{script}
				w.hosts["192.0.2.1:25"] = []string{takesAll}
				a := w.agent()
				if got := one(t, a); got != accepted {
					t.Errorf("%q", got)
				}
				w.done(a)
			})
		})
	}
}

// TestGreetingsAreWeighed: rejected only if everybody was asked, and nobody
// wants to talk to us.
func TestGreetingsAreWeighed(t *testing.T) {
	const no = "DConnected to 192.0.2.1 but sender was rejected.\nRemote host said: 554 first\n"
	const busy = "ZConnected to 192.0.2.2 but greylisted.\nRemote host said: 421 busy\n"
	for _, tt := range []struct{ name, second, want string }{
		{"554 too", "S: 554 second", no},
		{"421", "S: 421 busy\nclose", busy},
		{"EOF", "close", "ZConnected to 192.0.2.2 but connection died. (#4.4.2)\n"},
		{"unreachable", "", noConn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.addrs["mx.x.test"] = "192.0.2.1 192.0.2.2"
				w.hosts["192.0.2.1:25"] = []string{"S: 554 first"}
				if tt.second != "" {
					w.hosts["192.0.2.2:25"] = []string{tt.second}
				}
				a := w.agent()
				if got := one(t, a); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				w.done(a)
			})
		})
	}
	bubble(t, func(t *testing.T, w *world) {
		w.mx["x.test"] = "10 a.test 20 mx.x.test"
		w.addrs["a.test"] = "soft"
		w.hosts["192.0.2.1:25"] = []string{"S: 554 first"}
		a := w.agent()
		if got := one(t, a); got != noConn {
			t.Errorf("one exchanger is unknown: %q", got)
		}
		w.done(a)
	})
}

func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name, script  string
		timeout, took time.Duration
	}{
		{"greeting", "hang", 0, 5 * time.Minute},
		{"greeting, configured", "hang", time.Hour, time.Hour},
		{"EHLO", "S: 220 x\nC: EHLO me.test\nhang", 0, 20 * time.Minute},
		{"MAIL", greets + "C: MAIL FROM:<s@me.test>\nhang", 0, 20 * time.Minute},
		{"MAIL, configured", greets + "C: MAIL FROM:<s@me.test>\nhang", time.Minute, time.Minute},
		{"half a reply", greets + "C: MAIL FROM:<s@me.test>\nS: 250-and\nhang", 0, 20 * time.Minute},
		{"dot", greets + mails + rcpts + datas + "B:\nhang", 0, 20 * time.Minute},
		{"dot, never under 10 min", greets + mails + rcpts + datas + "B:\nhang", time.Minute, 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = []string{tt.script}
				a, start := w.agent(), time.Now()
				a.Timeout = tt.timeout
				if got := one(t, a); !strings.Contains(got, "connection died") {
					t.Errorf("%q", got)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				w.done(a)
			})
		})
	}
}

// TestDripIsNoProgress: a reply must be whole in time; an octet now and then
// does not buy more.
func TestDripIsNoProgress(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve["192.0.2.1:25"] = func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "220-x\r\n"); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}
		a, start := w.agent(), time.Now()
		one(t, a)
		if took := time.Since(start); took > 6*time.Minute {
			t.Errorf("took %v", took)
		}
		w.done(a)
	})
}

func TestEndlessReplyIsCutOff(t *testing.T) {
	for _, piece := range []string{"220-x\r\n", strings.Repeat("x", 1000), "220-" + strings.Repeat("x", 5000) + "\r\n"} {
		bubble(t, func(t *testing.T, w *world) {
			sent := 0
			w.serve["192.0.2.1:25"] = func(c net.Conn) {
				for {
					n, err := io.WriteString(c, piece)
					if sent += n; err != nil {
						return
					}
				}
			}
			a := w.agent()
			if got := one(t, a); got != "ZConnected to 192.0.2.1 but its reply was malformed. (#4.5.0)\n" {
				t.Errorf("%q", got)
			}
			w.done(a)
			if sent > 80_000 {
				t.Errorf("%d octets were taken", sent)
			}
		})
	}
}

func TestEndOfContextEndsTheAttempt(t *testing.T) {
	for name, script := range map[string]string{
		"connecting": "",
		"greeting":   "hang",
		"MAIL":       greets + "C: MAIL FROM:<s@me.test>\nhang",
		"dot":        greets + mails + rcpts + datas + "B:\nhang",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				if script == "" {
					w.fail["192.0.2.1:25"] = errSilent
				}
				w.hosts["192.0.2.1:25"] = []string{script}
				a, start := w.agent(), time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				out, err := a.Deliver(ctx, message(mail, "u@x.test"))
				if err != nil || out[0].Class != sqmail.Deferral || out[0].InDoubt != (name == "dot") || time.Since(start) != 10*time.Second {
					t.Errorf("%+v, %v after %v", out, err, time.Since(start))
				}
				if len(a.DeadHosts()) != 0 {
					t.Error("our own impatience made a host dead")
				}
				w.done(a)
			})
		})
	}
}

func TestDeadHosts(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.agent()
		attempt := func(after time.Duration, called bool) {
			t.Helper()
			time.Sleep(after)
			before := len(w.calls())
			if got := one(t, a); got != noConn {
				t.Errorf("%q", got)
			}
			if (len(w.calls()) > before) != called {
				t.Errorf("called: %v", !called)
			}
		}
		attempt(0, true)
		attempt(time.Minute, true) // too close to the first to count
		attempt(2*time.Minute, true)
		attempt(time.Minute, false)
		attempt(60*time.Minute, false) // 61 minutes after the second that counted
		attempt(36*time.Minute+10*time.Second, true)
		if dead := a.DeadHosts(); len(dead) != 1 || dead[0].Failures != 3 || dead[0].Addr.String() != "192.0.2.1:25" {
			t.Errorf("%+v", dead)
		}
		attempt(0, false)
		a.ForgetDeadHosts()
		attempt(0, true)

		a.ForgetDeadHosts()
		attempt(0, true)
		attempt(3*time.Minute, true)
		attempt(0, false)
		m := message(mail, "u@x.test")
		m.Route.Relay = sqmail.Relay{Host: "192.0.2.1", Port: 26}
		w.hosts["192.0.2.1:26"] = []string{takesAll}
		if got := short(deliver(t, a, m)[0]); got != accepted {
			t.Errorf("another port is another place: %q", got)
		}

		a.ForgetDeadHosts()
		attempt(0, true)
		w.hosts["192.0.2.1:25"] = []string{takesAll}
		time.Sleep(3 * time.Minute)
		if got := one(t, a); got != accepted || len(a.DeadHosts()) != 0 {
			t.Errorf("%q, %v", got, a.DeadHosts())
		}
		w.done(a)
	})
}

func TestDeadHostIsPassedOver(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.addrs["mx.x.test"] = "192.0.2.2 192.0.2.1"
		w.fail["192.0.2.2:25"] = errSilent
		w.hosts["192.0.2.1:25"] = []string{takesAll, takesAll, takesAll}
		a := w.agent()
		for i, want := range []time.Duration{time.Minute, time.Minute, 0} {
			start := time.Now()
			if got := one(t, a); got != accepted || time.Since(start) != want {
				t.Errorf("attempt %d: %q after %v, want %v", i, got, time.Since(start), want)
			}
			time.Sleep(3 * time.Minute)
		}
		w.done(a)
	})
}

// localDialer notes where calls come from.
type localDialer struct {
	*world
	from []string
	err  error
}

func (d *localDialer) DialFrom(ctx context.Context, local netip.Addr, network, address string) (net.Conn, error) {
	d.from = append(d.from, local.String())
	if d.err != nil {
		return nil, d.err
	}
	return d.DialContext(ctx, network, address)
}

func TestSource(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("fe80::1%eth0")
	for _, tt := range []struct {
		name   string
		source remote.Source
		err    error
		want   string
		from   string
	}{
		{"name", remote.Source{HelloName: "out.test"}, nil, accepted, ""},
		{"family without address is not called", remote.Source{IPv4: v4, HelloName: "out.test"}, nil, accepted, "192.0.2.200"},
		{"both", remote.Source{IPv4: v4, IPv6: v6, HelloName: "out.test"}, nil, accepted, "fe80::1%eth0 192.0.2.200"},
		{"none of the family", remote.Source{IPv6: v6}, nil, noConn, "fe80::1%eth0"},
		{"cannot bind", remote.Source{IPv4: v4}, sysError("bind", syscall.EADDRNOTAVAIL), "ZCan't bind to local ip address: 192.0.2.200. (#4.3.0)\n", "192.0.2.200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.addrs["mx.x.test"] = "192.0.2.1 2001:db8::1"
				w.hosts["192.0.2.1:25"] = []string{strings.Replace(takesAll, "me.test", "out.test", 1)}
				d := &localDialer{world: w, err: tt.err}
				a := w.agent()
				a.Dialer = d
				a.Source = func(from sqmail.Path) (remote.Source, error) {
					if from.String() != "s@me.test" {
						t.Errorf("source of %q", from)
					}
					return tt.source, nil
				}
				if got := one(t, a); got != tt.want || strings.Join(d.from, " ") != tt.from {
					t.Errorf("%q from %q", got, d.from)
				}
				w.done(a)
			})
		})
	}
	for want, err := range map[string]error{
		"ZUnable to read control files. (#4.3.0)\n": errors.New("no such file"),
		"ZInvalid ipaddr in control/domainips (#4.3.0)\n": &sqmail.Error{Class: sqmail.Rejection,
			Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 3, 0}, Text: "Invalid ipaddr in control/domainips"}},
	} {
		bubble(t, func(t *testing.T, w *world) {
			a := w.agent()
			a.Source = func(sqmail.Path) (remote.Source, error) { return remote.Source{}, err }
			if got := one(t, a); got != want || len(w.calls()) > 0 {
				t.Errorf("%q", got)
			}
		})
	}
}
