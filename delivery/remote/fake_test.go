package remote_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/resolver"
)

var (
	_ remote.Resolver = (*resolver.Client)(nil)
	_ remote.Resolver = (*net.Resolver)(nil)
	_ remote.Dialer   = (*net.Dialer)(nil)
)

// world is a DNS and the hosts that it leads to, in memory. It works inside a
// synctest bubble.
type world struct {
	t     testing.TB
	mx    map[string]string         // domain -> "10 a.test 20 b.test", or "soft"
	addrs map[string]string         // host -> "192.0.2.1 2001:db8::1", "soft", "nodata"
	hosts map[string][]string       // address and port -> script of each connection
	serve map[string]func(net.Conn) // or what answers there
	fail  map[string]error          // or why nobody does

	mu     sync.Mutex
	dialed []string
	bodies []string
	quits  int
	tls    *tls.Config // of the peers
	ends   sync.WaitGroup
}

func newWorld(t testing.TB) *world {
	return &world{
		t:     t,
		mx:    map[string]string{"x.test": "10 mx.x.test"},
		addrs: map[string]string{"mx.x.test": "192.0.2.1"},
		hosts: map[string][]string{},
		serve: map[string]func(net.Conn){},
		fail:  map[string]error{},
	}
}

var errSoft = errors.New("the DNS is down")

func notFound(name string, exists bool) error {
	e := &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	if exists {
		e.UnwrapErr = resolver.ErrNoData
	}
	return e
}

func (w *world) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	records, found := w.mx[name]
	switch {
	case records == "soft":
		return nil, errSoft
	case !found:
		return nil, notFound(name, w.addrs[name] != "")
	}
	var all []*net.MX
	words := strings.Fields(records)
	for i := 0; i < len(words); i += 2 {
		pref := uint16(0)
		for _, c := range words[i] {
			pref = pref*10 + uint16(c-'0')
		}
		all = append(all, &net.MX{Host: words[i+1], Pref: pref})
	}
	return all, nil
}

func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	records, found := w.addrs[host]
	switch {
	case records == "soft":
		return nil, errSoft
	case !found || records == "nodata":
		return nil, notFound(host, found)
	}
	var all []netip.Addr
	for _, a := range strings.Fields(records) {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

func (w *world) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	err, serve := w.fail[address], w.serve[address]
	scripts := w.hosts[address]
	if serve == nil && len(scripts) > 0 {
		script := scripts[0]
		w.hosts[address] = scripts[1:]
		serve = func(c net.Conn) { w.play(c, script) }
	}
	w.mu.Unlock()
	switch {
	case err == errSilent:
		<-ctx.Done()
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case serve == nil:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	w.ends.Go(func() {
		defer far.Close()
		serve(far)
	})
	return near, nil
}

var errSilent = errors.New("packets are dropped")

// play is a peer that follows a script. Each line begins with what is done:
//
//	S: text   the peer sends a line
//	C: text   the client must send this line
//	B:        the client sends a body, which is kept
//	TLS:      the peer does its part of the handshake
//	raw: text the peer sends octets, as of a Go string
//	close     the peer closes the connection
//	hang      the peer does nothing more
//
// At the end the peer waits for QUIT.
func (w *world) play(conn net.Conn, script string) {
	br := bufio.NewReader(conn)
	for step := range strings.Lines(script) {
		step = strings.TrimSpace(step)
		verb, arg, _ := strings.Cut(step, ":")
		arg = strings.TrimPrefix(arg, " ")
		switch verb {
		case "":
		case "S":
			io.WriteString(conn, arg+"\r\n")
		case "C":
			line, err := br.ReadString('\n')
			if got := strings.TrimSuffix(line, "\r\n"); got != arg || err != nil {
				w.t.Errorf("the client sent %q, %v; the script wants %q", got, err, arg)
				return
			}
		case "B":
			w.keepBody(readBody(br))
		case "TLS":
			secure := tls.Server(conn, w.tls)
			if err := secure.Handshake(); err != nil {
				return
			}
			conn = secure
			br.Reset(conn)
		case "raw":
			octets, _ := strconv.Unquote(arg)
			io.WriteString(conn, octets)
		case "close":
			return
		case "hang":
			io.Copy(io.Discard, br)
			return
		default:
			w.t.Errorf("bad script line %q", step)
			return
		}
	}
	rest, _ := io.ReadAll(br)
	if string(rest) == "QUIT\r\n" {
		w.mu.Lock()
		w.quits++
		w.mu.Unlock()
	} else if len(rest) > 0 {
		w.t.Errorf("after the script the client sent %q", rest)
	}
}

func readBody(br *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := br.ReadString('\n')
		if line == ".\r\n" || err != nil {
			return b.String()
		}
		b.WriteString(line)
	}
}

func (w *world) keepBody(body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bodies = append(w.bodies, body)
}

func (w *world) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.dialed...)
}

func (w *world) ended() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quits
}

// agent returns an Agent that lives in w, for as long as the test.
func (w *world) agent() *remote.Agent {
	return &remote.Agent{
		HelloName: "me.test",
		Resolver:  w,
		Dialer:    w,
		IsOwn:     func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.99") },
	}
}

// done shuts the agent down, and waits for the peers.
func (w *world) done(a *remote.Agent) {
	w.t.Helper()
	if err := a.Shutdown(context.Background()); err != nil {
		w.t.Errorf("Shutdown: %v", err)
	}
	w.ends.Wait()
}

const mail = "Subject: hi\n\n.yo\n"

// message returns a message from s@me.test to the given recipients.
func message(text string, to ...string) *sqmail.Message {
	m := &sqmail.Message{ID: "1", Content: strings.NewReader(text), Size: int64(len(text))}
	m.Envelope.ReversePath = sqmail.PathOf("s@me.test")
	for _, r := range to {
		m.Envelope.Recipients = append(m.Envelope.Recipients, sqmail.Recipient{Path: sqmail.PathOf(r)})
	}
	return m
}

// bubble runs a test in a world of its own, where time is virtual.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

func deliver(t *testing.T, a *remote.Agent, m *sqmail.Message) []sqmail.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	out, err := a.Deliver(ctx, m)
	if err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	if len(out) != len(m.Envelope.Recipients) {
		t.Fatalf("%d outcomes for %d recipients", len(out), len(m.Envelope.Recipients))
	}
	for i, o := range out {
		if o.Recipient != i {
			t.Errorf("outcome %d is for recipient %d", i, o.Recipient)
		}
	}
	return out
}

// one delivers a message to u@x.test and returns its outcome as "K text".
func one(t *testing.T, a *remote.Agent) string {
	t.Helper()
	return short(deliver(t, a, message(mail, "u@x.test"))[0])
}

// short writes an outcome as qmail-remote does: a letter and the text.
func short(o sqmail.Outcome) string {
	return map[sqmail.Class]string{sqmail.Accepted: "K", sqmail.Rejection: "D", sqmail.Deferral: "Z"}[o.Class] + o.Text
}
