package segstore

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
)

// failOn makes the operations fail that are of a kind, on a name, while it says
// so.
func failOn(disk *crashfs.FS, kind crashfs.Kind, name string) (failing *bool) {
	failing = new(bool)
	disk.Hook = func(op crashfs.Op) error {
		if *failing && op.Before && op.Kind == kind && strings.HasPrefix(op.Name, name) {
			return syscall.EIO
		}
		return nil
	}
	return failing
}

// A Hold that changes nothing answers for what failed before it: a Release that
// failed may be on the disk, and a crash must not bring it to light.
func TestAnUnchangedHoldVoidsTheReleaseThatFailed(t *testing.T) {
	for _, held := range []bool{true, false} {
		disk := &crashfs.FS{}
		failing := failOn(disk, crashfs.Datasync, "/queue/segments/")
		s := reopened(t, disk, true)
		id := putOne(t, s, "text\n")
		promise, other := s.Release, s.Hold
		if held {
			promise, other = s.Hold, s.Release
		}
		if err := promise(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		*failing = true
		if other(context.Background(), id) == nil {
			t.Fatal("no sync was good, and yet it did not fail")
		}
		*failing = false
		if err := promise(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		left := reopened(t, disk.Crash(crashfs.KeepAll, 1), true)
		if got := left.Stats().Held == 1; got != held {
			t.Errorf("held after a crash: %v, want %v", got, held)
		}
		left.Close()
		s.Close()
	}
}

// A message that the disk does not give is put aside after an hour, and the
// others are not kept waiting. One that the disk gives again is not.
func TestAMessageThatCannotBeReadDoesNotStay(t *testing.T) {
	for minutes, lost := range map[time.Duration]bool{50: false, 70: true} {
		synctest.Test(t, func(t *testing.T) {
			disk := &crashfs.FS{}
			var broken atomic.Bool // the keeper reads, too
			disk.Unreadable = func(name string, from, to int64) error {
				if broken.Load() && to > from && strings.HasPrefix(name, "/queue/bodies/") {
					return syscall.EIO
				}
				return nil
			}
			s, err := Open("/queue", &Options{fs: disk, bodyMax: 100})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			large := putOne(t, s, strings.Repeat("text\n", 100))
			small := putOne(t, s, "text\n")
			broken.Store(true)
			if l := leaseOne(t, s); l.Entry().ID != small {
				t.Fatalf("message %d, want %d", l.Entry().ID, small)
			}
			ctx, cancel := context.WithTimeout(context.Background(), minutes*time.Minute)
			defer cancel()
			if l, err := s.Lease(ctx, 2*time.Hour); err == nil {
				t.Fatalf("message %d was leased", l.Entry().ID)
			}
			broken.Store(false)
			if lost {
				if _, err := s.Open(context.Background(), large); err != queue.ErrNotFound {
					t.Errorf("Open: %v", err)
				}
			} else if l := leaseOne(t, s); l.Entry().ID != large {
				t.Errorf("message %d, want %d", l.Entry().ID, large)
			}
		})
	}
}

// What is put aside outlives a loss of power, whenever it comes: the body is in
// the quarantine, or the message is still in the queue.
func TestWhatIsPutAsideOutlivesPower(t *testing.T) {
	disk := &crashfs.FS{}
	s, err := Open("/queue", &Options{fs: disk, segmentSize: 64 << 10, bodyMax: 100, quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	id := putOne(t, s, strings.Repeat("text\n", 100))
	points := 0
	disk.Hook = func(op crashfs.Op) error {
		for _, loss := range crashfs.Losses() {
			points++
			left := reopened(t, op.Crash(loss, uint64(points)), true)
			m, err := left.Open(context.Background(), id)
			if err == nil {
				m.Close()
			}
			names, _ := left.fs.ReadDir("/queue/quarantine")
			saved := slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, ".body-") })
			if err != nil && !saved {
				t.Errorf("%s %s, %s: neither in the queue (%v) nor in the quarantine %q", op.Kind, op.Name, loss, err, names)
			}
			left.Close()
		}
		return nil
	}
	if err := s.putAside(id, syscall.EIO); err != nil || points == 0 {
		t.Errorf("%v at %d points", err, points)
	}
	disk.Hook = nil
	s.Close()
}

// TestWhatCannotBePutAsideStays: a body that the quarantine does not take is not
// removed.
func TestWhatCannotBePutAsideStays(t *testing.T) {
	disk := &crashfs.FS{}
	failing := failOn(disk, crashfs.Rename, "/queue/bodies/")
	s, err := Open("/queue", &Options{fs: disk, bodyMax: 100, quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := putOne(t, s, strings.Repeat("text\n", 100))
	*failing = true
	if err := s.putAside(id, syscall.EIO); err == nil {
		t.Error("it was put aside")
	}
	m, err := s.Open(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

func leaseOne(t *testing.T, s *Store) queue.Lease {
	t.Helper()
	l, err := s.Lease(t.Context(), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A segment whose label cannot be written any more is given up; until then, and
// after that, the house is kept for the others.
func TestASegmentThatCannotBeWrittenCostsItselfAlone(t *testing.T) {
	disk := &crashfs.FS{}
	s := reopened(t, disk, true)
	gone := putOne(t, s, "gone\n")
	bad := s.segmentOf(gone)
	failing := failOn(disk, crashfs.Write, s.segmentPath(bad.number))
	s.front.leave()
	stays := putOne(t, s, "stays\n")
	if err := s.Remove(context.Background(), gone); err != nil {
		t.Fatal(err)
	}
	*failing = true
	s.spares, s.logged = nil, s.checkpointAfter()
	for n := range mercy + 1 {
		s.keepHouse()
		if n == 0 && (len(s.spares) < wantSpares || s.checkpointDue()) {
			t.Errorf("%d segments are ready, a checkpoint is due: %v", len(s.spares), s.checkpointDue())
		}
	}
	if s.Unsettled() || s.segments[bad.seq] != nil {
		t.Error("the segment is still waited for")
	}
	left := reopened(t, disk.Crash(crashfs.LoseAll, 1), false)
	if left.has(gone) || !left.has(stays) {
		t.Errorf("after a crash: the one that is gone %v, the other %v", left.has(gone), left.has(stays))
	}
	left.Close()
	s.Close()
}

// slowDisk takes its time for each read.
type slowDisk struct {
	spoolfs.FS
	slow time.Duration
}

func (d *slowDisk) Open(name string) (spoolfs.File, error) {
	f, err := d.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".seg") {
		return f, err
	}
	return &slowFile{f, d.slow}, nil
}

type slowFile struct {
	spoolfs.File
	slow time.Duration
}

// ReadAt finds no record that can be read.
func (f *slowFile) ReadAt(p []byte, off int64) (int, error) {
	if off < segmentBody {
		return f.File.ReadAt(p, off)
	}
	<-time.After(f.slow)
	return 0, syscall.EIO
}

// badDisk returns options for a store of which no record can be read, and each
// try takes long.
func badDisk(t *testing.T, slow time.Duration) *Options {
	disk := &crashfs.FS{}
	s := reopened(t, disk, true)
	for range 8 {
		putOne(t, s, "text\n")
		s.front.leave()
	}
	disk = disk.Crash(crashfs.KeepAll, 1)
	s.Close()
	disk.Remove("/queue/checkpoint")
	o := TinyQuiet(&slowDisk{disk, slow})
	o.readers = 1
	return o
}

// What cannot be read is tried for some seconds at a start, however much it is.
func TestAStartIsNotHeldUpByEveryBadPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, began := badDisk(t, time.Millisecond), time.Now()
		s, err := Open("/queue", o)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the start took %v", took)
		}
		s.Close()
	})
}

// Of a segment that takes a minute no more is tried.
func TestASlowBadSegmentIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 20 * time.Second
		o, began := badDisk(t, slow), time.Now()
		s, err := Open("/queue", o)
		if err != nil {
			t.Fatal(err)
		}
		if took, most := time.Since(began), 8*(slowest+3*slow)+manyTries*(slow+tryAgain); took > most {
			t.Errorf("the start took %v, want %v at most", took, most)
		}
		s.Close()
	})
}

// Close does not wait until all has been tried.
func TestCloseDoesNotWaitForWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := time.Second
		s, err := Open("/queue", badDisk(t, slow).Unread())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.Close()
		if took, most := time.Since(began), patience+tryAgain+2*slow; took > most {
			t.Errorf("Close took %v, want %v at most", took, most)
		}
	})
}
