package scan_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/scan"
)

// readSpamc reads a question with its Content-length.
func readSpamc(r io.Reader) string {
	br := bufio.NewReader(r)
	var b strings.Builder
	n := int64(0)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "broken off"
		}
		b.WriteString(line)
		fmt.Sscanf(line, "Content-length: %d", &n)
		if line == "\r\n" {
			break
		}
	}
	io.CopyN(&b, br, n)
	return b.String()
}

func TestSpamdAnswers(t *testing.T) {
	const ok = "SPAMD/1.1 0 EX_OK\r\n"
	for _, test := range []struct {
		name, answer string
		rejectAt     float64
		action       sqmail.Action
		header       string
		fails        bool
	}{
		{
			name: "ham", answer: ok + "Content-length: 4\r\nSpam: False ; 1.25 / 5.0\r\n\r\nA,BC\r\n", action: sqmail.ActionTag,
			header: "X-Spam-Status: No, score=1.2 required=5.0\n\ttests=A,BC\n",
		},
		{
			name: "spam", answer: ok + "Spam: True ; 15.3 / 5.0\r\n\r\n\r\n", action: sqmail.ActionTag, rejectAt: 15.4,
			header: "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=15.3 required=5.0\n",
		},
		{name: "much spam", answer: ok + "Spam: True ; 15.3 / 5.0\r\n\r\nA", rejectAt: 15.3, action: sqmail.ActionReject},
		{
			name: "a list that would be a field", answer: ok + "Spam: Yes ; -1 / 5\r\n\r\nA\r\nX-Evil: 1,\x01B", action: sqmail.ActionTag,
			header: "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=-1.0 required=5.0\n\ttests=A,X-Evil:,1,B\n",
		},
		{
			name: "a long list", answer: ok + "Spam: no ; 0 / 5\n\n" + strings.Repeat("LONG_NAME,", 1000), action: sqmail.ActionTag,
			header: "X-Spam-Status: No, score=0.0 required=5.0\n\ttests=" + strings.Repeat("LONG_NAME,", 80) + "...\n",
		},
		{name: "nothing", fails: true},
		{name: "an error", answer: "SPAMD/1.0 76 Bad header line\r\n\r\n", fails: true},
		{name: "busy", answer: "SPAMD/1.1 75 EX_TEMPFAIL\r\n\r\n", fails: true},
		{name: "cut off", answer: ok + "Spam: False ; 1.0 / 5.0\r\n", fails: true},
		{name: "no result", answer: ok + "\r\nA,B", fails: true},
		{name: "no score", answer: ok + "Spam: False\r\n\r\n", fails: true},
		{name: "maybe", answer: ok + "Spam: Maybe ; 1 / 5\r\n\r\n", fails: true},
		{name: "not a number", answer: ok + "Spam: False ; NaN / 5\r\n\r\n", fails: true},
		{name: "endless", answer: ok + "Spam: False ; 1 / 5\r\n\r\n" + strings.Repeat("A,", 1<<20), fails: true},
		{name: "another server", answer: "220 mail.test ESMTP\r\n", fails: true},
	} {
		d := &daemon{answer: test.answer}
		v, err := ask(t, &scan.Spamd{Dial: d.dial(t, readSpamc), RejectAt: test.rejectAt, User: "joe\n"}, message)
		if test.fails {
			if sqmail.ClassOf(err) != sqmail.Deferral {
				t.Errorf("%s: %+v, %v", test.name, v, err)
			}
		} else if err != nil || v.Action != test.action || v.Header != test.header {
			t.Errorf("%s: %+v, %v", test.name, v, err)
		}
		if v.Action == sqmail.ActionReject && v.Reply.Code != 554 {
			t.Errorf("%s: %v", test.name, v.Reply)
		}
		want := "SYMBOLS SPAMC/1.5\r\nContent-length: 46\r\nUser: joe?\r\n\r\nReceived: from client.test\n" + message
		if got := <-d.heard; got != want {
			t.Errorf("spamd was asked %q", got)
		}
	}
}

func TestLongMessagesPassUnseen(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		t.Error("the daemon was asked")
		return nil, io.EOF
	}
	long := strings.Repeat("line\n", 1<<18)
	dir := t.TempDir()
	for _, f := range []filter.BodyFilter{
		&scan.Spamd{Dial: dial, TempDir: dir},
		&scan.Rspamd{Dial: dial, TempDir: dir, MaxSize: 1000},
	} {
		if v, err := ask(t, f, long); err != nil || v.Action != sqmail.ActionPass || v.Rule != "longer than MaxSize" {
			t.Errorf("%+v, %v", v, err)
		}
		empty(t, dir)
	}
}

func TestRelayClientsAreNotAskedAbout(t *testing.T) {
	s := session()
	s.Relayed = true
	if v, err := askIn(t, t.Context(), &scan.Spamd{Strangers: true}, s, message); err != nil || v.Rule != "not looked at" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := askIn(t, t.Context(), &scan.Rspamd{Strangers: true}, s, message); err != nil || v.Rule != "not looked at" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestSpamdHasTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := ask(t, &scan.Spamd{Dial: (&daemon{deaf: true}).dial(t, readSpamc)}, message)
		if err == nil || time.Since(start) != 5*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		v, err := ask(t, &scan.Spamd{Dial: (&daemon{deaf: true}).dial(t, readSpamc), Timeout: time.Second, Pass: true}, message)
		if err != nil || v.Rule != "not asked" || time.Since(start) != 5*time.Minute+time.Second {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// A slow client holds no connection to spamd.
func TestSpamdIsAskedAtTheEnd(t *testing.T) {
	dialled := false
	d := &daemon{answer: "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n"}
	dial := d.dial(t, readSpamc)
	f := &scan.Spamd{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = true
		return dial(ctx, network, address)
	}}
	s, err := f.Body(t.Context(), session())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	io.WriteString(s, message)
	if dialled {
		t.Error("there is a connection before the message is complete")
	}
	if _, err := s.End(); err != nil || !dialled {
		t.Error(err)
	}
}

// What stops reading before the end has not seen everything.
func TestSpamdMustReadTheWhole(t *testing.T) {
	d := &daemon{early: true, answer: "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n"}
	if v, err := ask(t, &scan.Spamd{Dial: d.dial(t, readSpamc), Timeout: time.Second}, message); err == nil {
		t.Errorf("%+v", v)
	}
}
