package main

import (
	"context"
	"errors"
	"sync"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/smtpd"
)

// holders counts who uses a snapshot, and releases what it has open when it is
// not in force any more and the last of them has gone.
type holders struct {
	release func()

	mu      sync.Mutex
	count   int
	retired bool
	gone    bool // release was called
}

// hold reports whether the snapshot may be used; then done must be called.
func (h *holders) hold() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return false
	}
	h.count++
	return true
}

// done ends what a hold began.
func (h *holders) done() { h.change(func() { h.count-- }) }

// retire says that the snapshot is not in force any more.
func (h *holders) retire() { h.change(func() { h.retired = true }) }

func (h *holders) change(f func()) {
	h.mu.Lock()
	f()
	last := h.retired && h.count == 0 && !h.gone
	h.gone = h.gone || last
	h.mu.Unlock()
	if last {
		h.release()
	}
}

// current returns the snapshot in force, held.
func (d *daemon) current() *snapshot {
	for {
		if s := d.now.Load(); s.hold() {
			return s
		} // else another one is in force since
	}
}

// heldChain is a chain whose sessions hold the snapshot that it belongs to. Who
// has found it has held the snapshot for the session; the session's end lets it
// go.
type heldChain struct {
	*filter.Chain
	snapshot *snapshot
}

// BeginSession begins a session of the chain.
func (c heldChain) BeginSession(ctx context.Context, peer *sqmail.Peer) (smtpd.Policy, error) {
	p, err := c.Chain.BeginSession(ctx, peer)
	if err != nil {
		c.snapshot.done()
		return nil, err
	}
	return heldPolicy{p.(*filter.Policy), c.snapshot}, nil
}

type heldPolicy struct {
	*filter.Policy
	snapshot *snapshot
}

// EndTransaction passes on what a chain may want to know.
func (p heldPolicy) EndTransaction(peer *sqmail.Peer, env *sqmail.Envelope) {
	if end, ok := any(p.Policy).(smtpd.EndPolicy); ok {
		end.EndTransaction(peer, env)
	}
}

// EndSession lets the snapshot go.
func (p heldPolicy) EndSession(peer *sqmail.Peer) {
	defer p.snapshot.done()
	if end, ok := any(p.Policy).(smtpd.EndPolicy); ok {
		end.EndSession(peer)
	}
}

// heldVerifier checks passwords for sessions that do not hold a snapshot: by
// theirs as long as it is there, and then by the one in force.
type heldVerifier struct {
	d        *daemon
	snapshot *snapshot
}

// Verify checks a user's credentials.
func (v heldVerifier) Verify(ctx context.Context, c *auth.Credentials) (auth.Identity, error) {
	s := v.snapshot
	if !s.hold() {
		s = v.d.current()
	}
	defer s.done()
	return s.config.Verifier().Verify(ctx, c)
}

// let closes what only this snapshot uses. Nobody uses it any more.
func (s *snapshot) let(ctx context.Context) error {
	return errors.Join(s.filters.Close(), s.remote.Shutdown(ctx), s.config.Close())
}
