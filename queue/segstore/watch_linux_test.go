package segstore_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sqmail/sqmail/queue/segstore"
)

func watched(t *testing.T) (dir string, changed chan struct{}, over <-chan struct{}) {
	t.Helper()
	dir, changed = filepath.Join(t.TempDir(), "drop"), make(chan struct{}, 1)
	if err := os.Mkdir(dir, 0o733); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	over, stop, err := segstore.WatchDir(&running, dir, changed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		running.Wait() // or the test hangs
	})
	return dir, changed, over
}

func TestNewNamesInADirectoryAreTold(t *testing.T) {
	dir, changed, over := watched(t)
	part := filepath.Join(dir, "1.new")
	for range 3 {
		if err := os.WriteFile(part, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(part, filepath.Join(dir, "1.msg")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-over:
			t.Fatal("the watch is over")
		}
	}
}

func TestWatchIsOverWithItsDirectory(t *testing.T) {
	dir, _, over := watched(t)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	<-over
}

func TestWatchNeedsADirectory(t *testing.T) {
	var running sync.WaitGroup
	if _, _, err := segstore.WatchDir(&running, filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("no error")
	}
}

func TestStoresLeaveNoWatchesBehind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	files := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(open)
	}
	open(t, dir, &segstore.Options{Watch: true}).Close()
	before := files()
	for range 20 {
		open(t, dir, &segstore.Options{Watch: true}).Close()
	}
	if n := files(); n > before+5 {
		t.Errorf("%d open files, then %d", before, n)
	}
}
