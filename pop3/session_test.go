package pop3_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/pop3"
)

// inBubble runs a test in fake time.
func inBubble(t *testing.T, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) { f(newWorld(t)) })
}

func (w *world) login() {
	w.t.Helper()
	w.play("S: +OK*\nC: USER joe\nC: PASS secret word\nS: +OK \nS: +OK \n")
}

// took runs the script and fails unless that takes d of fake time.
func (w *world) took(d time.Duration, script string) {
	w.t.Helper()
	begin := time.Now()
	w.play(script)
	if took := time.Since(begin); took != d {
		w.t.Errorf("took %v, want %v:\n%s", took, d, script)
	}
}

func TestUnknownErrorIsTemporary(t *testing.T) {
	inBubble(t, func(w *world) {
		var log bytes.Buffer
		w.server.Log = slog.New(slog.NewTextHandler(&log, nil))
		w.server.Verifier = failing(errors.New("plain, with a secret"))
		w.took(0, "S: +OK*\nC: USER joe\nC: PASS x\nS: +OK \nS: -ERR [SYS/TEMP] cannot*\nEND\n")
		if !strings.Contains(log.String(), "plain, with a secret") {
			t.Errorf("the log does not hear the cause: %s", &log)
		}
	})
}

func TestSettingsOfTheClient(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		script string
	}{
		{"other settings", nil, "S: +OK <*\nC: USER joe\nS: -ERR passwords are not accepted, use APOP\n"},
		{"denied", &sqmail.Error{Class: sqmail.Rejection}, "S: -ERR [SYS/PERM]*\nEND\n"},
		{"plain error", errors.New("rules cannot be read"), "S: -ERR [SYS/TEMP]*\nEND\n"},
	} {
		inBubble(t, func(w *world) {
			other := &pop3.Server{APOP: true, NoPassword: true, Verifier: w.server.Verifier}
			w.server.ForPeer = func(context.Context, *sqmail.Peer) (*pop3.Server, error) { return other, test.err }
			w.play(test.script)
		})
	}
}

func TestFailedLoginIsAnsweredLate(t *testing.T) {
	inBubble(t, func(w *world) {
		w.took(5*time.Second, "S: +OK*\nC: USER joe\nC: PASS x\nS: +OK \nS: -ERR [AUTH]*\nEND\n")
	})
	inBubble(t, func(w *world) {
		w.server.AuthFailureDelay = -1
		w.took(0, "S: +OK*\nC: USER joe\nC: PASS x\nS: +OK \nS: -ERR [AUTH]*\nEND\n")
	})
}

func TestIdleSessionIsEnded(t *testing.T) {
	inBubble(t, func(w *world) {
		w.took(20*time.Minute, "S: +OK*\nS: -ERR idle for too long\nEND\n")
	})
	inBubble(t, func(w *world) {
		w.server.IdleTimeout = time.Minute
		w.play(`F: new/a "x\n"`)
		w.login()
		w.took(time.Minute, "C: DELE 1\nS: +OK deleted\nS: -ERR idle for too long\nEND\nD: new/a\n")
	})
}

// Half a command does not keep a session.
func TestDribblingDoesNotKeepASession(t *testing.T) {
	inBubble(t, func(w *world) {
		w.server.IdleTimeout = 10 * time.Minute
		w.play("S: +OK*\n")
		go func() {
			for {
				if _, err := w.conn.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Minute + time.Second)
			}
		}()
		w.took(10*time.Minute, "S: -ERR idle for too long\nEND\n")
		w.conn.Close()
		time.Sleep(2 * time.Minute)
	})
}

func TestShutdownRemovesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		w.play(`F: new/a "x\n"`)
		w.login()
		w.play("C: DELE 1\nS: +OK deleted\n")
		go w.server.Shutdown(w.t.Context())
		w.took(0, "S: -ERR [SYS/TEMP] server is shutting down\nEND\nD: new/a\n")
	})
}

func TestTooManyConnections(t *testing.T) {
	inBubble(t, func(w *world) {
		w.server.MaxConnections = 1
		w.play("S: +OK*\n")
		second := &world{t: t, server: w.server}
		conn, err := w.net.From("192.0.2.9").DialContext(w.t.Context(), "tcp", "192.0.2.1:110")
		if err != nil {
			t.Fatal(err)
		}
		second.conn = conn
		second.reader = bufio.NewReader(conn)
		second.play("S: -ERR [SYS/TEMP] too many connections*\nEND\n")
		conn.Close()
	})
}

func TestAPOPTakesTheDigestOfTheTimestamp(t *testing.T) {
	inBubble(t, func(w *world) {
		w.server.APOP, w.server.HostName = true, "mx.test"
		w.connect()
		greeting, err := w.reader.ReadString('\n')
		timestamp := strings.TrimSuffix(strings.TrimPrefix(greeting, "+OK "), "\r\n")
		if err != nil || !strings.HasPrefix(timestamp, "<") || !strings.HasSuffix(timestamp, "@mx.test>") {
			t.Fatalf("%q, %v", greeting, err)
		}
		digest := md5.Sum([]byte(timestamp + "secret word"))
		w.play("C: APOP joe " + hex.EncodeToString(digest[:]) + "\nS: +OK \nC: STAT\nS: +OK 0 0\n")
	})
}

// The Verifier is told who asks, and by what mechanism.
func TestVerifierSeesThePeer(t *testing.T) {
	inBubble(t, func(w *world) {
		w.server.Name, w.server.TLSConfig = "pop3d", w.ca.Server("mx.test")
		var seen []string
		w.server.Verifier = auth.VerifierFunc(func(ctx context.Context, c *auth.Credentials) (auth.Identity, error) {
			seen = append(seen, c.Mechanism, c.User, c.Password, c.Peer.Listener, c.Peer.Protocol, c.Peer.Remote.Addr().String())
			return w.verify(ctx, c)
		})
		w.play("S: +OK*\nC: STLS\nS: +OK*\nTLS\nC: USER joe\nC: PASS secret word\nS: +OK \nS: +OK \nC: QUIT\nS: +OK bye\nEND\n")
		if got := strings.Join(seen, "|"); got != "user|joe|secret word|pop3d|POP3S|127.0.0.2" {
			t.Errorf("seen %q", got)
		}
	})
}

func TestLogTellsWhoDidWhat(t *testing.T) {
	inBubble(t, func(w *world) {
		var log bytes.Buffer
		w.server.Log = slog.New(slog.NewTextHandler(&log, nil))
		w.play(`F: new/a "x\n"`)
		w.login()
		w.play("C: RETR 1\nS: +OK*\nS: x\nS: .\nC: QUIT\nS: +OK bye\nEND\n")
		w.server.Close()
		for _, want := range []string{`msg="login accepted"`, "user=joe", "protocol=POP3 ", "messages=1", `msg="session ended"`, "retrieved=1"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %s in %s", want, &log)
			}
		}
		if strings.Contains(log.String(), "secret word") {
			t.Error("the log holds the password")
		}
	})
}

func TestImplicitTLS(t *testing.T) {
	inBubble(t, func(w *world) {
		w.server.TLSConfig, w.server.STLS = w.ca.Server("mx.test"), pop3.Required
		ln, err := w.net.Listen("tcp", "192.0.2.1:995")
		if err != nil {
			t.Fatal(err)
		}
		go w.server.ServeTLS(ln)
		defer w.server.Close()
		if w.conn, err = w.net.DialContext(w.t.Context(), "tcp", "192.0.2.1:995"); err != nil {
			t.Fatal(err)
		}
		w.play("TLS\nS: +OK*\nC: STLS\nS: -ERR STLS is not available\nC: USER joe\nC: PASS secret word\n" +
			"S: +OK \nS: +OK \nC: QUIT\nS: +OK bye\nEND\n")
	})
}
