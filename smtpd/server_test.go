package smtpd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

func TestZeroServerServes(t *testing.T) {
	var server smtpd.Server
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := smtpdtest.NewClient(t, conn, nil)
	c.Expect(220)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 451)
	c.Do("QUIT", 221)
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != smtpd.ErrServerClosed {
		t.Error(err)
	}
	if err := server.Serve(l); err != smtpd.ErrServerClosed {
		t.Error("a server that was shut down serves again:", err)
	}
}

func TestServeTLSNeedsConfig(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := new(smtpd.Server).ServeTLS(l); err == nil {
		t.Error("served")
	}
}

func TestImplicitTLS(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewTLSServer(t, &r, func(s *smtpd.Server) { s.StartTLS = smtpd.Required })
	c := server.Connect(t)
	c.Handshake()
	c.Expect(220)
	if ehlo := c.Do("EHLO c", 250); strings.Contains(ehlo, "STARTTLS") {
		t.Error("STARTTLS is offered under TLS")
	}
	c.Do("STARTTLS", 503)
	c.Mail("a@example.org", "b@example.test", "text\n")
	if m := r.Messages()[0]; m.Envelope.Peer.Protocol != "ESMTPS" || m.Envelope.Peer.TLS == nil {
		t.Errorf("%+v", m.Envelope.Peer)
	}
}

// TestClientCertificate: only a certificate that was verified proves anything,
// and only if the server is told whom.
func TestClientCertificate(t *testing.T) {
	joe := func(*tls.ConnectionState) string { return "joe" }
	for _, test := range []struct {
		name     string
		ask      tls.ClientAuthType
		trusted  bool // the authority is in ClientCAs
		identity func(*tls.ConnectionState) string
		user     string
	}{
		{"verified", tls.VerifyClientCertIfGiven, true, joe, "joe"},
		{"verified, of nobody", tls.VerifyClientCertIfGiven, true, func(*tls.ConnectionState) string { return "" }, ""},
		{"verified, but that means nothing", tls.VerifyClientCertIfGiven, true, nil, ""},
		{"verified after the handshake", tls.RequestClientCert, true, joe, "joe"},
		{"of a foreign authority", tls.RequestClientCert, false, joe, ""},
		{"not verified", tls.RequireAnyClientCert, true, joe, ""},
		{"not asked for", tls.NoClientCert, true, joe, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r smtpdtest.Recorder
			server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) {
				s.Certificate, s.Verifier = test.identity, users
				s.TLSConfig.ClientAuth = test.ask
				s.TLSConfig.ClientCAs = x509.NewCertPool()
				if test.trusted {
					s.TLSConfig.ClientCAs.AddCert(s.TLSConfig.Certificates[0].Leaf)
				}
			})
			server.ClientTLS.Certificates = server.TLSConfig.Certificates // it signs itself
			c := server.Dial(t)
			c.StartTLS()
			ehlo := c.Do("EHLO c", 250)
			if offered := strings.Contains(ehlo, "AUTH"); offered != (test.user == "") {
				t.Errorf("AUTH offered: %v", offered)
			}
			c.Mail("a@example.org", "b@example.test", "text\n")
			if peer := r.Messages()[0].Envelope.Peer; peer.User != test.user {
				t.Errorf("user %q, want %q", peer.User, test.user)
			}
		})
	}
}

func TestEnvelopeIsWhatTheClientSaid(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r)
	c := server.Dial(t)
	c.StartTLS()
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org> size=7 BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=x+3Dy REQUIRETLS", 250)
	c.Do("RCPT TO:<b@example.test> NOTIFY=success,delay ORCPT=utf-8;jos\u00e9+2Bx@example.test", 250)
	c.Do("RCPT TO:<c@example.test>", 250)
	c.Do("BDAT 2 LAST\r\n\r\n", 250)
	env := r.Messages()[0].Envelope
	env.Header, env.Peer = nil, nil
	want := sqmail.Envelope{
		ReversePath: sqmail.PathOf("a@example.org"), Size: 7, Body: sqmail.Body8Bit, SMTPUTF8: true,
		RequireTLS: true, Return: sqmail.ReturnHeaders, EnvelopeID: "x=y",
		Recipients: []sqmail.Recipient{
			{Path: sqmail.PathOf("b@example.test"), Notify: sqmail.NotifySuccess | sqmail.NotifyDelay, Original: "utf-8;josé+x@example.test"},
			{Path: sqmail.PathOf("c@example.test")},
		},
	}
	if !reflect.DeepEqual(env, want) {
		t.Errorf("%+v\nwant %+v", env, want)
	}
}

func TestProtocolFollowsTheSession(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) { s.Verifier, s.AuthFailureDelay = users, -1 })
	c := server.Dial(t)
	send := func(param, want string) {
		t.Helper()
		c.Do("MAIL FROM:<a@example.org>"+param, 250)
		c.Do("RCPT TO:<b@example.test>", 250)
		c.Do("DATA", 354)
		c.Do(".", 250)
		all := r.Messages()
		env := all[len(all)-1].Envelope
		if env.Peer.Protocol != want || !strings.Contains(string(env.Header), " with "+want+";") {
			t.Errorf("%s, want %s\n%s", env.Peer.Protocol, want, env.Header)
		}
	}
	c.Do("HELO c", 250)
	send("", "SMTP")
	c.Do("EHLO c", 250)
	send("", "ESMTP")
	send(" SMTPUTF8", "UTF8SMTP")
	send("", "ESMTP")
	c.Do("MAIL FROM:<a@example.org> SMTPUTF8", 250)
	c.Do("RSET", 250)
	send("", "ESMTP")
	c.Do("AUTH PLAIN AGpvZQBzZWNyZXQ=", 235)
	send("", "ESMTPA")
	c.StartTLS()
	c.Do("EHLO c", 250)
	send("", "ESMTPS")
	c.Do("AUTH PLAIN AGpvZQB3cm9uZw==", 535)
	send("", "ESMTPS")
	if all := r.Messages(); all[len(all)-1].Envelope.Peer.User != "" {
		t.Error("who has failed to authenticate has a name")
	}
	c.Do("AUTH PLAIN AGpvZQBzZWNyZXQ=", 235)
	send("", "ESMTPSA")
	send(" SMTPUTF8", "UTF8SMTPSA")
}

func TestSettingsByClient(t *testing.T) {
	special := &smtpd.Server{HelloName: "special.test", MaxMessageBytes: 1000, StartTLS: smtpd.Off, Policy: smtpd.AcceptAll}
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) {
		s.ForPeer = func(_ context.Context, peer *sqmail.Peer) (*smtpd.Server, error) {
			if !peer.Remote.Addr().IsLoopback() || peer.Session == "" || peer.Listener != "smtpd" {
				t.Errorf("%+v", peer)
			}
			return special, nil
		}
	})
	c := server.Connect(t)
	if greeting := c.Expect(220); greeting != "220 special.test ESMTP" {
		t.Error(greeting)
	}
	if ehlo := c.Do("EHLO c", 250); !strings.Contains(ehlo, "SIZE 1000") || strings.Contains(ehlo, "STARTTLS") {
		t.Error(ehlo)
	}
}

func TestTooManyConnections(t *testing.T) {
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) { s.MaxConnections = 1 })
	server.Dial(t)
	c := server.Connect(t)
	if r := c.Expect(421); !strings.HasPrefix(r, "421 4.7.0") {
		t.Error(r)
	}
	c.ExpectEnd()
}

// TestUnknownAddressIsNotLocal: without a Policy nobody relays who is not known
// to be on this host.
func TestUnknownAddressIsNotLocal(t *testing.T) {
	server := &smtpd.Server{Receiver: &smtpdtest.Recorder{}, Verifier: users}
	ours, theirs := net.Pipe()
	go server.ServeConn(theirs)
	defer server.Close()
	c := smtpdtest.NewClient(t, ours, nil)
	c.Expect(220)
	if ehlo := c.Do("EHLO c", 250); strings.Contains(ehlo, "AUTH") {
		t.Error(ehlo)
	}
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.Do("RCPT TO:<b@example.test>", 550)
}

// TestMemoryOfRecipientsIsBounded: long paths count for more.
func TestMemoryOfRecipientsIsBounded(t *testing.T) {
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) { s.MaxRecipients = 10 })
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	long := strings.Repeat("x", 800) + "@example.test"
	for range 3 {
		c.Do("RCPT TO:<"+long+">", 250)
	}
	c.Do("RCPT TO:<"+long+">", 452)
	c.Do("RCPT TO:<b@example.test>", 250)
}

// TestLinesOfMessagesHaveNoLimit.
func TestLinesOfMessagesHaveNoLimit(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r)
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	message := strings.Repeat("x", 1<<20) + "\n"
	c.Mail("a@example.org", "b@example.test", message)
	if got := r.Messages()[0].Body; got != message {
		t.Errorf("%d octets, want %d", len(got), len(message))
	}
}

func TestReceiptIsInTheReply(t *testing.T) {
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{})
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	r := c.Mail("a@example.org", "b@example.test", "text\n")
	if !regexp.MustCompile(`^250 2\.0\.0 ok [0-9]{10} qp 1$`).MatchString(r) {
		t.Error(r)
	}
}

func TestTraceStandsBeforeWhatThePolicyAdds(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) {
		s.TraceFor = true
		s.Policy = smtpd.PolicyFunc(func(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope, _ *sqmail.Recipient) error {
			env.Header = append(env.Header, "X-Tag: yes\n"...)
			return nil
		})
	})
	c := server.Dial(t)
	c.Do("EHLO client.test", 250)
	c.Mail("a@example.org", "b@example.test", "text\n")
	got := string(r.Messages()[0].Envelope.Header)
	want := `^Received: from unknown \(HELO client\.test\) \(127\.0\.0\.1\)\n  by mx\.example\.test with ESMTP for <b@example\.test>; .* -0000\nX-Tag: yes\n$`
	if !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("%s", got)
	}
}

// lockedBuffer may be written to by sessions while the test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// rawHandler is a handler without any quoting.
type rawHandler struct {
	slog.Handler
	out *lockedBuffer
}

func (h rawHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h rawHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" {
			line += " " + a.Key + "=" + a.Value.String()
		}
		return true
	})
	h.out.Write([]byte(line + "\n"))
	return nil
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// TestLogCannotBeInjected: a handler that quotes nothing gets one line per event,
// printable, whatever clients and errors say.
func TestLogCannotBeInjected(t *testing.T) {
	var out lockedBuffer
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) {
		s.Log = slog.New(rawHandler{out: &out})
		s.Policy = smtpd.PolicyFunc(func(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
			if to.Path.Local == "x" {
				return reject(550, "line\nInjected: yes\r\x1b[2J")
			}
			return nil
		})
		s.Verifier = users
		s.AuthFailureDelay = -1
	})
	c := server.Dial(t)
	c.Do("EHLO \xff\u0085\u2028evil", 250)
	c.Do("AUTH PLAIN AGV2aWwKSW5qZWN0ZWQAeA==", 535) // evil LF Injected
	c.Do("MAIL FROM:<\"a b\"@example.org>", 250)
	c.Do("RCPT TO:<x@example.test>", 550)
	c.Do("RCPT TO:<b@example.test>", 250)
	c.Do("DATA", 354)
	c.Do(".", 250)
	server.Close()
	for line := range strings.Lines(out.b.String()) {
		if strings.HasPrefix(line, "Injected") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), notPrintable) {
			t.Errorf("%q", line)
		}
	}
	if n := strings.Count(out.b.String(), "\n"); n != 5 {
		t.Errorf("%d events, want 5:\n%s", n, out.b.String())
	}
}

func TestEventOfAcceptedMessage(t *testing.T) {
	var out lockedBuffer
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) {
		s.Log = slog.New(slog.NewJSONHandler(&out, nil))
	})
	c := server.Dial(t)
	c.Do("EHLO client.test", 250)
	c.Mail("a@example.org", "b@example.test", "text\n")
	server.Close()
	var event map[string]any
	line, _, _ := bytes.Cut(out.b.Bytes(), []byte("\n"))
	if err := json.Unmarshal(line, &event); err != nil {
		t.Fatal(err)
	}
	delete(event, "time")
	if event["session"] == "" {
		t.Error("no session")
	}
	delete(event, "session")
	want := map[string]any{
		"level": "INFO", "msg": "message accepted", "remote": "127.0.0.1", "host": "", "protocol": "ESMTP",
		"hello": "client.test", "id": "1", "size": 5.0, "from": "a@example.org", "recipients": 1.0, "tls": false,
	}
	if !reflect.DeepEqual(event, want) {
		t.Errorf("%v\nwant %v", event, want)
	}
}

// TestPolicyHearsOfSession: what a Policy of a session sees of its peer follows
// the session.
func TestPolicyHearsOfSession(t *testing.T) {
	p := &listening{}
	server := smtpdtest.NewServer(t, &smtpdtest.Recorder{}, func(s *smtpd.Server) { s.Policy = p })
	c := server.Dial(t)
	c.Do("EHLO one", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.StartTLS()
	c.Do("EHLO two", 250)
	c.Mail("a@example.org", "b@example.test", "text\n")
	server.Close()
	want := "begin connect hello:one:SMTP path:ESMTP hello:two:ESMTPS path:ESMTPS to:b data "
	if p.heard != want {
		t.Errorf("%q, want %q", p.heard, want)
	}
}

type listening struct{ heard string }

func (p *listening) note(s string) error { p.heard += s + " "; return nil }

func (p *listening) BeginSession(context.Context, *sqmail.Peer) (smtpd.Policy, error) {
	return p, p.note("begin")
}

func (p *listening) CheckConnect(context.Context, *sqmail.Peer) error { return p.note("connect") }

func (p *listening) CheckHello(_ context.Context, peer *sqmail.Peer) error {
	return p.note("hello:" + peer.Hello + ":" + peer.Protocol)
}

func (p *listening) CheckReversePath(_ context.Context, peer *sqmail.Peer, _ *sqmail.Envelope) error {
	return p.note("path:" + peer.Protocol)
}

func (p *listening) CheckRecipient(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
	return p.note("to:" + to.Path.Local)
}

func (p *listening) CheckData(context.Context, *sqmail.Peer, *sqmail.Envelope) error {
	return p.note("data")
}
