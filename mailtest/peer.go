package mailtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Peer is a foreign mail server that does what a test tells it. The zero Peer
// takes all mail from everybody; it has no TLS and no users. Its fields are
// not to be changed after [Peer.Start]; rules may be added at any time.
//
// It reads strictly: commands end in CRLF, paths and parameters are checked
// as RFC 5321 has them, only CRLF "." CRLF ends a message. So it tells too
// whether its client is a good one.
type Peer struct {
	// Name is what the peer calls itself. "" means "peer.test".
	Name string

	// Extensions are the lines that EHLO answers, besides STARTTLS and AUTH,
	// which are added where they apply. Nil means PIPELINING, 8BITMIME,
	// SMTPUTF8, ENHANCEDSTATUSCODES, DSN, CHUNKING and SIZE; empty means none.
	Extensions []string

	// TLS is for STARTTLS, or from the first octet if ImplicitTLS is set. Nil:
	// the peer has no TLS.
	TLS         *tls.Config
	ImplicitTLS bool

	// LMTP makes the peer an LMTP server (RFC 2033).
	LMTP bool

	// Users are the passwords of those who may authenticate, by PLAIN, LOGIN
	// and CRAM-MD5. Nil: AUTH is not offered.
	Users map[string]string

	// MaxSize is the size of the largest message that is taken. 0: 64 MiB.
	MaxSize int64

	script   script[*Action]
	recorder Recorder

	mu         sync.Mutex
	sessions   int
	transcript bytes.Buffer
	conns      map[net.Conn]bool
	told       sync.Once // of a test that failed
}

// maxTranscript bounds what a peer remembers of its sessions.
const maxTranscript = 1 << 20

// Listener is where a [Peer] may be started: a [Network], or the zero
// [Loopback].
type Listener interface {
	Listen(network, address string) (net.Listener, error)
}

// Loopback listens on real sockets. Use address "127.0.0.1:0".
type Loopback struct{}

// Listen is net.Listen.
func (Loopback) Listen(network, address string) (net.Listener, error) {
	return net.Listen(network, address)
}

// NewPeer starts a Peer with the zero configuration; see [Peer.Start].
func NewPeer(t testing.TB, where Listener, address string) *Peer {
	t.Helper()
	p := new(Peer)
	p.Start(t, where, address)
	return p
}

// Start listens on address until the test ends, and returns the address with
// its port. A Peer can be started on several addresses.
func (p *Peer) Start(t testing.TB, where Listener, address string) string {
	t.Helper()
	l, err := where.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup // of this listener alone: another may go on
	running.Go(func() { p.serve(ctx, l, &running) })
	t.Cleanup(func() {
		cancel()
		l.Close()
		p.closeAll()
		running.Wait()
		if t.Failed() {
			p.told.Do(func() { t.Logf("what was said to %s at %s:\n%s", p.name(), l.Addr(), p.lastWords()) })
		}
	})
	return l.Addr().String()
}

// lastWords is what a failed test is to show of the transcript.
func (p *Peer) lastWords() string {
	const enough = 16 << 10
	all := p.Transcript()
	if len(all) <= enough {
		return all
	}
	_, last, _ := strings.Cut(all[len(all)-enough:], "\n")
	return "…\n" + last
}

// On begins a rule for a stage, or [Any]. What it does is said by the methods
// of the Action. Of several rules that apply the first one decides.
//
//	peer.On(mailtest.Rcpt, mailtest.Nth(3)).Reply(451, "4.7.1", "slow down")
func (p *Peer) On(stage Stage, conditions ...Condition) *Action {
	action := new(Action)
	p.script.add(stage, conditions, action)
	return action
}

// Messages returns the messages that the peer has taken so far.
func (p *Peer) Messages() []*Message { return p.recorder.Messages() }

// Wait waits until the peer has taken n messages in all; see [Recorder.Wait].
func (p *Peer) Wait(ctx context.Context, n int) ([]*Message, error) { return p.recorder.Wait(ctx, n) }

// Sessions returns how many connections there were.
func (p *Peer) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions
}

// Transcript returns what was said so far, a line each: the number of the
// session, "C:" or "S:", the line, or in parentheses what else was done.
// Messages are given by their size, and credentials are left out. It ends at
// 1 MiB. A test that fails logs its last 16 KiB.
func (p *Peer) Transcript() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.transcript.String()
}

func (p *Peer) log(session int, who, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.transcript.Len() < maxTranscript {
		fmt.Fprintf(&p.transcript, "%d %s %s\n", session, who, line)
	}
}

func (p *Peer) serve(ctx context.Context, l net.Listener, running *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		n := p.track(conn)
		running.Go(func() {
			defer p.forget(conn)
			if ctx.Err() != nil {
				return // closeAll came before track
			}
			newSession(ctx, p, conn, n).run()
		})
	}
}

func (p *Peer) track(conn net.Conn) (session int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		p.conns = make(map[net.Conn]bool)
	}
	p.conns[conn] = true
	p.sessions++
	return p.sessions
}

func (p *Peer) forget(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

func (p *Peer) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

func (p *Peer) name() string {
	if p.Name != "" {
		return p.Name
	}
	return "peer.test"
}

func (p *Peer) maxSize() int64 {
	if p.MaxSize > 0 {
		return p.MaxSize
	}
	return defaultMaxSize
}

// find asks the script.
func (p *Peer) find(stage Stage, arg string, session int) deed {
	action, found := p.script.find(Event{Stage: stage, Arg: arg, Session: session, Time: time.Now()})
	if !found {
		return deed{}
	}
	return action.get()
}
