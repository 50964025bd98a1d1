package crashfs_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
)

// content returns a file's content, "-" if there is no file.
func content(files *crashfs.FS, name string) string {
	f, err := files.Open(name)
	if err != nil {
		return "-"
	}
	size, _ := f.Size()
	b := make([]byte, size)
	f.ReadAt(b, 0)
	return string(b)
}

func create(t *testing.T, files *crashfs.FS, name string) spoolfs.File {
	t.Helper()
	f, err := files.Create(name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// After what was done, what can be left? Every loss must leave one of the
// contents, and over many seeds each of them must be left by some.
func possible(t *testing.T, files *crashfs.FS, name string, want ...string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, loss := range crashfs.Losses() {
		for seed := range uint64(50) {
			seen[content(files.Crash(loss, seed), name)] = true
		}
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("%s: %q is never left", name, w)
		}
		delete(seen, w)
	}
	for w := range seen {
		t.Errorf("%s: %q is left", name, w)
	}
}

func TestWhatIsSyncedIsKept(t *testing.T) {
	files := &crashfs.FS{}
	f := create(t, files, "/a")
	f.WriteAt([]byte("hello"), 0)
	f.Datasync()
	possible(t, files, "/a", "hello", "-") // the name is not
	files.SyncDir("/")
	possible(t, files, "/a", "hello")
}

func TestWhatIsNotSyncedMayBeLostOrTorn(t *testing.T) {
	files := &crashfs.FS{}
	f := create(t, files, "/a")
	f.WriteAt([]byte("o"), 0)
	f.Datasync()
	files.SyncDir("/")
	f.WriteAt([]byte("n"), 0)
	seen := make(map[string]bool)
	for _, loss := range crashfs.Losses() {
		for seed := range uint64(50) {
			seen[content(files.Crash(loss, seed), "/a")] = true
		}
	}
	if !seen["o"] || !seen["n"] || len(seen) < 4 {
		t.Errorf("left: %v, want old, new, zero and noise", seen)
	}
}

func TestWritesOfAnOrderMayBeKeptInAnother(t *testing.T) {
	files := &crashfs.FS{}
	f := create(t, files, "/a")
	files.SyncDir("/")
	f.Allocate(1024)
	f.Datasync()
	f.WriteAt([]byte(strings.Repeat("1", 512)), 0)
	f.WriteAt([]byte(strings.Repeat("2", 512)), 512)
	second := false
	for seed := range uint64(50) {
		c := content(files.Crash(crashfs.TearBlocks, seed), "/a")
		second = second || c[0] == 0 && c[512] == '2'
	}
	if !second {
		t.Error("the second write is never kept without the first")
	}
}

func TestNamesAreKeptBySyncDir(t *testing.T) {
	files := &crashfs.FS{}
	f := create(t, files, "/a")
	f.WriteAt([]byte("x"), 0)
	f.Datasync()
	files.SyncDir("/")
	files.Rename("/a", "/b")
	possible(t, files, "/a", "x", "-")
	possible(t, files, "/b", "x", "-")
	for seed := range uint64(50) { // a rename is one step
		left := files.Crash(crashfs.TearBlocks, seed)
		if (content(left, "/a") == "x") == (content(left, "/b") == "x") {
			t.Fatal("a file has two names or none after a rename")
		}
	}
	files.SyncDir("/")
	possible(t, files, "/a", "-")
	files.Remove("/b")
	possible(t, files, "/b", "x", "-")
}

func TestAFailedSyncSavesNothingEvenLater(t *testing.T) {
	files := &crashfs.FS{}
	f := create(t, files, "/a")
	files.SyncDir("/")
	f.WriteAt([]byte("lost"), 0)
	files.Hook = func(op crashfs.Op) error {
		if op.Before && op.Kind == crashfs.Datasync {
			return syscall.EIO
		}
		return nil
	}
	if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
	files.Hook = nil
	if err := f.Datasync(); err != nil {
		t.Fatal(err)
	}
	if c := content(files, "/a"); c != "lost" {
		t.Errorf("live content is %q", c)
	}
	if c := content(files.Crash(crashfs.LoseAll, 1), "/a"); c != "" {
		t.Errorf("%q was saved by a sync after the one that failed", c)
	}
	f.WriteAt([]byte("kept"), 0)
	f.Datasync()
	possible(t, files, "/a", "kept")
}

func TestAFailedSyncDirSavesNothingEvenLater(t *testing.T) {
	files := &crashfs.FS{}
	create(t, files, "/a")
	files.Hook = func(op crashfs.Op) error {
		if op.Before && op.Kind == crashfs.SyncDir {
			return syscall.EIO
		}
		return nil
	}
	files.SyncDir("/")
	files.Hook = nil
	files.SyncDir("/")
	if c := content(files.Crash(crashfs.LoseAll, 1), "/a"); c != "-" {
		t.Error("the name was saved by a sync after the one that failed")
	}
	files.Remove("/a")
	create(t, files, "/a")
	files.SyncDir("/")
	possible(t, files, "/a", "")
}

func TestAfterTheDeathOfTheProcessPowerCanFail(t *testing.T) {
	files := &crashfs.FS{}
	f := create(t, files, "/a")
	files.SyncDir("/")
	f.WriteAt([]byte("x"), 0)
	left := files.Crash(crashfs.KeepAll, 1)
	if c := content(left, "/a"); c != "x" {
		t.Errorf("%q is left", c)
	}
	if c := content(left.Crash(crashfs.LoseAll, 1), "/a"); c != "" {
		t.Errorf("%q is left when power fails after that", c)
	}
	if c := content(files, "/a"); c != "x" {
		t.Errorf("the crash has changed the file system itself: %q", c)
	}
}

// What a crash leaves shares memory with the file system until one of them is
// written to.
func TestWhatACrashLeavesIsAFileSystemOfItsOwn(t *testing.T) {
	for _, loss := range crashfs.Losses() {
		files := &crashfs.FS{}
		f := create(t, files, "/a")
		f.WriteAt([]byte("first"), 0)
		f.Datasync()
		files.SyncDir("/")
		left := files.Crash(loss, 1)
		g, err := left.Open("/a")
		if err != nil {
			t.Fatal(err)
		}
		g.WriteAt([]byte("left"), 0)
		g.Datasync()
		f.WriteAt([]byte("LIVE"), 0)
		f.Datasync()
		if a, b := content(files, "/a"), content(left, "/a"); a != "LIVEt" || b != "leftt" {
			t.Errorf("%s: %q and %q", loss, a, b)
		}
		if a, b := content(files.Crash(crashfs.LoseAll, 1), "/a"), content(left.Crash(crashfs.LoseAll, 1), "/a"); a != "LIVEt" || b != "leftt" {
			t.Errorf("%s, on the disk: %q and %q", loss, a, b)
		}
	}
}

func TestAFullDiskTakesNoMore(t *testing.T) {
	files := &crashfs.FS{Limit: 100}
	f := create(t, files, "/a")
	if err := f.Allocate(80); err != nil {
		t.Fatal(err)
	}
	g := create(t, files, "/b")
	if _, err := g.WriteAt(make([]byte, 30), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if _, err := f.WriteAt(make([]byte, 80), 0); err != nil {
		t.Errorf("within what is allocated: %v", err)
	}
	files.Remove("/a")
	if _, err := g.WriteAt(make([]byte, 30), 0); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

func TestWhatIsUnreadableFails(t *testing.T) {
	files := &crashfs.FS{}
	f := create(t, files, "/a")
	f.WriteAt(make([]byte, 1024), 0)
	files.Unreadable = func(name string, from, to int64) error {
		if from < 600 && to > 512 {
			return syscall.EIO
		}
		return nil
	}
	b := make([]byte, 512)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Error(err)
	}
	if _, err := f.ReadAt(b, 1); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
}

// A test cuts power after each step of a writer, and looks at what is left.
func Example() {
	files := &crashfs.FS{}
	files.Hook = func(op crashfs.Op) error {
		if !op.Before {
			left := op.Crash(crashfs.LoseAll, 0)
			fmt.Printf("after %s: %q\n", op.Kind, content(left, "/mail"))
		}
		return nil
	}
	f, _ := files.Create("/mail", 0o600)
	f.WriteAt([]byte("hello"), 0)
	f.Datasync()
	files.SyncDir("/")
	// Output:
	// after create: "-"
	// after write: "-"
	// after datasync: "-"
	// after syncdir: "hello"
}
