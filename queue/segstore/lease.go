package segstore

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
	"github.com/sqmail/sqmail/queue/internal/journal"
)

// lease implements [queue.Lease].
type lease struct {
	s       *Store
	l       *agenda.Lease
	id      queue.ID
	o       *opened
	journal []queue.Attempt
	ended   bool
}

// unreadable is how long a message waits that could not be read. If it is the
// disk that does not give it, manyMinutes times, it is put aside: nobody can
// deliver it, nor bounce it, and no message stays for ever.
const (
	unreadable  = time.Minute
	manyMinutes = 60
)

// Lease implements [queue.Store].
func (s *Store) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	for {
		l, err := s.index.Next(ctx, ttl)
		if err != nil {
			return nil, err
		}
		s.index.Lock()
		if !s.index.Valid(l) { // removed since
			s.index.Unlock()
			continue
		}
		w := s.locate(l.Slot)
		s.index.Unlock()
		id := w.entry.ID
		o, err := s.read(w, true)
		if err == nil {
			s.readable(id)
			return &lease{s: s, l: l, id: id, o: o, journal: slices.Clip(o.Journal)}, nil
		}
		s.unread(l, id, err)
	}
}

// unread deals with a message that is due and cannot be read.
func (s *Store) unread(l *agenda.Lease, id queue.ID, err error) {
	s.index.Lock()
	valid := s.index.Valid(l)
	s.index.Unlock()
	if !valid { // removed while it was read
		return
	}
	if damaged(err) || spoolfs.Unreadable(err) && s.hopeless(id) {
		if failed := s.putAside(id, err); failed == nil {
			s.readable(id)
			return
		}
	}
	s.log.Error("queue: message cannot be read now", "message", id, "err", err)
	s.index.Lock()
	defer s.index.Unlock()
	s.index.End(l, time.Now().Add(unreadable))
}

// hopeless counts that a message could not be read, and reports whether it is to
// be given up.
func (s *Store) hopeless(id queue.ID) bool {
	s.index.Lock()
	defer s.index.Unlock()
	s.unreadTimes[id]++
	return s.unreadTimes[id] >= manyMinutes
}

// readable forgets the count.
func (s *Store) readable(id queue.ID) {
	s.index.Lock()
	defer s.index.Unlock()
	delete(s.unreadTimes, id)
}

func (l *lease) Entry() *queue.Entry  { return &l.o.Entry }
func (l *lease) Content() io.ReaderAt { return &l.o.content }

func (l *lease) Extend(ttl time.Duration) error {
	l.s.index.Lock()
	err := l.s.index.Extend(l.l, ttl)
	l.s.index.Unlock()
	if err != nil {
		l.end()
	}
	return err
}

func (l *lease) Park(key string, until time.Time) error {
	defer l.end()
	l.s.index.Lock()
	defer l.s.index.Unlock()
	return l.s.index.Park(l.l, key, until)
}

func (l *lease) Checkpoint(_ context.Context, attempts []queue.Attempt) error {
	if err := l.begin(); err != nil {
		l.end()
		return err
	}
	defer l.s.disown(l.id)
	err := l.write(attempts, l.l.Due, nil)
	l.s.index.Lock()
	l.s.index.Thaw(l.l)
	l.s.index.Unlock()
	return err
}

func (l *lease) Retry(_ context.Context, attempts []queue.Attempt, at time.Time) error {
	defer l.end()
	if err := l.begin(); err != nil {
		return err
	}
	defer l.s.disown(l.id)
	err := l.write(attempts, at, func() { l.s.index.End(l.l, at) })
	if err != nil {
		l.s.index.Lock()
		l.s.index.End(l.l, l.l.Due)
		l.s.index.Unlock()
	}
	return err
}

func (l *lease) Done(_ context.Context, attempts []queue.Attempt) error {
	defer l.end()
	if err := l.begin(); err != nil {
		return err
	}
	defer l.s.disown(l.id)
	err := journal.Check(attempts, len(l.o.Envelope.Recipients))
	if err == nil {
		err = l.s.finish(l.id)
	}
	if err != nil {
		l.s.index.Lock()
		l.s.index.End(l.l, l.l.Due)
		l.s.index.Unlock()
	}
	return err
}

// end closes what the lease reads from.
func (l *lease) end() {
	if !l.ended {
		l.ended = true
		l.o.close()
	}
}

// begin owns the message, and keeps the lease from running out meanwhile.
func (l *lease) begin() error {
	if err := l.s.own(context.Background(), l.id); err != nil {
		return queue.ErrLeaseLost
	}
	l.s.index.Lock()
	err := l.s.index.Freeze(l.l)
	l.s.index.Unlock()
	if err != nil {
		l.s.disown(l.id)
	}
	return err
}

// write adds attempts to the journal. At the end of the lease, which end does,
// it writes the journal as a whole, so that the next one has one record to read.
func (l *lease) write(attempts []queue.Attempt, due time.Time, end func()) error {
	if err := journal.Check(attempts, len(l.o.Envelope.Recipients)); err != nil {
		return err
	}
	l.s.index.Lock()
	retried, at, held := l.l.Retried, l.l.RetryAt, l.s.index.Held(l.l.Slot)
	l.s.index.Unlock()
	if retried { // as Store.Retry has done on disk
		l.journal = slices.Clone(l.journal)
		journal.SetDue(l.journal, at)
	}
	now := journal.Add(l.journal, attempts)
	st := &state{due: due, attempts: attempts}
	flags := uint8(flagTried)
	if held {
		flags |= flagHeld
	}
	if retried {
		st.due, st.retry = at, at
		flags |= flagRetry
		journal.SetDue(now, at)
	}
	if end != nil {
		full := &state{due: st.due, attempts: journal.Compact(slices.Clone(now))}
		if flags := flags&^flagRetry | flagFull; len(encodeState(full, flags)) <= l.s.maxRecord() {
			return l.s.writeState(l.id, l.l.Slot, full, flags, end)
		}
	}
	if err := l.s.writeState(l.id, l.l.Slot, st, flags, end); err != nil {
		return err
	}
	l.journal = now
	return nil
}
