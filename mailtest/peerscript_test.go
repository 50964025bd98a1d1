package mailtest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/mailtest"
)

func TestPeerFollowsItsScript(t *testing.T) {
	var n mailtest.Network
	p := mailtest.NewPeer(t, &n, mxAddress)
	p.On(mailtest.Rcpt, mailtest.Nth(3)).Reply(451, "4.7.1", "slow down\nplease")
	p.On(mailtest.Rcpt, mailtest.For("EVE@b.test", `"joe"@b.test`)).Reply(550, "5.1.1", "nobody")
	p.On(mailtest.Hello).Reply(250, "", "other.test\nSIZE 10")
	p.On(mailtest.Body).Reply(554, "", "no")
	p.On(mailtest.Quit).Reply(421, "", "gone")
	d := dial(t, &n)
	d.says(`
		> 220
		EHLO mx.test
		> 250-other.test
		MAIL FROM:<joe@a.test>
		> 250
		RCPT TO:<a@b.test>
		> 250
		RCPT TO:<eve@b.test>
		> 550 5.1.1 nobody
		RCPT TO:<c@b.test>
		> 451-4.7.1 slow down
		RCPT TO:<joe@b.test>
		> 550
		DATA
		> 354
		.
		> 554 no
		QUIT
		> 421`)
	d.fails(io.EOF)
	if len(p.Messages()) != 0 {
		t.Error("a refused message was recorded")
	}
}

func TestPeerGreylistsAndThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n mailtest.Network
		p := mailtest.NewPeer(t, &n, mxAddress)
		p.On(mailtest.Rcpt, mailtest.Greylisted(5*time.Minute)).Reply(450, "4.7.1", "come back")
		p.On(mailtest.Mail, mailtest.Above(2, time.Hour)).Reply(451, "4.7.1", "too fast")
		p.On(mailtest.Noop, mailtest.InSession(mailtest.Nth, 2)).Reply(500, "", "enough")
		p.On(mailtest.Rset, mailtest.After(1)).Reply(502, "", "once")
		d := dial(t, &n)
		d.says(greet + `
			MAIL FROM:<>
			> 250
			RCPT TO:<bob@b.test>
			> 450
			NOOP
			> 250
			NOOP
			> 500
			RSET
			> 250`)
		time.Sleep(5 * time.Minute)
		d.says(`
			MAIL FROM:<>
			> 250
			RCPT TO:<bob@b.test>
			> 250
			RSET
			> 502
			MAIL FROM:<>
			> 451`)
		time.Sleep(time.Hour)
		d.says("MAIL FROM:<>\n> 250")
		d = dial(t, &n)
		d.says(greet + "\nNOOP\n> 250\nNOOP\n> 500")
	})
}

func TestPeerMisbehaves(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rule  func(*mailtest.Peer)
		until string // what is said before
		want  error
		taken int
	}{
		{"drops at connect", func(p *mailtest.Peer) { p.On(mailtest.Connect).Drop() }, "", syscall.ECONNRESET, 0},
		{"closes at connect", func(p *mailtest.Peer) { p.On(mailtest.Connect).Close() }, "", io.EOF, 0},
		{"hangs at connect", func(p *mailtest.Peer) { p.On(mailtest.Connect).Hang() }, "", context.DeadlineExceeded, 0},
		{"hangs behind the hello name", func(p *mailtest.Peer) { p.On(mailtest.Hello, mailtest.Nth(1)).Hang() },
			"> 220\nEHLO mx.test", context.DeadlineExceeded, 0},
		{"drops at any stage", func(p *mailtest.Peer) { p.On(mailtest.Any, mailtest.Nth(3)).Drop() },
			greet + "\nMAIL FROM:<>", syscall.ECONNRESET, 0},
		{"hangs behind the message", func(p *mailtest.Peer) { p.On(mailtest.Body).Hang() }, greet + transaction, context.DeadlineExceeded, 0},
		{"drops behind the message", func(p *mailtest.Peer) { p.On(mailtest.Body).Drop() }, greet + transaction, syscall.ECONNRESET, 0},
		{"takes it and drops", func(p *mailtest.Peer) { p.On(mailtest.Body).Take().Drop() }, greet + transaction, syscall.ECONNRESET, 1},
		{"half-closes behind the message", func(p *mailtest.Peer) { p.On(mailtest.Body).Take().HalfClose() }, greet + transaction, io.EOF, 1},
		{"a reply that has no end", func(p *mailtest.Peer) { p.On(mailtest.Hello).Raw("250-one\r\n250-tw") },
			"> 220\nEHLO mx.test", context.DeadlineExceeded, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n mailtest.Network
				p := mailtest.NewPeer(t, &n, mxAddress)
				tc.rule(p)
				d := dial(t, &n)
				d.says(tc.until)
				d.conn.SetReadDeadline(time.Now().Add(time.Hour))
				_, err := d.reply()
				if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
					err = context.DeadlineExceeded
				}
				if !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v\n%s", err, tc.want, p.Transcript())
				}
				if len(p.Messages()) != tc.taken {
					t.Errorf("took %d messages", len(p.Messages()))
				}
			})
		})
	}
}

func TestPeerStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n mailtest.Network
		p := mailtest.NewPeer(t, &n, mxAddress)
		p.On(mailtest.Mail).Stall()
		d := dial(t, &n)
		d.says(greet + "\nMAIL FROM:<>")
		d.conn.SetDeadline(time.Now().Add(time.Hour))
		if _, err := d.conn.Write(make([]byte, 1<<20)); err == nil {
			t.Error("a stalled peer reads")
		}
	})
}

func TestPeerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n mailtest.Network
		p := mailtest.NewPeer(t, &n, mxAddress)
		p.On(mailtest.Hello).Delay(3*time.Second).Reply(250, "", "peer.test")
		p.On(mailtest.Data).Slow(100)
		d := dial(t, &n)
		start := time.Now()
		d.says("> 220\nEHLO mx.test\n> 250")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("EHLO took %v", took)
		}
		d.says("MAIL FROM:<>\n> 250\nRCPT TO:<b@b.test>\n> 250\nDATA\n> 354")
		start = time.Now()
		io.WriteString(d.conn, strings.Repeat("x", 995)+"\r\n.\r\n")
		d.says("> 250")
		if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("1000 octets at 100 a second took %v", took)
		}
	})
}

func TestPeerBreaksInTheMiddleOfAMessage(t *testing.T) {
	var n mailtest.Network
	p := mailtest.NewPeer(t, &n, mxAddress)
	p.On(mailtest.Data).DropAfter(5000)
	d := dial(t, &n)
	d.says(greet + "\nMAIL FROM:<>\n> 250\nRCPT TO:<b@b.test>\n> 250\nDATA\n> 354")
	if _, err := d.conn.Write(make([]byte, 200<<10)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("wrote with %v", err)
	}
	d.fails(syscall.ECONNRESET)
}

// A peer that half-closes goes on reading, over TLS too: the client's writes
// succeed.
func TestHalfClosedPeerReadsOn(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var n mailtest.Network
			ca := mailtest.NewCA(t)
			p := &mailtest.Peer{ImplicitTLS: implicit, TLS: ca.Server("peer.test")}
			p.Start(t, &n, mxAddress)
			p.On(mailtest.Mail).HalfClose()
			conn, err := n.DialContext(t.Context(), "tcp", mxAddress)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if implicit {
				conn = tls.Client(conn, &tls.Config{RootCAs: ca.Pool, ServerName: "peer.test"})
			}
			d := &dialog{t, conn, bufio.NewReader(conn)}
			d.says(greet + "\nMAIL FROM:<>")
			d.fails(io.EOF)
			for range 10 {
				if _, err := conn.Write(make([]byte, 100<<10)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A test that fails shows who said what and when, once.
func TestFailureShowsTheTranscript(t *testing.T) {
	var n mailtest.Network
	f := &failedTest{TB: t}
	p := mailtest.NewPeer(f, &n, mxAddress)
	p.Start(f, &n, "192.0.2.2:25")
	d := dial(t, &n)
	d.says(greet + "\nRCPT TO:<b@b.test>\n> 503")
	d.conn.Close()
	f.end()
	log := strings.Join(f.log, "")
	for _, want := range []string{"peer.test at 192.0.2.2:25", "1 C: (connects from 198.51.100.1 at 20", "1 C: RCPT TO:<b@b.test>\n1 S: 503 "} {
		if strings.Count(log, want) != 1 {
			t.Errorf("%q is not in the log once:\n%s", want, log)
		}
	}
}

// failedTest is a test that has failed.
type failedTest struct {
	testing.TB
	cleanups []func()
	log      []string
}

func (f *failedTest) Failed() bool      { return true }
func (f *failedTest) Cleanup(do func()) { f.cleanups = append(f.cleanups, do) }
func (f *failedTest) Logf(format string, args ...any) {
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

func (f *failedTest) end() {
	for _, do := range slices.Backward(f.cleanups) {
		do()
	}
}
