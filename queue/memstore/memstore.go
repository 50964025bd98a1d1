package memstore

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
	"github.com/sqmail/sqmail/queue/internal/journal"
)

// Store is a [queue.Store] in memory. Its zero value is an empty queue.
type Store struct {
	// MaxBytes bounds what messages and drafts may take, in octets. 0 means
	// that nothing but the machine's memory does. Beyond it, Write and Commit
	// fail as they do on a full disk.
	MaxBytes int64

	agenda agenda.Agenda[*message]
	lastID queue.ID // guarded by the agenda's lock
	bytes  atomic.Int64
}

// message is what the store knows of a message besides its place in the
// agenda. The journal is replaced, never changed.
type message struct {
	env     sqmail.Envelope
	content content
	arrived time.Time
	journal []queue.Attempt
}

var (
	errFull = &sqmail.Error{Op: "store", Class: sqmail.Deferral, Reply: sqmail.Reply{
		Code: 452, Enhanced: sqmail.EnhancedCode{4, 3, 1}, Text: "insufficient storage, try again later"}}
	errNoRecipient = &sqmail.Error{Op: "store", Class: sqmail.Rejection, Reply: sqmail.Reply{
		Code: 554, Enhanced: sqmail.EnhancedCode{5, 5, 1}, Text: "no valid recipients"}}
)

// grow accounts for n more octets.
func (s *Store) grow(n int64) error {
	if total := s.bytes.Add(n); s.MaxBytes > 0 && n > 0 && total > s.MaxBytes {
		s.bytes.Add(-n)
		return errFull
	}
	return nil
}

// find returns a message by its number; the agenda is locked.
func (s *Store) find(id queue.ID) (agenda.Slot, *message, error) {
	if s.agenda.Closed() {
		return 0, nil, queue.ErrClosed
	}
	slot, ok := s.agenda.Find(id)
	if !ok {
		return 0, nil, queue.ErrNotFound
	}
	return slot, s.agenda.Item(slot).Data, nil
}

// delete forgets a message; the agenda is locked.
func (s *Store) delete(slot agenda.Slot) {
	m := s.agenda.Item(slot).Data
	s.agenda.Delete(slot)
	s.bytes.Add(-m.content.size())
}

// entry describes a message; the agenda is locked.
func (s *Store) entry(slot agenda.Slot) *queue.Entry {
	m := s.agenda.Item(slot).Data
	e := &queue.Entry{Envelope: copyEnvelope(&m.env), Arrived: m.arrived, Size: m.content.size(), Journal: journal.Compact(slices.Clone(m.journal))}
	s.agenda.State(slot, e)
	return e
}

// Lease implements [queue.Store].
func (s *Store) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	for {
		l, err := s.agenda.Next(ctx, ttl)
		if err != nil {
			return nil, err
		}
		s.agenda.Lock()
		if !s.agenda.Valid(l) { // gone since Next returned
			s.agenda.Unlock()
			continue
		}
		got := &lease{store: s, lease: l, entry: s.entry(l.Slot), content: s.agenda.Item(l.Slot).Data.content}
		s.agenda.Unlock()
		got.entry.Due = l.Due
		return got, nil
	}
}

// Wake implements [queue.Store].
func (s *Store) Wake(key string, n int) int {
	s.agenda.Lock()
	defer s.agenda.Unlock()
	return s.agenda.Wake(key, n)
}

// Open implements [queue.Store].
func (s *Store) Open(ctx context.Context, id queue.ID) (*queue.Message, error) {
	s.agenda.Lock()
	defer s.agenda.Unlock()
	slot, m, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return &queue.Message{Entry: s.entry(slot), Content: m.content, Closer: noClose{}}, nil
}

type noClose struct{}

func (noClose) Close() error { return nil }

// Scan implements [queue.Store].
func (s *Store) Scan(ctx context.Context) iter.Seq2[*queue.Entry, error] {
	return func(yield func(*queue.Entry, error) bool) {
		var last queue.ID
		for {
			e, err := s.after(ctx, last)
			if err != nil {
				yield(nil, err)
				return
			}
			if e == nil || !yield(e, nil) {
				return
			}
			last = e.ID
		}
	}
}

// after returns the message that follows id, or nil.
func (s *Store) after(ctx context.Context, id queue.ID) (*queue.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.agenda.Lock()
	defer s.agenda.Unlock()
	if s.agenda.Closed() {
		return nil, queue.ErrClosed
	}
	slot, ok := s.agenda.After(id)
	if !ok {
		return nil, nil
	}
	return s.entry(slot), nil
}

// Hold implements [queue.Store].
func (s *Store) Hold(ctx context.Context, id queue.ID) error {
	return s.change(ctx, id, s.agenda.Hold)
}

// Release implements [queue.Store].
func (s *Store) Release(ctx context.Context, id queue.ID) error {
	return s.change(ctx, id, s.agenda.Release)
}

// Remove implements [queue.Store].
func (s *Store) Remove(ctx context.Context, id queue.ID) error {
	return s.change(ctx, id, s.delete)
}

// Retry implements [queue.Store].
func (s *Store) Retry(ctx context.Context, id queue.ID, at time.Time) error {
	return s.change(ctx, id, func(slot agenda.Slot) {
		m := s.agenda.Item(slot).Data
		m.journal = slices.Clone(m.journal)
		journal.SetDue(m.journal, at)
		s.agenda.Retry(slot, at)
	})
}

func (s *Store) change(ctx context.Context, id queue.ID, do func(agenda.Slot)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.agenda.Lock()
	defer s.agenda.Unlock()
	slot, _, err := s.find(id)
	if err != nil {
		return err
	}
	do(slot)
	return nil
}

// Stats implements [queue.Store].
func (s *Store) Stats() queue.Stats {
	s.agenda.Lock()
	defer s.agenda.Unlock()
	st := s.agenda.Stats()
	st.Bytes = s.bytes.Load()
	return st
}

// Close implements [queue.Store]. What the queue held is gone.
func (s *Store) Close() error {
	s.agenda.Close()
	return nil
}

var _ queue.Store = (*Store)(nil)
