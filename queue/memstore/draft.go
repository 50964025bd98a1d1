package memstore

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/journal"
)

// draft is a message that is being written.
type draft struct {
	store *Store
	stop  func() bool // forgets the context

	mu   sync.Mutex // the context may end during a call
	body []byte
	err  error // why the draft is finished
}

var errFinished = errors.New("memstore: draft is finished")

// Begin implements [queue.Store].
func (s *Store) Begin(ctx context.Context) (queue.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.agenda.Lock()
	closed := s.agenda.Closed()
	s.agenda.Unlock()
	if closed {
		return nil, queue.ErrClosed
	}
	d := &draft{store: s}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop = context.AfterFunc(ctx, func() { d.finish(ctx.Err()) })
	return d, nil
}

func (d *draft) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	if err := d.store.grow(int64(len(p))); err != nil {
		return 0, err
	}
	d.body = append(d.body, p...)
	return len(p), nil
}

func (d *draft) Abort() { d.finish(errFinished) }

func (d *draft) finish(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(err)
}

// end drops the draft if it is not finished yet; d.mu is held.
func (d *draft) end(err error) {
	if d.err != nil {
		return
	}
	d.stop()
	d.err = err
	d.store.grow(-int64(len(d.body)))
	d.body = nil
}

func (d *draft) Commit(ctx context.Context, sub queue.Submission) (queue.ID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	defer d.end(errFinished)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if sub.Envelope == nil || len(sub.Envelope.Recipients) == 0 {
		return 0, errNoRecipient
	}
	if err := journal.Check(sub.Journal, len(sub.Envelope.Recipients)); err != nil {
		return 0, err
	}
	if sub.Arrived.IsZero() {
		sub.Arrived = time.Now()
	}
	if sub.Due.IsZero() {
		sub.Due = time.Now()
	}
	env := copyEnvelope(sub.Envelope)
	m := &message{env: env, content: content{env.Header, d.body}, arrived: sub.Arrived, journal: journal.Add(nil, sub.Journal)}
	if err := d.store.grow(int64(len(env.Header))); err != nil {
		return 0, err
	}
	id, err := d.store.commit(m, sub)
	if err != nil {
		d.store.grow(-int64(len(env.Header)))
		return 0, err
	}
	d.body = nil // it is the message's from now on
	return id, nil
}

// commit is the instant of acceptance.
func (s *Store) commit(m *message, sub queue.Submission) (queue.ID, error) {
	s.agenda.Lock()
	defer s.agenda.Unlock()
	if s.agenda.Closed() {
		return 0, queue.ErrClosed
	}
	if sub.Replaces != 0 {
		slot, _, err := s.find(sub.Replaces)
		if err != nil {
			return 0, err
		}
		s.delete(slot)
	}
	s.lastID++
	s.agenda.Add(s.lastID, sub.Due, len(sub.Journal) > 0, sub.Held, m)
	return s.lastID, nil
}

// copyEnvelope returns an envelope that shares nothing that can change, and
// is without the peer, which a queue does not keep.
func copyEnvelope(env *sqmail.Envelope) sqmail.Envelope {
	c := *env
	c.Recipients = slices.Clone(env.Recipients)
	c.Header = slices.Clone(env.Header)
	c.Verdicts = slices.Clone(env.Verdicts)
	c.Peer, c.SenderVerified = nil, false
	return c
}

// content is the header fields of the envelope, followed by the message.
type content [2][]byte

func (c content) size() int64 { return int64(len(c[0]) + len(c[1])) }

// ReadAt implements [io.ReaderAt].
func (c content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("memstore: negative offset")
	}
	n := 0
	for _, part := range c {
		if off < int64(len(part)) {
			n += copy(p[n:], part[off:])
		}
		off = max(off-int64(len(part)), 0)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
