package spoolfs_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

func TestSyncerSyncsWhateverFile(t *testing.T) {
	both(t, func(t *testing.T, files spoolfs.FS, dir string) {
		f, err := files.Create(filepath.Join(dir, "a"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var s spoolfs.Syncer
		defer s.Close()
		for i := range 100 {
			if _, err := f.WriteAt([]byte("octets"), int64(i)); err != nil {
				t.Fatal(err)
			}
			if err := s.Datasync(f); err != nil {
				t.Fatal(err)
			}
			if i%40 == 39 {
				s.Close() // it can be used again
			}
		}
	})
}

func TestSyncerFailsOnAClosedFile(t *testing.T) {
	f, err := spoolfs.Disk{}.Create(filepath.Join(t.TempDir(), "a"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var s spoolfs.Syncer
	defer s.Close()
	if err := s.Datasync(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := s.Datasync(f); err == nil {
		t.Error("sync of a closed file has no error")
	}
}

// failing is a file that only the test may sync.
type failing struct{ spoolfs.File }

var errSync = errors.New("no sync")

func (failing) Datasync() error { return errSync }

func TestSyncerAsksAFileThatIsNotOfTheDisk(t *testing.T) {
	f, err := spoolfs.Disk{}.Create(filepath.Join(t.TempDir(), "a"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s spoolfs.Syncer
	defer s.Close()
	if err := s.Datasync(failing{f}); err != errSync {
		t.Errorf("got %v, want the file's own error", err)
	}
}

func TestSyncersWorkBesideEachOther(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			f, err := spoolfs.Disk{}.Create(filepath.Join(dir, name), 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			var s spoolfs.Syncer
			defer s.Close()
			for i := range 50 {
				f.WriteAt([]byte(name), int64(i))
				if err := s.Datasync(f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
