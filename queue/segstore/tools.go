package segstore

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
	"github.com/sqmail/sqmail/queue/internal/journal"
)

// Hold implements [queue.Store].
func (s *Store) Hold(ctx context.Context, id queue.ID) error {
	return s.change(ctx, id, func(slot agenda.Slot, st *state, flags *uint8) (unchanged bool) {
		unchanged = *flags&flagHeld != 0
		*flags |= flagHeld
		return unchanged
	}, s.index.Hold)
}

// Release implements [queue.Store].
func (s *Store) Release(ctx context.Context, id queue.ID) error {
	return s.change(ctx, id, func(slot agenda.Slot, st *state, flags *uint8) (unchanged bool) {
		unchanged = *flags&flagHeld == 0
		*flags &^= flagHeld
		return unchanged
	}, s.index.Release)
}

// Retry implements [queue.Store].
func (s *Store) Retry(ctx context.Context, id queue.ID, at time.Time) error {
	return s.change(ctx, id, func(slot agenda.Slot, st *state, flags *uint8) (unchanged bool) {
		*flags |= flagRetry
		st.due, st.retry = at, at
		return false
	}, func(slot agenda.Slot) { s.index.Retry(slot, at) })
}

// Remove implements [queue.Store].
func (s *Store) Remove(ctx context.Context, id queue.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.known(ctx, id); err != nil {
		return err
	}
	if err := s.own(ctx, id); err != nil {
		return err
	}
	defer s.disown(id)
	return s.finish(id)
}

// change writes a state in which alter has changed something, and then does
// the same to the index.
func (s *Store) change(ctx context.Context, id queue.ID, alter func(agenda.Slot, *state, *uint8) (unchanged bool), apply func(agenda.Slot)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.known(ctx, id); err != nil {
		return err
	}
	if err := s.own(ctx, id); err != nil {
		return err
	}
	defer s.disown(id)
	s.index.Lock()
	slot, ok := s.index.Find(id)
	if !ok {
		s.index.Unlock()
		return queue.ErrNotFound
	}
	st, flags := s.stateOf(slot)
	long := len(s.chains[slot]) >= maxChain
	s.index.Unlock()
	if alter(slot, st, &flags) {
		return s.front.settle() // what failed to undo it must not come to light
	}
	return s.writeChange(id, slot, st, flags, long, func() { apply(slot) })
}

// maxChain is how many states a message may have before they are written as
// one.
const maxChain = 16

// stateOf returns a state record's worth of what the index knows. The index is
// locked.
func (s *Store) stateOf(slot agenda.Slot) (*state, uint8) {
	var e queue.Entry
	s.index.State(slot, &e)
	st := &state{due: e.Due}
	var flags uint8
	if e.Held {
		flags |= flagHeld
	}
	if s.index.Tried(slot) {
		flags |= flagTried
	}
	if e.Parked != "" {
		st.due = time.Now() // parking is not kept; it was due before
	}
	return st, flags
}

// writeChange writes a state, all states as one if there are too many.
func (s *Store) writeChange(id queue.ID, slot agenda.Slot, st *state, flags uint8, long bool, then func()) error {
	if !long {
		return s.writeState(id, slot, st, flags, then)
	}
	if o, err := s.open(id, false); err == nil {
		full := &state{due: st.due, attempts: o.Journal}
		o.close()
		if flags&flagRetry != 0 {
			journal.SetDue(full.attempts, st.retry)
		}
		if flags := flags&^flagRetry | flagFull; len(encodeState(full, flags)) <= s.maxRecord() {
			return s.writeState(id, slot, full, flags, then)
		}
	}
	return s.writeState(id, slot, st, flags, then)
}

// Scan implements [queue.Store]. It waits until the index is loaded. What is in
// the quarantine is reported at the end.
func (s *Store) Scan(ctx context.Context) iter.Seq2[*queue.Entry, error] {
	return func(yield func(*queue.Entry, error) bool) {
		if err := s.Loaded(ctx); err != nil {
			yield(nil, err)
			return
		}
		var last queue.ID
		for {
			id, err := s.after(ctx, last)
			if err != nil {
				yield(nil, err)
				return
			}
			if id == 0 {
				break
			}
			last = id
			if e, err := s.look(id); e != nil || err != nil {
				if !yield(e, err) {
					return
				}
			}
		}
		s.scanQuarantine(yield)
	}
}

// after returns the number of the message that follows id, 0 if there is none.
func (s *Store) after(ctx context.Context, id queue.ID) (queue.ID, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.index.Lock()
	defer s.index.Unlock()
	if err := s.index.Err(); err != nil {
		return 0, err
	}
	slot, ok := s.index.After(id)
	if !ok {
		return 0, nil
	}
	return s.index.Item(slot).ID(), nil
}

// look returns a message's entry; nil if it has left the queue.
func (s *Store) look(id queue.ID) (*queue.Entry, error) {
	o, err := s.open(id, false)
	switch {
	case err == nil:
		o.close()
		return &o.Entry, nil
	case errors.Is(err, queue.ErrNotFound):
		return nil, nil
	}
	return nil, wrapRead(err)
}
