package callout_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/callout"
	"github.com/sqmail/sqmail/mailtest"
)

// In a test of yours t is the test's own.
var t = new(testing.T)

// The gateway in front of mx.example.org takes mail for whom that has.
func Example() {
	network := new(mailtest.Network)
	peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
	peer.On(mailtest.Rcpt, mailtest.For("nobody@example.org")).Reply(550, "5.1.1", "who?")

	f := &filter.Recipients{Rules: []filter.RecipientRule{
		{Domain: "example.org", Source: &callout.Server{Address: "192.0.2.1:25", Dialer: network}},
	}}
	for _, to := range []string{"joe@example.org", "nobody@example.org"} {
		s := &filter.Session{Peer: new(sqmail.Peer), Envelope: new(sqmail.Envelope)}
		v, err := f.Recipient(context.Background(), s, &sqmail.Recipient{Path: sqmail.PathOf(to)})
		fmt.Println(to, v.Action, err)
	}
	// Output:
	// joe@example.org pass <nil>
	// nobody@example.org reject <nil>
}

func TestAnswers(t *testing.T) {
	trouble := func(stage mailtest.Stage, code int) func(*mailtest.Peer) {
		return func(p *mailtest.Peer) { p.On(stage).Reply(code, "", "told") }
	}
	answer := func(raw string) func(*mailtest.Peer) {
		return func(p *mailtest.Peer) { p.On(mailtest.Rcpt).Raw(raw) }
	}
	for _, test := range []struct {
		name  string
		peer  func(*mailtest.Peer)
		to    string // "": joe@example.org
		known bool
		fails bool
	}{
		{name: "250", known: true},
		{name: "251", peer: trouble(mailtest.Rcpt, 251), known: true},
		{name: "550", peer: trouble(mailtest.Rcpt, 550)},
		{name: "553", peer: trouble(mailtest.Rcpt, 553)},
		{name: "551", peer: trouble(mailtest.Rcpt, 551)},
		{name: "550 of the mailbox", peer: answer("550 5.1.1 who?\r\n")},
		{name: "550 of our address", peer: answer("550 5.7.1 your address is on a list\r\n"), fails: true},
		{name: "552", peer: trouble(mailtest.Rcpt, 552), fails: true},
		{name: "554", peer: trouble(mailtest.Rcpt, 554), fails: true},
		{name: "555", peer: trouble(mailtest.Rcpt, 555), fails: true},
		{name: "450", peer: trouble(mailtest.Rcpt, 450), fails: true},
		{name: "451", peer: trouble(mailtest.Rcpt, 451), fails: true},
		{name: "421", peer: trouble(mailtest.Rcpt, 421), fails: true},
		{name: "354", peer: trouble(mailtest.Rcpt, 354), fails: true},
		{name: "500", peer: trouble(mailtest.Rcpt, 500), fails: true},
		{name: "503", peer: trouble(mailtest.Rcpt, 503), fails: true},
		{name: "530", peer: trouble(mailtest.Rcpt, 530), fails: true},
		{name: "no greeting", peer: trouble(mailtest.Connect, 554), fails: true},
		{name: "MAIL is refused", peer: trouble(mailtest.Mail, 550), fails: true},
		{name: "EHLO is not known", peer: func(p *mailtest.Peer) { p.On(mailtest.Hello, mailtest.Nth(1)).Reply(500, "", "what?") }, known: true},
		{name: "no hello is taken", peer: trouble(mailtest.Hello, 550), fails: true},
		{name: "hello later", peer: trouble(mailtest.Hello, 421), fails: true},
		{name: "no reply", peer: func(p *mailtest.Peer) { p.On(mailtest.Rcpt).Raw("hello\r\n") }, fails: true},
		{name: "two codes", peer: func(p *mailtest.Peer) { p.On(mailtest.Rcpt).Raw("250-a\r\n550 b\r\n") }, fails: true},
		{name: "half a reply", peer: func(p *mailtest.Peer) { p.On(mailtest.Rcpt).Raw("550-a\r\n"); p.On(mailtest.Rcpt).Drop() }, fails: true},
		{name: "a long line", peer: func(p *mailtest.Peer) { p.On(mailtest.Rcpt).Raw("250 " + strings.Repeat("x", 1<<20) + "\r\n") }, fails: true},
		{name: "a reply without end", peer: func(p *mailtest.Peer) { p.On(mailtest.Rcpt).Raw(strings.Repeat("250-x\r\n", 1<<16)) }, fails: true},
		{name: "gone", peer: func(p *mailtest.Peer) { p.On(mailtest.Rcpt).Drop() }, fails: true},
		{name: "quotes", to: `"a b"@example.org`, known: true},
		{name: "UTF-8", to: "jörg@example.org", known: true},
		{name: "UTF-8, not offered", to: "jörg@example.org", peer: func(p *mailtest.Peer) { p.Extensions = []string{"8BITMIME"} }},
		{name: "what is no path", to: "a\r\nDATA@example.org", fails: true},
		{name: "the null path", to: "null", fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network, peer := new(mailtest.Network), new(mailtest.Peer)
				if test.peer != nil {
					test.peer(peer)
				}
				peer.Start(t, network, "192.0.2.1:25")
				s := &callout.Server{Address: "192.0.2.1:25", Dialer: network}
				to := sqmail.PathOf("joe@example.org")
				if test.to == "null" {
					to = sqmail.Path{}
				} else if test.to != "" {
					to = sqmail.PathOf(test.to)
				}
				known, err := s.HasMailbox(t.Context(), nil, to)
				if known != test.known || (err != nil) != test.fails {
					t.Errorf("%v, %v\n%s", known, err, peer.Transcript())
				}
				if err != nil && sqmail.ClassOf(err) != sqmail.Deferral {
					t.Errorf("%v is no deferral", err)
				}
				if len(peer.Messages()) > 0 || strings.Contains(peer.Transcript(), "DATA\r\n") {
					t.Errorf("a message was sent:\n%s", peer.Transcript())
				}
			})
		})
	}
}

func TestTLS(t *testing.T) {
	ca := mailtest.NewCA(t)
	trusting, other := &tls.Config{RootCAs: ca.Pool}, &tls.Config{RootCAs: mailtest.NewCA(t).Pool}
	for _, test := range []struct {
		name    string
		server  *tls.Config
		client  *tls.Config
		require bool
		peer    func(*mailtest.Peer)
		fails   bool
		secure  bool
	}{
		{name: "offered", server: ca.Server("192.0.2.1"), client: trusting, secure: true},
		{name: "not wanted", server: ca.Server("192.0.2.1")},
		{name: "not offered", client: trusting},
		{name: "required and not offered", client: trusting, require: true, fails: true},
		{name: "required without configuration", server: ca.Server("192.0.2.1"), require: true, fails: true},
		{name: "a name", server: ca.Server("mx.test"), client: &tls.Config{RootCAs: ca.Pool, ServerName: "mx.test"}, secure: true},
		{name: "of somebody else", server: ca.Server("mx.test"), client: trusting, fails: true},
		{name: "of nobody we know", server: ca.Server("192.0.2.1"), client: other, fails: true},
		{name: "a failed handshake", server: ca.Server("192.0.2.1"), client: trusting, peer: func(p *mailtest.Peer) { p.On(mailtest.StartTLS).BadTLS() }, fails: true},
		{name: "refused", server: ca.Server("192.0.2.1"), client: trusting, peer: func(p *mailtest.Peer) { p.On(mailtest.StartTLS).Reply(454, "", "no") }, fails: true},
		{name: "words behind STARTTLS", server: ca.Server("192.0.2.1"), client: trusting, peer: func(p *mailtest.Peer) {
			p.On(mailtest.StartTLS).Raw("220 go\r\n250 injected\r\n")
		}, fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network, peer := new(mailtest.Network), &mailtest.Peer{TLS: test.server}
				if test.peer != nil {
					test.peer(peer)
				}
				peer.Start(t, network, "192.0.2.1:25")
				s := &callout.Server{Address: "192.0.2.1:25", Dialer: network, TLS: test.client, RequireTLS: test.require, Timeout: time.Minute}
				known, err := s.HasMailbox(t.Context(), nil, sqmail.PathOf("joe@example.org"))
				if known == test.fails || (err != nil) != test.fails {
					t.Errorf("%v, %v\n%s", known, err, peer.Transcript())
				}
				if got := strings.Count(peer.Transcript(), "EHLO "); test.secure != (got == 2) {
					t.Errorf("%d times EHLO:\n%s", got, peer.Transcript())
				}
			})
		})
	}
}

func TestDialoguesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(mailtest.Network)
		peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
		peer.On(mailtest.Rcpt).Hang()
		s := &callout.Server{Address: "192.0.2.1:25", Dialer: network}
		start := time.Now()
		if known, err := s.HasMailbox(t.Context(), nil, sqmail.PathOf("joe@example.org")); known || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("%v, %v after %v", known, err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start = time.Now()
		if known, err := s.HasMailbox(ctx, nil, sqmail.PathOf("joe@example.org")); known || !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("%v, %v after %v", known, err, time.Since(start))
		}
	})
}

// counted counts the connections of a network at a time.
type counted struct {
	*mailtest.Network
	mu        sync.Mutex
	now, most int
}

func (c *counted) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.Network.DialContext(ctx, network, address)
	c.add(1)
	return &countedConn{conn, c}, err
}

func (c *counted) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}

type countedConn struct {
	net.Conn
	by *counted
}

func (c *countedConn) Close() error {
	c.by.add(-1)
	return c.Conn.Close()
}

func TestDialoguesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialer := &counted{Network: new(mailtest.Network)}
		peer := mailtest.NewPeer(t, dialer.Network, "192.0.2.1:25")
		peer.On(mailtest.Rcpt).Delay(time.Second)
		s := &callout.Server{Address: "192.0.2.1:25", Dialer: dialer, MaxRunning: 3, MaxAge: -1}
		run := func(n int) (late int) {
			var all sync.WaitGroup
			results := make(chan error, n)
			for range n {
				all.Go(func() {
					_, err := s.HasMailbox(t.Context(), nil, sqmail.PathOf("joe@example.org"))
					results <- err
				})
			}
			all.Wait()
			close(results)
			for err := range results {
				if errors.Is(err, context.DeadlineExceeded) {
					late++
				} else if err != nil {
					t.Error(err)
				}
			}
			return late
		}
		start := time.Now()
		if late := run(12); late > 0 || dialer.most != 3 || time.Since(start) != 4*time.Second {
			t.Errorf("%d at a time, %d too late, after %v", dialer.most, late, time.Since(start))
		}
		s.Timeout = 2500 * time.Millisecond // waiting for a turn counts
		if late := run(12); late != 6 {
			t.Errorf("%d had no turn in time", late)
		}
	})
}

func TestServerIsNotAskedAgainAndAgain(t *testing.T) {
	for _, test := range []struct {
		name  string
		age   time.Duration
		code  int
		wait  time.Duration
		asked int // of two times
	}{
		{"at once", 0, 250, 0, 1},
		{"that it does not exist", 0, 550, 0, 1},
		{"what nobody knows", 0, 451, 0, 2},
		{"later", 0, 250, time.Minute, 2},
		{"each time", -1, 250, 0, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := new(mailtest.Network)
				peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
				peer.On(mailtest.Rcpt).Reply(test.code, "", "told")
				s := &callout.Server{Address: "192.0.2.1:25", Dialer: network, MaxAge: test.age}
				for range 2 {
					known, err := s.HasMailbox(t.Context(), nil, sqmail.PathOf("joe@example.org"))
					if known != (test.code == 250) || (err != nil) != (test.code == 451) {
						t.Errorf("%v, %v", known, err)
					}
					time.Sleep(test.wait)
				}
				synctest.Wait()
				if asked := strings.Count(peer.Transcript(), "RCPT TO:"); asked != test.asked {
					t.Errorf("asked %d times", asked)
				}
			})
		})
	}
}

// FuzzReplies reads whatever a server may say.
func FuzzReplies(f *testing.F) {
	f.Add("220 a\r\n250-a\r\n250 STARTTLS\r\n250 a\r\n250 a\r\n")
	f.Add("220 a\r\n500 a\r\n250 a\r\n250 a\r\n550 a\r\n")
	f.Fuzz(func(t *testing.T, said string) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		go func() {
			io.WriteString(theirs, said)
			theirs.Close()
		}()
		s := &callout.Server{Dialer: one{ours}}
		known, err := s.HasMailbox(t.Context(), nil, sqmail.PathOf("joe@example.org"))
		if known && (err != nil || strings.Count(said, "2") < 4) {
			t.Errorf("%q: %v, %v", said, known, err)
		}
	})
}

type one struct{ conn net.Conn }

func (o one) DialContext(context.Context, string, string) (net.Conn, error) { return o.conn, nil }
