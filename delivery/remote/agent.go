package remote

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

// Agent delivers messages to other hosts by SMTP and LMTP. The zero Agent is
// ready. Deliver may be called concurrently; the fields must not change after
// the first call.
type Agent struct {
	// HelloName is what we call ourselves in EHLO: a name that the DNS knows.
	// "": the address of our end of the connection, as a literal.
	HelloName string

	// Resolver looks up mail exchangers and addresses. Nil: the one of
	// package net, which cannot tell a host without address from one that
	// does not exist; a resolver.Client can.
	Resolver Resolver

	// Dialer makes connections. Nil: a net.Dialer.
	Dialer Dialer

	// Source chooses, for a reverse-path, the address that we call from and
	// the name that we call ourselves. Nil: the system's choice, HelloName.
	// Its error defers the message, in the words of the error's Reply if it
	// is an sqmail.Error.
	Source func(reversePath sqmail.Path) (Source, error)

	// IsOwn reports whether an address is this host's: mail exchangers at it,
	// and those less preferred, are not called (RFC 5321, 5.1). Nil: the
	// Dialer's method of this name, which a network in a test has, or else the
	// addresses of this host's interfaces and those of loopback; see OwnAddrs
	// for more.
	IsOwn func(addr netip.Addr) bool

	// TLS decides how connections are protected. Nil: every one by STARTTLS
	// if that is offered and works, else not at all.
	TLS TLSPolicy

	// RefuseClearAuth withholds passwords from connections without TLS.
	RefuseClearAuth bool

	// ConnectTimeout is how long one address may take to connect. 0: 60 s.
	ConnectTimeout time.Duration

	// Timeout is how long a peer may take for one reply, for taking a piece
	// of the message, or for the TLS handshake. 0: 20 min, but 5 min for the
	// greeting. The reply to the final dot is waited for 10 min at least, for
	// to give up on it can deliver a message twice (RFC 5321, 4.5.3.2).
	Timeout time.Duration

	// MaxRecipients is how many recipients go in one transaction; more make
	// several. 0: 100 (RFC 5321, 4.5.3.1.8).
	MaxRecipients int

	// IdleTime is how long a connection is kept for a next message to the
	// same place. 0: 5 s; negative: every message has its own connection.
	IdleTime time.Duration

	// MaxIdle is how many connections are kept so at most. 0: 64.
	MaxIdle int

	// MaxMessages is how many transactions one connection carries. 0: 100.
	MaxMessages int

	// Log is told what happens on the network. Nil: nobody.
	Log *slog.Logger

	own  ownAddrs
	dead deadHosts
	weak tlsFailures
	pool pool
	work work
}

// Resolver is what an Agent asks the DNS; *net.Resolver and *resolver.Client
// fit. An error that is no *net.DNSError with IsNotFound defers the message.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// A Dialer makes network connections, as [net.Dialer] does.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// LocalDialer is a [Dialer] that can call from an address of our choice. A
// Dialer that is neither this nor a *net.Dialer cannot be used with a Source
// that names addresses.
type LocalDialer interface {
	Dialer
	DialFrom(ctx context.Context, local netip.Addr, network, address string) (net.Conn, error)
}

// Source is how we present ourselves to a peer.
type Source struct {
	// IPv4 and IPv6 are the addresses to call from. If neither is valid the
	// system chooses; if one is, only peers of that family are called. IPv6
	// may have a zone.
	IPv4, IPv6 netip.Addr

	// HelloName replaces that of the Agent, if not "".
	HelloName string
}

// ErrClosed is in the deferral that Deliver returns after Close or Shutdown.
var ErrClosed = errors.New("remote: agent closed")

const (
	defaultConnectTimeout  = 60 * time.Second
	defaultTimeout         = 20 * time.Minute
	defaultGreetingTimeout = 5 * time.Minute  // RFC 5321, 4.5.3.2.1
	minFinalTimeout        = 10 * time.Minute // RFC 5321, 4.5.3.2.6
	defaultMaxRecipients   = 100
	defaultIdleTime        = 5 * time.Second
	defaultMaxIdle         = 64
	defaultMaxMessages     = 100
)

// Deliver makes one attempt to hand m to all of its recipients, and returns an
// outcome for each. It never returns an error of its own but ErrClosed's.
// Recipients with the same domain, or the same relay, share transactions.
//
// A recipient is rejected only on the word of the peer or the DNS, or for what
// SMTP cannot carry; everything else defers it.
func (a *Agent) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	ctx, end, ok := a.work.begin(ctx)
	if !ok {
		return nil, &sqmail.Error{Op: "deliver", Err: ErrClosed}
	}
	defer end()
	d := newDelivery(a, m)
	if f := d.prepare(); f != nil {
		d.giveUp(d.all(), f)
		return d.outcomes, nil
	}
	for _, g := range d.groups() {
		d.deliver(ctx, g)
	}
	return d.outcomes, nil
}

// Shutdown takes no more messages, closes connections that wait for one, and
// waits for the deliveries in progress. When ctx ends it cuts them off, which
// defers their recipients, and returns ctx's error.
func (a *Agent) Shutdown(ctx context.Context) error {
	err := a.work.drain(ctx)
	a.pool.close()
	return err
}

// Close is Shutdown without patience: deliveries in progress are cut off.
func (a *Agent) Close() error {
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	a.Shutdown(cut)
	return nil
}

// work counts the deliveries in progress, and can cut them off.
type work struct {
	mu      sync.Mutex
	running sync.WaitGroup
	closed  bool
	base    context.Context // ends when deliveries are cut off; made at first use
	cut     context.CancelFunc
}

func (w *work) begin(ctx context.Context) (_ context.Context, end func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ctx, nil, false
	}
	if w.base == nil {
		w.base, w.cut = context.WithCancel(context.Background())
	}
	w.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.base, cancel)
	return ctx, func() { stop(); cancel(); w.running.Done() }, true
}

func (w *work) drain(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	cut := w.cut
	w.mu.Unlock()
	if cut == nil {
		return nil // nothing has ever begun
	}
	stop := context.AfterFunc(ctx, cut)
	w.running.Wait()
	defer cut()
	if !stop() {
		return context.Cause(ctx)
	}
	return nil
}

func (a *Agent) resolver() Resolver {
	if a.Resolver != nil {
		return a.Resolver
	}
	return net.DefaultResolver
}

func (a *Agent) dialer() Dialer {
	if a.Dialer != nil {
		return a.Dialer
	}
	return &net.Dialer{}
}

func (a *Agent) log() *slog.Logger {
	if a.Log != nil {
		return a.Log
	}
	return discard
}

var discard = slog.New(slog.DiscardHandler)

// or returns v, or the default if v is not positive.
func or[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

func (a *Agent) greetingTimeout() time.Duration { return or(a.Timeout, defaultGreetingTimeout) }

func (a *Agent) timeout() time.Duration { return or(a.Timeout, defaultTimeout) }

func (a *Agent) finalTimeout() time.Duration { return max(a.timeout(), minFinalTimeout) }
