package milter_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/milter"
)

// fake is a milter of go-milter's server. It keeps what it hears, and answers
// as answers says: by event, or by event and argument.
type fake struct {
	mu      sync.Mutex
	heard   []string
	macros  map[string]string
	answers map[string]gomilter.Response
	modify  func(m *gomilter.Modifier)
}

func (f *fake) answer(m *gomilter.Modifier, event, arg string) (gomilter.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, strings.TrimSpace(event+" "+arg))
	for name, value := range m.Macros {
		f.macros[name] = value
	}
	for _, key := range []string{event + " " + arg, event} {
		if r := f.answers[key]; r != nil {
			return r, nil
		}
	}
	return gomilter.RespContinue, nil
}

func (f *fake) events() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := strings.Join(f.heard, "; ")
	f.heard = nil
	return all
}

func (f *fake) Connect(host, family string, port uint16, addr net.IP, m *gomilter.Modifier) (gomilter.Response, error) {
	return f.answer(m, "connect", fmt.Sprint(host, " ", family, " ", port, " ", addr))
}
func (f *fake) Helo(name string, m *gomilter.Modifier) (gomilter.Response, error) {
	return f.answer(m, "helo", name)
}
func (f *fake) MailFrom(from string, m *gomilter.Modifier) (gomilter.Response, error) {
	return f.answer(m, "mail", from)
}
func (f *fake) RcptTo(to string, m *gomilter.Modifier) (gomilter.Response, error) {
	return f.answer(m, "rcpt", to)
}
func (f *fake) Header(name, value string, m *gomilter.Modifier) (gomilter.Response, error) {
	return f.answer(m, "header", name+"="+value)
}
func (f *fake) Headers(_ textproto.MIMEHeader, m *gomilter.Modifier) (gomilter.Response, error) {
	return f.answer(m, "eoh", "")
}
func (f *fake) BodyChunk(chunk []byte, m *gomilter.Modifier) (gomilter.Response, error) {
	return f.answer(m, "body", string(chunk))
}
func (f *fake) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	r, err := f.answer(m, "end", "")
	if f.modify != nil {
		f.modify(m)
	}
	return r, err
}
func (f *fake) Abort(m *gomilter.Modifier) error {
	f.answer(m, "abort", "")
	return nil
}

// serve serves f on a Unix socket, and returns a Filter that asks it.
func serve(t *testing.T, f *fake, actions gomilter.OptAction, protocol gomilter.OptProtocol) *milter.Filter {
	t.Helper()
	f.macros = map[string]string{}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &gomilter.Server{NewMilter: func() gomilter.Milter { return f }, Actions: actions, Protocol: protocol}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { l.Close(); <-done })
	return &milter.Filter{Address: socket, HostName: "mx.test"}
}

func newSession() *filter.Session {
	return &filter.Session{Peer: &sqmail.Peer{
		Remote: netip.MustParseAddrPort("192.0.2.1:2525"), Name: "host.test", Hello: "client.test", Session: "s1", User: "joe", Mechanism: "plain",
	}}
}

func newEnvelope() *sqmail.Envelope {
	return &sqmail.Envelope{ReversePath: sqmail.PathOf("a@x.test"), Size: 100, Header: []byte("Received: ours\n")}
}

const message = "Subject: hi\nX-Folded: a\n\tb\nSubject:  again\n\nhello\nworld\n"

// dialogue takes f through a transaction, up to the first refusal, which it
// returns with its stage.
func dialogue(ctx context.Context, f *milter.Filter, s *filter.Session, text string) (stage string, v sqmail.Verdict, err error) {
	refuses := func(name string, next sqmail.Verdict, nextErr error) bool {
		stage, v, err = name, next, nextErr
		return err != nil || v.Action >= sqmail.ActionDefer
	}
	if s.Envelope == nil {
		if v, err := f.Connect(ctx, s); refuses("connect", v, err) {
			return stage, v, err
		}
		if v, err := f.Hello(ctx, s); refuses("hello", v, err) {
			return stage, v, err
		}
	}
	s.Envelope = newEnvelope()
	if v, err := f.ReversePath(ctx, s); refuses("mail", v, err) {
		return stage, v, err
	}
	for _, a := range []string{"b@y.test", "c@y.test"} {
		to := sqmail.Recipient{Path: sqmail.PathOf(a)}
		if v, err := f.Recipient(ctx, s, &to); refuses("rcpt", v, err) {
			return stage, v, err
		}
		s.Envelope.Recipients = append(s.Envelope.Recipients, to)
	}
	v, err = body(ctx, f, s, text)
	return "body", v, err
}

// body shows f a message.
func body(ctx context.Context, f *milter.Filter, s *filter.Session, text string) (sqmail.Verdict, error) {
	scanner, err := f.Body(ctx, s)
	if scanner == nil || err != nil {
		return sqmail.Verdict{Rule: "not looked at"}, err
	}
	defer scanner.Close()
	for len(text) > 0 {
		n := min(len(text), 1000)
		if _, err := io.WriteString(scanner, text[:n]); err != nil {
			return sqmail.Verdict{}, err
		}
		text = text[n:]
	}
	return scanner.End()
}

// packet is one of the protocol's.
func packet(code byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))) + string(code) + data
}

// negotiated is a milter's part of the negotiation: version 6, actions and
// protocol.
func negotiated(actions, protocol uint32) string {
	b := binary.BigEndian.AppendUint32(nil, 6)
	b = binary.BigEndian.AppendUint32(b, actions)
	return packet('O', string(binary.BigEndian.AppendUint32(b, protocol)))
}

// scripted returns a Dial for a milter that says script to whatever it hears,
// and then nothing; or, with hangup, ends.
func scripted(t testing.TB, script string, hangup bool) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		var done sync.WaitGroup
		done.Go(func() { io.Copy(io.Discard, server) })
		done.Go(func() {
			io.WriteString(server, script)
			if hangup {
				server.Close()
			}
		})
		t.Cleanup(func() { client.Close(); server.Close(); done.Wait() })
		return client, nil
	}
}
