package scan_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/scan"
)

func TestClamdAnswers(t *testing.T) {
	for _, test := range []struct {
		answer string
		action sqmail.Action
		rule   string
		fails  bool
	}{
		{answer: "stream: OK\x00"},
		{answer: "stream: Eicar-Signature FOUND\x00", action: sqmail.ActionReject, rule: "Eicar-Signature"},
		{answer: "stream: A b\n\xffc FOUND\x00", action: sqmail.ActionReject, rule: "A b??c"},
		{answer: "stream: OK\x00stream: x FOUND\x00"},
		{answer: "stream: OK"},
		{answer: "", fails: true},
		{answer: "\x00", fails: true},
		{answer: "stream: Eicar", fails: true},
		{answer: "stream:  FOUND\x00", fails: true},
		{answer: "INSTREAM size limit exceeded. ERROR\x00", fails: true},
		{answer: "stream: Can't allocate memory ERROR\x00", fails: true},
		{answer: "UNKNOWN COMMAND\x00", fails: true},
		{answer: "x FOUND\x00", fails: true},
		{answer: "stream: " + strings.Repeat("x", 1<<20) + " FOUND\x00", fails: true},
	} {
		name := test.answer[:min(40, len(test.answer))]
		d := &daemon{answer: test.answer}
		v, err := ask(t, &scan.Clamd{Dial: d.dial(t, readStream)}, message)
		if test.fails {
			if sqmail.ClassOf(err) != sqmail.Deferral || sqmail.ReplyFor(err).Code != 451 {
				t.Errorf("%q: %v, %v", name, v, err)
			}
		} else if err != nil || v.Action != test.action || v.Rule != test.rule {
			t.Errorf("%q: %+v, %v", name, v, err)
		}
		if v.Action == sqmail.ActionReject && (v.Reply.Code != 554 || v.Reply.Enhanced != sqmail.EnhancedCode{5, 3, 2}) {
			t.Errorf("%q: %v", name, v.Reply)
		}
		if got := <-d.heard; got != "zINSTREAM "+message {
			t.Errorf("clamd was shown %q", got)
		}
	}
}

func TestClamdOverSockets(t *testing.T) {
	for network, address := range map[string]string{"unix": filepath.Join(t.TempDir(), "s"), "tcp": "127.0.0.1:0"} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d := &daemon{answer: "stream: X FOUND\x00", heard: make(chan string, 1)}
		go func() {
			if conn, err := l.Accept(); err == nil {
				d.serve(conn, readStream)
			}
		}()
		big := strings.Repeat("line\n", 1<<18)
		v, err := ask(t, &scan.Clamd{Address: l.Addr().String()}, big)
		if err != nil || v.Rule != "X" {
			t.Errorf("%s: %+v, %v", network, v, err)
		}
		if got := <-d.heard; got != "zINSTREAM "+big {
			t.Errorf("%s: %d octets came", network, len(got))
		}
	}
}

func TestClamdIsShownMaxSize(t *testing.T) {
	d := &daemon{answer: "stream: OK\x00"}
	if v, err := ask(t, &scan.Clamd{Dial: d.dial(t, readStream), MaxSize: 10}, message); err != nil || v.Rule != "" {
		t.Errorf("%+v, %v", v, err)
	}
	if got := <-d.heard; got != "zINSTREAM "+message[:10] {
		t.Errorf("%q", got)
	}
}

// A daemon that says that all is well before it has seen all is not believed.
func TestClamdMustReadTheWhole(t *testing.T) {
	f := &scan.Clamd{Dial: func(context.Context, string, string) (net.Conn, error) {
		client, _ := net.Pipe()
		return &hasty{client, strings.NewReader("stream: OK\x00"), 20}, nil
	}}
	if v, err := ask(t, f, message); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%+v, %v", v, err)
	}
}

// hasty is a connection to a daemon that answers and closes after some octets.
type hasty struct {
	net.Conn
	answer io.Reader
	left   int
}

func (c *hasty) Read(p []byte) (int, error) { return c.answer.Read(p) }

func (c *hasty) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestClamdThatCannotBeAsked(t *testing.T) {
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }
	for name, dial := range map[string]scan.DialFunc{
		"unreachable": refused,
		"hangs up":    (&daemon{hangup: true}).dial(t, readStream),
	} {
		if v, err := ask(t, &scan.Clamd{Dial: dial}, message); sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		var log bytes.Buffer
		f := &scan.Clamd{Dial: dial, Pass: true, Log: slog.New(slog.NewTextHandler(&log, nil))}
		v, err := ask(t, f, message)
		if err != nil || v.Action != sqmail.ActionPass || v.Rule != "not asked" || v.Input == "" {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		if !strings.Contains(log.String(), "message passes unseen") {
			t.Errorf("%s: nothing is logged", name)
		}
	}
}

func TestClamdHasTimeoutForEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{answer: "stream: OK\x00"}
		f := &scan.Clamd{Dial: d.dial(t, readStream), Timeout: time.Minute}
		s, err := f.Body(t.Context(), session())
		if err != nil {
			t.Fatal(err)
		}
		for range 30 { // a slow client is no reason to give up
			time.Sleep(50 * time.Second)
			io.WriteString(s, "line\n")
		}
		if v, err := s.End(); err != nil {
			t.Errorf("%+v, %v", v, err)
		}
		s.Close()

		start := time.Now()
		if _, err := ask(t, &scan.Clamd{Dial: (&daemon{deaf: true}).dial(t, readStream)}, message); err == nil {
			t.Error("a deaf daemon was believed")
		}
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("gave up after %v", took)
		}
	})
}

func TestEndOfContextEndsTheScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, pass := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			_, err := askIn(t, ctx, &scan.Clamd{Dial: (&daemon{deaf: true}).dial(t, readStream), Pass: pass}, session(), message)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			cancel()
		}
	})
}

func TestMessagesThatBreakOffCloseTheConnection(t *testing.T) {
	d := &daemon{}
	s, err := (&scan.Clamd{Dial: d.dial(t, readStream)}).Body(t.Context(), session())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(s, "half a mess")
	s.Close()
	if got := <-d.heard; got != "broken off" {
		t.Errorf("%q", got)
	}
}
