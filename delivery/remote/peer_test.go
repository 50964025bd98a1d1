package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
)

// slowPeer takes a message, and its time.
func slowPeer(w *world, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReader(c)
		say := func(s string) { io.WriteString(c, s+"\r\n") }
		say("220 x")
		for {
			line, err := br.ReadString('\n')
			if err != nil || line == "QUIT\r\n" {
				return
			}
			if line != "DATA\r\n" {
				say("250 ok")
				continue
			}
			say("354 go")
			w.keepBody(readBody(br))
			time.Sleep(pause)
			say("250 ok")
		}
	}
}

// backend is a go-smtp server that keeps what it gets.
type backend struct {
	mu       sync.Mutex
	got      []string // "from to body"
	sessions int
	login    string
}

type peerSession struct {
	*backend
	from string
	to   []string
}

func (b *backend) NewSession(*smtp.Conn) (smtp.Session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions++
	return &peerSession{backend: b}, nil
}

func (s *peerSession) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }

func (s *peerSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *peerSession) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, fmt.Sprintf("%s %s %s", s.from, s.to, body))
	return nil
}

func (s *peerSession) Reset()                   { s.from, s.to = "", nil }
func (s *peerSession) Logout() error            { return nil }
func (s *peerSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *peerSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(identity, user, password string) error {
		if identity != "" || user != "tim" || password != "secret" {
			return errors.New("no")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.login = user
		return nil
	}), nil
}

// serveGoSMTP starts a go-smtp server on loopback.
func serveGoSMTP(t *testing.T, b *backend, change func(*smtp.Server)) string {
	t.Helper()
	s := smtp.NewServer(b)
	s.Domain = "peer.test"
	change(s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-served })
	return l.Addr().String()
}

func relayTo(t testing.TB, address string) sqmail.Route {
	t.Helper()
	ap, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return sqmail.Route{Relay: sqmail.Relay{Host: ap.IP.String(), Port: uint16(ap.Port)}}
}

func TestForeignPeer(t *testing.T) {
	b := &backend{}
	route := relayTo(t, serveGoSMTP(t, b, func(s *smtp.Server) {
		s.TLSConfig = newAuthority().serverFor(t, "127.0.0.1")
		s.EnableSMTPUTF8, s.EnableDSN = true, true
	}))
	route.Relay.User, route.Relay.Password = "tim", "secret"
	a := &remote.Agent{TLS: policy(&remote.TLSRule{Mode: remote.TLSRequired, VerifyChain: true, VerifyName: true, Roots: newAuthority().pool})}
	defer a.Close()
	for range 3 {
		m := message("Subject: ü\n\n.dot\nü\n", "u@x.test", "nobody@x.test", "ü@x.test")
		m.Route = route
		m.Envelope.Recipients[0].Notify = sqmail.NotifyFailure
		out := deliver(t, a, m)
		if out[0].Class != sqmail.Accepted || !strings.HasPrefix(out[0].Text, "127.0.0.1 TLS transmitted message accepted.\n") ||
			out[1].Class != sqmail.Rejection || out[1].Reply.Enhanced != (sqmail.EnhancedCode{5, 1, 1}) || out[2].Class != sqmail.Accepted {
			t.Fatalf("%+v", out)
		}
	}
	want := "s@me.test [u@x.test ü@x.test] Subject: ü\r\n\r\n.dot\r\nü\r\n"
	if len(b.got) != 3 || b.got[2] != want || b.login != "tim" || b.sessions != 2 { // one in the clear, one in TLS
		t.Errorf("%q, login %q, %d sessions", b.got, b.login, b.sessions)
	}
}

func TestForeignLMTPPeer(t *testing.T) {
	b := &backend{}
	route := relayTo(t, serveGoSMTP(t, b, func(s *smtp.Server) { s.LMTP = true }))
	route.Relay.Protocol = "lmtp"
	a := &remote.Agent{}
	defer a.Close()
	m := message(mail, "u@x.test", "nobody@x.test", "v@x.test")
	m.Route = route
	out := deliver(t, a, m)
	if out[0].Class != sqmail.Accepted || out[1].Class != sqmail.Rejection || out[2].Class != sqmail.Accepted || len(b.got) != 1 {
		t.Errorf("%+v, %q", out, b.got)
	}
}

func TestManyAtOnce(t *testing.T) {
	b := &backend{}
	route := relayTo(t, serveGoSMTP(t, b, func(*smtp.Server) {}))
	a := &remote.Agent{MaxMessages: 7, MaxIdle: 5}
	var all sync.WaitGroup
	var failed atomic.Int64
	for worker := range 20 {
		all.Go(func() {
			for i := range 10 {
				m := message(mail, fmt.Sprintf("u%d@x.test", worker*10+i))
				m.Route = route
				out, err := a.Deliver(t.Context(), m)
				if err != nil || out[0].Class != sqmail.Accepted {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	a.Close()
	seen := map[string]bool{}
	for _, g := range b.got {
		seen[g] = true
	}
	if failed.Load() != 0 || len(b.got) != 200 || len(seen) != 200 {
		t.Errorf("%d failed, %d arrived, %d of them different", failed.Load(), len(b.got), len(seen))
	}
}

// sink is the fastest peer there is: it takes and discards.
func sink(c net.Conn) {
	defer c.Close()
	br := bufio.NewReaderSize(c, 16<<10)
	bw := bufio.NewWriter(c)
	bw.WriteString("220 x\r\n")
	for {
		if br.Buffered() == 0 && bw.Flush() != nil {
			return
		}
		line, err := br.ReadSlice('\n')
		if err != nil {
			return
		}
		switch line[0] {
		case 'E':
			bw.WriteString("250-x\r\n250-PIPELINING\r\n250-SIZE\r\n250 8BITMIME\r\n")
		case 'D':
			bw.WriteString("354 go\r\n")
			bw.Flush()
			for err == nil && !bytes.Equal(line, []byte(".\r\n")) {
				line, err = br.ReadSlice('\n')
			}
			bw.WriteString("250 ok\r\n")
		default:
			bw.WriteString("250 ok\r\n")
		}
	}
}

func listenSink(tb testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { sink(c) })
		}
	})
	tb.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// BenchmarkDeliver is the rate of 4 KiB messages to one peer.
func BenchmarkDeliver(b *testing.B) {
	text := "Subject: x\n\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", 64)
	for _, workers := range []int{1, 20} {
		b.Run(fmt.Sprintf("connections=%d", workers), func(b *testing.B) {
			route := relayTo(b, listenSink(b))
			a := &remote.Agent{}
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			for range workers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						m := message(text, "u@x.test")
						m.Route = route
						if out, err := a.Deliver(context.Background(), m); err != nil || out[0].Class != sqmail.Accepted {
							b.Errorf("%+v, %v", out, err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			b.StopTimer()
			a.Close()
		})
	}
}
