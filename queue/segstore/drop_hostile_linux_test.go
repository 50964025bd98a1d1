package segstore_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// dropHeadOf is the head of a drop file that claims lengths.
func dropHeadOf(body, meta uint64) []byte {
	h := make([]byte, 64)
	copy(h, "sqmailD1")
	binary.LittleEndian.PutUint64(h[16:], body)
	binary.LittleEndian.PutUint64(h[24:], meta)
	binary.LittleEndian.PutUint32(h[60:], crc32.Checksum(h[:60], crc32.MakeTable(crc32.Castagnoli)))
	return h
}

// Whatever somebody puts into the drop directory, it costs no memory and no
// room on the disk, and what others have submitted is taken in.
func TestDropperCannotHoldUpOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	open(t, dir, nil).Close()
	drop := filepath.Join(dir, "drop")
	sparse := func(head []byte, size int64) func(string) error {
		return func(path string) error {
			if err := os.WriteFile(path, head, 0o644); err != nil {
				return err
			}
			return os.Truncate(path, size)
		}
	}
	hostile := map[string]func(path string) error{
		"a directory":                      func(path string) error { return os.Mkdir(path, 0o755) },
		"a directory with something":       func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o755) },
		"a FIFO":                           func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"an envelope of a tebioctet":       sparse(dropHeadOf(10, 1<<40), 1<<40+1<<20),
		"a message of a tebioctet":         sparse(dropHeadOf(1<<40, 100), 1<<40+164),
		"a body of the greatest length":    sparse(dropHeadOf(math.MaxInt64, 100), 1000),
		"lengths whose sum is negative":    sparse(dropHeadOf(math.MaxInt64-100, 60<<20), 1000),
		"lengths that are negative":        sparse(dropHeadOf(math.MaxUint64, math.MaxUint64), 1000),
		"a file of two names":              func(path string) error { return os.Link(filepath.Join(dir, "other"), path) },
		"an empty file":                    sparse(nil, 0),
		"a head without anything":          sparse(dropHeadOf(0, 0), 64),
		"a message that is cut off":        sparse(dropHeadOf(10, 10), 70),
		"a message with a hole at its end": sparse(dropHeadOf(10, 10), 1<<20),
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), dropHeadOf(0, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	n := 0
	for what, makeIt := range hostile {
		if err := makeIt(filepath.Join(drop, fmt.Sprintf("%032x.msg", n))); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		n++
	}
	if err := segstore.Submit(ctx, dir, queue.Submission{Envelope: dropEnvelope("good")}, strings.NewReader("x\n")); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, segstore.Quiet())
	defer s.Close()
	if err := s.TakeDrops(); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Fresh != 1 || st.Quarantined != len(hostile) {
		t.Errorf("%+v, want one message, and %d files put aside", st, len(hostile))
	}
	if names, _ := os.ReadDir(drop); len(names) != 0 {
		t.Errorf("still there: %v", names)
	}
}

// What can neither be taken in nor be moved, as a directory of somebody else's,
// is told of once, and holds up nobody.
func TestWhatCannotBePutAsideIsToldOnce(t *testing.T) {
	disk := &crashfs.FS{}
	s := open(t, "/queue", segstore.TinyQuiet(disk))
	defer s.Close()
	const inTheWay = "/queue/drop/00.msg"
	disk.Create(inTheWay, 0o640)
	tries := 0
	disk.Hook = func(op crashfs.Op) error {
		if op.Before && strings.Contains(op.Name, "00.msg") {
			tries++
			return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: syscall.EACCES}
		}
		return nil
	}
	for i := range 3 {
		if err := segstore.SubmitOn(ctx, disk, "/queue", queue.Submission{Envelope: dropEnvelope(fmt.Sprint(i))}, strings.NewReader("x\n")); err != nil {
			t.Fatal(err)
		}
		if err := s.TakeDrops(); err != nil {
			t.Error(err)
		}
	}
	if st := s.Stats(); st.Fresh != 3 || st.Quarantined != 1 || tries != 2 {
		t.Errorf("%+v after %d tries, want three messages, and one attempt to move and to remove it", st, tries)
	}
}

// A message that says it came tomorrow would be too old a day later than others,
// or never.
func TestSubmissionIsNotFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &crashfs.FS{}
		s := open(t, "/queue", segstore.TinyQuiet(disk))
		defer s.Close()
		sub := queue.Submission{Envelope: dropEnvelope("1"), Arrived: time.Now().AddDate(100, 0, 0)}
		if err := segstore.SubmitOn(ctx, disk, "/queue", sub, strings.NewReader("x\n")); err != nil {
			t.Fatal(err)
		}
		if err := s.TakeDrops(); err != nil {
			t.Fatal(err)
		}
		for e, err := range s.Scan(ctx) {
			if err != nil || e.Arrived.After(time.Now()) {
				t.Errorf("it came %v, and now is %v; %v", e.Arrived, time.Now(), err)
			}
		}
	})
}

func TestSubmitRefusesPathsThatNobodyTakes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	open(t, dir, nil).Close()
	env := dropEnvelope("1")
	env.ReversePath = sqmail.PathOf(strings.Repeat("a", 2000) + "@b.test")
	err := segstore.Submit(ctx, dir, queue.Submission{Envelope: env}, strings.NewReader("x\n"))
	if sqmail.ClassOf(err) != sqmail.Rejection {
		t.Errorf("got %v, want a rejection", err)
	}
	if names, _ := os.ReadDir(filepath.Join(dir, "drop")); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}
