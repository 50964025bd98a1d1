package segstore_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// tryPut commits a message, or returns the error.
func tryPut(s queue.Store, size int) error {
	d, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := d.Write([]byte(strings.Repeat("x", size))); err != nil {
		return err
	}
	_, err = d.Commit(ctx, queue.Submission{Envelope: dropEnvelope("1")})
	return err
}

func TestAFullDiskRefusesWhatComesAndLetsGoWhatIsThere(t *testing.T) {
	disk := &crashfs.FS{Limit: 400 << 10}
	s := open(t, "/queue", segstore.TinyQuiet(disk))
	defer s.Close()
	for round := range 3 {
		taken, refused := 0, 0
		for i := 0; refused < 20; i++ {
			err := tryPut(s, 500+i%3*3000)
			switch {
			case err == nil:
				taken++
			case sqmail.ReplyFor(err).Code != 452:
				t.Fatalf("round %d: %v, want 452", round, err)
			default:
				refused++
			}
			s.KeepHouse()
		}
		if taken < 20 {
			t.Fatalf("round %d: only %d messages taken", round, taken)
		}
		for s.Stats().Fresh+s.Stats().Deferred > 0 { // nothing here may fail
			l, err := s.Lease(ctx, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Checkpoint(ctx, []queue.Attempt{{Number: 1, Status: queue.Delivered}}); err != nil {
				t.Fatalf("round %d: Checkpoint on a full disk: %v", round, err)
			}
			if err := l.Done(ctx, nil); err != nil {
				t.Fatalf("round %d: Done on a full disk: %v", round, err)
			}
			s.KeepHouse()
		}
	}
}

func TestDraftsShareABoundedMemory(t *testing.T) {
	dir := t.TempDir()
	o := segstore.Quiet()
	o.Memory = 1 << 20
	s := open(t, dir, o)
	defer s.Close()
	var drafts []queue.Draft
	for range 50 {
		d, err := s.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := d.Write(make([]byte, 2000)); err != nil {
				t.Fatal(err)
			}
		}
		drafts = append(drafts, d)
	}
	if used := s.DraftMemory(); used > 1<<20 {
		t.Errorf("%d octets in memory, want at most a MiB", used)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "bodies", "*")); len(files) < 40 {
		t.Errorf("%d drafts are in files, want most", len(files))
	}
	for i, d := range drafts {
		if i%2 == 0 {
			d.Abort()
		} else if _, err := d.Commit(ctx, queue.Submission{Envelope: dropEnvelope("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if used := s.DraftMemory(); used != 0 {
		t.Errorf("%d octets are still accounted for", used)
	}
	if n := len(leaseAll(t, s)); n != 25 {
		t.Errorf("%d messages, want 25", n)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "bodies", "*")); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestTheDirectoryIsSmallAfterADrain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, segstore.Quiet())
	defer s.Close()
	body := strings.Repeat("x", 200<<10)
	for i := range 1000 { // 200 MB, of which every hundredth message stays
		put(t, s, body, queue.Submission{Envelope: dropEnvelope(fmt.Sprint(i)), Held: i%100 == 0})
	}
	if size := usage(t, dir); size < 200<<20 {
		t.Fatalf("the full queue takes %d MiB only", size>>20)
	}
	leaseAll(t, s)
	s.KeepHouse()
	if size := usage(t, dir); size > 64<<20 {
		t.Errorf("after the drain the directory takes %d MiB, want less than 64", size>>20)
	}
	if n := s.Stats().Held; n != 10 {
		t.Errorf("%d messages left, want 10", n)
	}
}

func usage(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}
