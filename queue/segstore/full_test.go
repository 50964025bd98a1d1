package segstore_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// fullDisk fills a store's disk, and returns what the process leaves that dies
// then: there is not an octet of space.
func fullDisk(t *testing.T) *crashfs.FS {
	t.Helper()
	disk := &crashfs.FS{Limit: 400 << 10}
	s := open(t, "/queue", segstore.SmallQuiet(disk))
	defer s.Close()
	for refused := 0; refused < 20; s.KeepHouse() {
		if tryPut(s, 700) != nil {
			refused++
		}
	}
	left := disk.Crash(crashfs.KeepAll, 1)
	left.Limit = left.Used()
	return left
}

// A start needs space, for it writes again what was written last. On a full
// disk it takes what segments do not use. When the process dies again and again,
// what is in the queue can go, and when it has gone there is space.
func TestAFullDiskOutlivesRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := fullDisk(t)
		var s *segstore.Store
		for n := range 3 { // each takes some KiB, of the 64 that a segment has here
			s = open(t, "/queue", segstore.SmallQuiet(disk))
			if err := s.Loaded(ctx); err != nil {
				t.Fatalf("start %d on a full disk: %v", n, err)
			}
			s.KeepHouse()
			l, err := s.Lease(ctx, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Done(ctx, nil); err != nil {
				t.Fatalf("start %d on a full disk: Done: %v", n, err)
			}
			next := disk.Crash(crashfs.KeepAll, uint64(n))
			s.Close()
			disk = next
		}
		s = open(t, "/queue", segstore.SmallQuiet(disk))
		defer s.Close()
		s.KeepHouse()
		gone := 0
		for ; s.Stats().Fresh+s.Stats().Deferred > 0; gone++ {
			l, err := s.Lease(ctx, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Done(ctx, nil); err != nil {
				t.Fatalf("after %d: Done: %v", gone, err)
			}
			s.KeepHouse()
		}
		if gone < 100 {
			t.Errorf("%d messages were left, want most of the disk", gone)
		}
		if err := tryPut(s, 700); err != nil {
			t.Errorf("when all has gone: %v", err)
		}
	})
}

// When there is not even that, the store is open, and loads its index as soon
// as there is space.
func TestTheIndexIsLoadedWhenThereIsSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &crashfs.FS{}
		o := segstore.TinyQuiet(disk)
		s := open(t, "/queue", o)
		put(t, s, strings.Repeat("x\n", 2000), queue.Submission{Envelope: dropEnvelope("1")})
		left := disk.Crash(crashfs.KeepAll, 1)
		s.Close()
		var none atomic.Bool
		none.Store(true)
		left.Hook = func(op crashfs.Op) error {
			if op.Before && op.Kind == crashfs.Write && none.Load() {
				return syscall.ENOSPC
			}
			return nil
		}
		var log bytes.Buffer
		o = segstore.TinyQuiet(left)
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s = opened(t, "/queue", o)
		defer s.Close()
		<-time.After(time.Minute)
		if st := s.Stats(); !st.Loading {
			t.Errorf("%+v without space", st)
		}
		none.Store(false)
		if err := s.Loaded(ctx); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(leaseAll(t, s)); got != "[1]" {
			t.Errorf("delivered %v", got)
		}
		if !strings.Contains(log.String(), "no space") {
			t.Error("the log does not tell")
		}
	})
}

// A damaged segment is told with each message that is in it, and the numbers in
// it are not given again.
func TestTheMessagesOfADamagedSegmentAreTold(t *testing.T) {
	for _, checkpoint := range []bool{true, false} {
		dir := t.TempDir()
		s := open(t, dir, segstore.Quiet())
		last := put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("1")})
		s.Close()
		for _, page := range []int64{0, sector} {
			spoil(t, segment(t, dir), page+20)
		}
		if !checkpoint {
			removeFile(t, dir, "checkpoint")
		}
		var log bytes.Buffer
		o := segstore.Quiet()
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s = open(t, dir, o)
		if told := strings.Contains(log.String(), "lost with its segment\" message=1 "); told != checkpoint {
			t.Errorf("checkpoint: %v, the message is told: %v", checkpoint, told)
		}
		if id := put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("2")}); id <= last {
			t.Errorf("number %v was given before", id)
		}
		s.Close()
	}
}

func removeFile(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// A sync of the directory of bodies that has failed may have lost the names of
// all that were made before, also of those that another sync is for.
func TestABodyWhoseNameAnotherSyncHasLostIsRefused(t *testing.T) {
	disk := &crashfs.FS{}
	s := open(t, "/queue", segstore.TinyQuiet(disk))
	defer s.Close()
	var drafts []queue.Draft
	for range 2 {
		d, err := s.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Abort()
		if _, err := d.Write(make([]byte, 6000)); err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, d)
	}
	failed := false
	disk.Hook = func(op crashfs.Op) error {
		if !failed && op.Before && op.Kind == crashfs.SyncDir && op.Name == "/queue/bodies" {
			failed = true
			return syscall.EIO
		}
		return nil
	}
	for i, d := range drafts {
		if _, err := d.Commit(ctx, queue.Submission{Envelope: dropEnvelope("1")}); err == nil {
			t.Errorf("message %d was accepted, and its body may have no name", i)
		}
	}
	if !failed {
		t.Error("the directory was not synced")
	}
}
