package segstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

func dropEnvelope(id string) *sqmail.Envelope {
	return &sqmail.Envelope{EnvelopeID: id, Header: []byte("Received: x\n"), Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("a@b.test")}}}
}

func TestSubmitWhileNobodyHasTheStoreOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	open(t, dir, nil).Close()
	arrived := time.Now().Add(-time.Hour).Round(0)
	body := strings.Repeat("line\n", 100_000)
	if err := segstore.Submit(ctx, dir, queue.Submission{Envelope: dropEnvelope("1"), Arrived: arrived}, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, nil)
	defer s.Close()
	l, err := s.Lease(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	e := l.Entry()
	got, _ := io.ReadAll(io.NewSectionReader(l.Content(), 0, e.Size))
	if string(got) != "Received: x\n"+body || e.Envelope.EnvelopeID != "1" || !e.Arrived.Equal(arrived) {
		t.Errorf("another message: %d octets, envelope %+v, arrived %v", len(got), e.Envelope, e.Arrived)
	}
}

// Each message is there sooner than the directory is looked at without being
// told to.
func TestSubmissionIsTakenInAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	s := open(t, dir, &segstore.Options{Watch: true})
	defer s.Close()
	for i := range 3 {
		if err := segstore.Submit(ctx, dir, queue.Submission{Envelope: dropEnvelope(fmt.Sprint(i))}, strings.NewReader("x\n")); err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(ctx, 4*time.Second)
		l, err := s.Lease(soon, time.Minute)
		cancel()
		if err != nil {
			t.Fatalf("submission %d: %v", i, err)
		}
		if id := l.Entry().Envelope.EnvelopeID; id != fmt.Sprint(i) {
			t.Errorf("got submission %s, want %d", id, i)
		}
		if err := l.Done(ctx, nil); err != nil {
			t.Error(err)
		}
	}
}

// Without word from the kernel the directory is looked at each second.
func TestSubmissionIsFoundWithoutBeingTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &crashfs.FS{}
		s := open(t, "/queue", segstore.Small(disk))
		defer s.Close()
		time.Sleep(time.Minute)
		if err := segstore.SubmitOn(ctx, disk, "/queue", queue.Submission{Envelope: dropEnvelope("1"), Held: true}, strings.NewReader("x\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		if st := s.Stats(); st.Held != 1 {
			t.Errorf("after a second: %+v", st)
		}
		if names, _ := disk.ReadDir("/queue/drop"); len(names) != 0 {
			t.Errorf("the drop directory still has %v", names)
		}
	})
}

func TestSubmitLeavesNothingWhenItFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	open(t, dir, nil).Close()
	verdict := &sqmail.Error{Class: sqmail.Rejection}
	err := segstore.Submit(ctx, dir, queue.Submission{Envelope: dropEnvelope("1")}, iotest.ErrReader(verdict))
	if err != verdict {
		t.Errorf("got %v, want the error of the body", err)
	}
	if err := segstore.Submit(ctx, dir, queue.Submission{Envelope: &sqmail.Envelope{}}, strings.NewReader("")); sqmail.ClassOf(err) != sqmail.Rejection {
		t.Errorf("no recipient: got %v, want a rejection", err)
	}
	if err := segstore.Submit(ctx, dir, queue.Submission{Envelope: dropEnvelope("1"), Replaces: 1}, strings.NewReader("")); err == nil {
		t.Error("a dropped message replaces another")
	}
	if names, _ := os.ReadDir(filepath.Join(dir, "drop")); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	if err := segstore.Submit(ctx, filepath.Join(dir, "nowhere"), queue.Submission{Envelope: dropEnvelope("1")}, strings.NewReader("")); sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("no store: got %v, want a deferral", err)
	}
}

// Everybody may put files there. Nobody but the owner may list them or remove
// those of others; nor may anybody outside the directory's group read them,
// whatever the submitter's umask is.
func TestDropDirectoryHidesNamesAndKeepsOthersFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	open(t, dir, nil).Close()
	if err := segstore.Submit(ctx, dir, queue.Submission{Envelope: dropEnvelope("1")}, strings.NewReader("x\n")); err != nil {
		t.Fatal(err)
	}
	submitted, err := filepath.Glob(filepath.Join(dir, "drop", "*.msg"))
	if err != nil || len(submitted) != 1 {
		t.Fatalf("submitted: %v, %v", submitted, err)
	}
	for name, want := range map[string]os.FileMode{
		filepath.Join(dir, "drop"):     os.ModeDir | os.ModeSticky | os.ModeSetgid | 0o733,
		submitted[0]:                   0o640,
		filepath.Join(dir, "segments"): os.ModeDir | 0o700,
		filepath.Join(dir, "lock"):     0o600,
	} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
}

func TestForeignFilesInTheDropDirectoryArePutAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	open(t, dir, nil).Close()
	drop := filepath.Join(dir, "drop")
	name := strings.Repeat("ab", 16) + ".msg"
	if err := os.WriteFile(filepath.Join(drop, name), []byte("no message"), 0o644); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	os.WriteFile(secret, []byte("secret"), 0o600)
	for link, target := range map[string]string{strings.Repeat("cd", 16) + ".msg": secret, "README": secret} {
		if err := os.Symlink(target, filepath.Join(drop, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, segstore.Quiet())
	defer s.Close()
	if err := s.TakeDrops(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Quarantined != 3 || st.Fresh != 0 {
		t.Errorf("%+v, want three files put aside", st)
	}
	if names, _ := os.ReadDir(drop); len(names) != 0 {
		t.Errorf("still there: %v", names)
	}
	reported := 0
	for _, err := range s.Scan(ctx) {
		if err != nil {
			reported++
		}
	}
	if reported != 3 {
		t.Errorf("Scan reports %d, want 3", reported)
	}
}

func TestUnfinishedDropFilesAreRemovedAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &crashfs.FS{}
		s := open(t, "/queue", segstore.TinyQuiet(disk))
		defer s.Close()
		disk.Create("/queue/drop/0123.new", 0o640)
		for range 37 {
			if names, _ := disk.ReadDir("/queue/drop"); len(names) != 1 {
				t.Fatal("removed too early")
			}
			s.TakeDrops()
			time.Sleep(time.Hour)
		}
		s.TakeDrops()
		if names, _ := disk.ReadDir("/queue/drop"); len(names) != 0 {
			t.Errorf("still there: %v", names)
		}
	})
}

// TestDropsAreTakenInOnce cuts power at every step of submitting and taking
// in: what was submitted is in the queue once, after however many crashes.
func TestDropsAreTakenInOnce(t *testing.T) {
	disk := &crashfs.FS{}
	s := open(t, "/queue", segstore.TinyQuiet(disk))
	promised, asked, points := 0, 0, 0
	disk.Hook = func(op crashfs.Op) error {
		for i, loss := range crashfs.Losses() {
			points++
			image := op.Crash(loss, uint64(op.N*10+i))
			for again := range 2 {
				n, err := takenIn(image)
				if err != nil || n < promised || n > asked {
					t.Fatalf("crash at operation %d (%s %s), %q, start %d: %d messages, promised %d of %d; %v", op.N, op.Kind, op.Name, loss, again, n, promised, asked, err)
				}
			}
		}
		return nil
	}
	for i := range 4 {
		asked++
		body := strings.Repeat("x\n", 100+3000*(i%2))
		if err := segstore.SubmitOn(ctx, disk, "/queue", queue.Submission{Envelope: dropEnvelope(fmt.Sprint(i))}, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		promised++
		if i%2 == 1 {
			if err := s.TakeDrops(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.TakeDrops()
	disk.Hook = nil
	s.Close()
	t.Logf("%d crash points", points)
}

// takenIn opens a store, takes in what was dropped, and counts the messages.
// No message may be there twice.
func takenIn(image *crashfs.FS) (int, error) {
	s, err := segstore.Open("/queue", segstore.TinyQuiet(image))
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := s.TakeDrops(); err != nil {
		return 0, err
	}
	seen := make(map[string]bool)
	for e, err := range s.Scan(ctx) {
		if err != nil {
			return 0, err
		}
		if seen[e.Envelope.EnvelopeID] {
			return 0, errors.New("a message is there twice")
		}
		seen[e.Envelope.EnvelopeID] = true
	}
	return len(seen), nil
}
