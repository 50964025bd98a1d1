package memstore

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
	"github.com/sqmail/sqmail/queue/internal/journal"
)

// lease implements [queue.Lease].
type lease struct {
	store   *Store
	lease   *agenda.Lease
	entry   *queue.Entry
	content content
}

func (l *lease) Entry() *queue.Entry  { return l.entry }
func (l *lease) Content() io.ReaderAt { return l.content }

func (l *lease) Extend(ttl time.Duration) error {
	l.store.agenda.Lock()
	defer l.store.agenda.Unlock()
	return l.store.agenda.Extend(l.lease, ttl)
}

func (l *lease) Checkpoint(_ context.Context, attempts []queue.Attempt) error {
	l.store.agenda.Lock()
	defer l.store.agenda.Unlock()
	return l.add(attempts)
}

func (l *lease) Retry(_ context.Context, attempts []queue.Attempt, at time.Time) error {
	l.store.agenda.Lock()
	defer l.store.agenda.Unlock()
	if err := l.add(attempts); err != nil {
		l.store.agenda.End(l.lease, l.lease.Due)
		return err
	}
	return l.store.agenda.End(l.lease, at)
}

func (l *lease) Park(key string, until time.Time) error {
	l.store.agenda.Lock()
	defer l.store.agenda.Unlock()
	return l.store.agenda.Park(l.lease, key, until)
}

func (l *lease) Done(_ context.Context, attempts []queue.Attempt) error {
	l.store.agenda.Lock()
	defer l.store.agenda.Unlock()
	if err := l.add(attempts); err != nil {
		l.store.agenda.End(l.lease, l.lease.Due)
		return err
	}
	l.store.delete(l.lease.Slot)
	return nil
}

// add adds attempts to the journal; the agenda is locked.
func (l *lease) add(attempts []queue.Attempt) error {
	if !l.store.agenda.Valid(l.lease) {
		return queue.ErrLeaseLost
	}
	m := l.store.agenda.Item(l.lease.Slot).Data
	if err := journal.Check(attempts, len(m.env.Recipients)); err != nil {
		return err
	}
	m.journal = journal.Add(m.journal, attempts)
	if l.lease.Retried {
		m.journal = slices.Clone(m.journal)
		journal.SetDue(m.journal, l.lease.RetryAt)
	}
	return nil
}
