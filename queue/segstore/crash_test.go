package segstore_test

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// TestMain lets garbage grow: nearly all of it are disks after a crash.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	m.Run()
}

// newLife returns a life on a disk; loading says whether mail comes while the
// store is loaded.
func newLife(disk *crashfs.FS, loading bool) *life {
	l := &life{ledger: newLedger()}
	l.open = func() (*segstore.Store, error) { return segstore.Open("/queue", segstore.TinyQuiet(disk)) }
	if loading {
		l.gate = &gate{}
		l.open = func() (*segstore.Store, error) {
			return segstore.Open("/queue", segstore.TinyQuiet(disk).Unread().Paused(l.gate.pass))
		}
	}
	return l
}

// TestPowerFailsAtEveryStep lives the life, and before and after each of its
// file operations looks at what a crash would leave, for every kind of loss:
// what was acknowledged is there, whole; what was finished stays away.
func TestPowerFailsAtEveryStep(t *testing.T) {
	for name, loading := range map[string]bool{"life": false, "mail comes while the index is loaded": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { powerFailsAtEveryStep(t, loading) })
		})
	}
}

func powerFailsAtEveryStep(t *testing.T, loading bool) {
	disk := &crashfs.FS{}
	l := newLife(disk, loading)
	l.churns = 2
	var points, failures, within atomic.Int64
	disk.Hook = func(op crashfs.Op) error {
		if failures.Load() > 2 {
			return nil
		}
		if !op.Before && (!loading || op.N%3 == 0) {
			losses := crashfs.Losses()
			n, err := l.ledger.survivesRecovery(op.Crash(losses[op.N%len(losses)], uint64(op.N)), op.N)
			if within.Add(int64(n)); err != nil {
				failures.Add(1)
				t.Errorf("crash at operation %d (%s %s), loss %q, and %v", op.N, op.Kind, op.Name, losses[op.N%len(losses)], err)
			}
		}
		for _, loss := range crashfs.Losses() {
			if op.Before && loss == crashfs.LoseAll && op.N > 1 {
				continue // as after the last operation
			}
			seed := uint64(points.Add(1))
			image := op.Crash(loss, seed)
			if err := l.ledger.survives(image, aftermath(seed%101), seed%4 == 0); err != nil {
				failures.Add(1)
				t.Errorf("crash at operation %d (%s %s, before: %v), loss %q: %v", op.N, op.Kind, op.Name, op.Before, loss, err)
			}
		}
		return nil
	}
	l.live()
	disk.Hook = nil
	if l.store == nil {
		t.Fatal("the store did not open")
	}
	if err := l.ledger.check(l.store, false); err != nil {
		t.Errorf("at the end: %v", err)
	}
	l.store.Close()
	if l.failed > 0 {
		t.Errorf("%d calls failed", l.failed)
	}
	t.Logf("%d messages, %d file operations, %d crash points, %d of a second crash during the recovery, %d lost",
		l.n, disk.Ops(), points.Load(), within.Load(), failures.Load())
}

// survivesRecovery opens what a crash has left, and crashes again after each
// file operation of that. It returns how many there were.
func (l *ledger) survivesRecovery(image *crashfs.FS, n int) (points int, failed error) {
	losses := crashfs.Losses()
	image.Hook = func(op crashfs.Op) error {
		if op.Before || op.Kind == crashfs.Mkdir && n > 20 || failed != nil {
			return nil // directories are there
		}
		points++
		loss := losses[(n/7+op.N)%len(losses)]
		if err := l.survives(op.Crash(loss, uint64(n)), aftermath(1), false); err != nil {
			failed = fmt.Errorf("again after operation %d of the recovery (%s %s), loss %q: %w", op.N, op.Kind, op.Name, loss, err)
		}
		return nil
	}
	s, err := segstore.Open("/queue", recovering(image, n))
	if err != nil {
		return points, fmt.Errorf("open: %w", err)
	}
	if err := s.Loaded(ctx); err != nil {
		return points, fmt.Errorf("load: %w", err)
	}
	image.Hook = nil
	return points, errors.Join(failed, s.Close())
}

// recovering returns options for a store that is opened after a crash: every
// other one reads all it can before Open returns.
func recovering(image *crashfs.FS, n int) *segstore.Options {
	o := segstore.TinyQuiet(image)
	if n%2 == 0 {
		o.Unread()
	}
	return o
}

// aftermath is what happens after a crash; most numbers mean nothing.
type aftermath int

const (
	drain      aftermath = 2  // the queue is emptied, and power fails then
	crashAgain aftermath = 11 // power fails again just after; and so are multiples
)

// survives opens what a crash has left and compares it with the ledger.
// noCheckpoint means that somebody has deleted the checkpoint, which must not
// matter.
func (l *ledger) survives(image *crashfs.FS, then aftermath, noCheckpoint bool) error {
	if noCheckpoint {
		image.Remove("/queue/checkpoint")
	}
	s, err := segstore.Open("/queue", recovering(image, int(then)))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	if err := l.check(s, true); err != nil {
		return err
	}
	probe, err := l.probe(s)
	if err != nil {
		return fmt.Errorf("commit after the crash: %w", err)
	}
	switch {
	case then == drain:
		return l.drains(s, image)
	case then%crashAgain == 0:
		return l.twice(s, image, probe)
	}
	return nil
}

// twice is a second crash.
func (l *ledger) twice(s *segstore.Store, image *crashfs.FS, probe *fact) error {
	s.KeepHouse()
	again, err := segstore.Open("/queue", segstore.TinyQuiet(image.Crash(crashfs.LoseAll, 1)))
	if err != nil {
		return fmt.Errorf("open after the second crash: %w", err)
	}
	defer again.Close()
	l.mu.Lock()
	l.facts["probe"] = probe
	l.mu.Unlock()
	defer l.note(func() { delete(l.facts, "probe") })
	if err := l.check(again, true); err != nil {
		return fmt.Errorf("after the second crash: %w", err)
	}
	return nil
}

// drains removes every message from a store that was opened after a crash, and
// looks at what further crashes leave while the store frees its segments: none
// may come back, checkpoint or not.
func (l *ledger) drains(s *segstore.Store, image *crashfs.FS) error {
	removed := make(map[queue.ID]bool)
	for e, err := range s.Scan(ctx) {
		if err != nil {
			return err
		}
		if err := s.Remove(ctx, e.ID); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		removed[e.ID] = true
	}
	var failed error
	image.Hook = func(op crashfs.Op) error {
		if op.Before || failed != nil {
			return nil
		}
		after := op.Crash(crashfs.LoseAll, 1)
		if op.N%2 == 0 {
			after.Remove("/queue/checkpoint")
		}
		again, err := segstore.Open("/queue", segstore.TinyQuiet(after))
		if err != nil {
			failed = err
			return nil
		}
		defer again.Close()
		for e, err := range again.Scan(ctx) {
			if err != nil || removed[e.ID] {
				failed = errors.Join(fmt.Errorf("after a crash at %s %s: message %v came back", op.Kind, op.Name, e), err)
			}
		}
		return nil
	}
	s.KeepHouse()
	image.Hook = nil
	return failed
}

// TestEveryOperationFails lives the life once for each file operation that can
// fail, fails it, and lets the process die at the end.
func TestEveryOperationFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		loading bool
		first   int
		last    int // how many operations fail
	}{
		{"EIO once", syscall.EIO, false, 1, 1},
		{"ENOSPC once", syscall.ENOSPC, false, 1, 1},
		{"EIO once, mail comes while the index is loaded", syscall.EIO, true, 1, 1},
		{"ENOSPC once, mail comes while the index is loaded", syscall.ENOSPC, true, 1, 1},
		// Not when the directories are made: if they cannot be removed after
		// that has failed, nobody can tell later.
		{"EIO for a while", syscall.EIO, false, 10, 7},
		{"ENOSPC for a while", syscall.ENOSPC, false, 10, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lives, calls := 0, 0
			for n, more := c.first, true; more && !t.Failed(); n++ {
				synctest.Test(t, func(t *testing.T) {
					var l *life
					l, more = liveWithFailure(t, c.loading, n, n+c.last, c.err)
					lives++
					calls += l.failed
				})
			}
			t.Logf("%d lives, %d calls failed, 0 lost", lives, calls)
		})
	}
}

// liveWithFailure fails the operations from up to, but not including, to. It
// reports whether the life was long enough for that.
func liveWithFailure(t *testing.T, loading bool, from, to int, cause error) (*life, bool) {
	disk := &crashfs.FS{}
	healed := false
	var l *life
	disk.Hook = func(op crashfs.Op) error {
		if !healed && op.Before && op.N >= from && op.N < to {
			return cause
		}
		switch after := op.N - to; {
		case healed || op.Before || after < 0:
		case after == int(crashAgain) || after == 30 || after == int(drain) && op.N%5 == 0:
			others := []crashfs.Loss{crashfs.LoseNames, crashfs.TearBlocks, crashfs.LoseAll}
			for _, loss := range []crashfs.Loss{crashfs.KeepAll, others[op.N%3]} {
				if err := l.ledger.survives(op.Crash(loss, uint64(op.N)), aftermath(after), after == 30); err != nil {
					t.Errorf("operation %d failed, power fails at %d (%s %s), loss %q: %v", from, op.N, op.Kind, op.Name, loss, err)
				}
			}
		}
		return nil
	}
	l = newLife(disk, loading)
	l.live()
	more := disk.Ops() >= from
	healed = true
	if l.store == nil {
		if !l.reopen() {
			t.Errorf("operation %d failed: the store does not open any more", from)
			return l, false
		}
	}
	if err := l.ledger.check(l.store, false); err != nil {
		t.Errorf("operation %d failed, while the store is open: %v", from, err)
	}
	probe, err := l.ledger.probe(l.store)
	if err != nil {
		t.Errorf("operation %d failed: no commit later: %v", from, err)
		return l, false
	}
	l.ledger.note(func() { l.ledger.facts["probe"] = probe })
	for i, loss := range crashfs.Losses() {
		if (from+i)%3 != 0 {
			continue // another life's
		}
		image := disk.Crash(loss, uint64(from*10+i))
		s, err := segstore.Open("/queue", segstore.TinyQuiet(image))
		if err != nil {
			t.Errorf("operation %d failed, loss %q: open: %v", from, loss, err)
			continue
		}
		if err := l.ledger.check(s, true); err != nil {
			t.Errorf("operation %d failed, loss %q: %v", from, loss, err)
		}
		s.Close()
	}
	if err := l.store.Close(); err != nil && !errors.Is(err, cause) {
		t.Errorf("operation %d failed: close: %v", from, err)
	}
	return l, more
}
