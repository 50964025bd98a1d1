package spoolfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
)

// both runs a test on the disk and on its twin.
func both(t *testing.T, test func(t *testing.T, files spoolfs.FS, dir string)) {
	t.Run("disk", func(t *testing.T) { test(t, spoolfs.Disk{}, t.TempDir()) })
	t.Run("crashfs", func(t *testing.T) { test(t, &crashfs.FS{}, "/") })
}

func TestFilesAreReadAsWritten(t *testing.T) {
	both(t, func(t *testing.T, files spoolfs.FS, dir string) {
		name := filepath.Join(dir, "a")
		f, err := files.Create(name, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := files.Create(name, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create of what is there: %v", err)
		}
		f.WriteAt([]byte("world"), 5)
		f.WriteAt([]byte("hello"), 0)
		if err := errors.Join(f.Allocate(100), f.Datasync(), f.Truncate(8), f.Close()); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "b")
		if err := errors.Join(files.Rename(name, to), files.SyncDir(dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open of what was renamed: %v", err)
		}
		g, err := files.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		var b [20]byte
		n, _ := g.ReadAt(b[:], 1)
		if size, _ := g.Size(); size != 8 || string(b[:n]) != "ellowor" {
			t.Errorf("%d octets, %q", size, b[:n])
		}
	})
}

func TestDirectories(t *testing.T) {
	both(t, func(t *testing.T, files spoolfs.FS, dir string) {
		d := filepath.Join(dir, "d")
		if err := files.Mkdir(d, 0o733); err != nil {
			t.Fatal(err)
		}
		if err := files.Mkdir(d, 0o700); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Mkdir of what is there: %v", err)
		}
		for _, name := range []string{"b", "a"} {
			f, err := files.Create(filepath.Join(d, name), 0o640)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		names, err := files.ReadDir(d)
		if err != nil || fmt.Sprint(names) != "[a b]" {
			t.Errorf("%v, %v", names, err)
		}
		if err := files.Remove(d); err == nil {
			t.Error("a directory that is not empty was removed")
		}
		if _, err := files.Open(d); err == nil {
			t.Error("a directory was opened as a file")
		}
		for _, name := range []string{"d/a", "d/b", "d"} {
			if err := files.Remove(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		if _, err := files.ReadDir(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadDir of what is gone: %v", err)
		}
	})
}

func TestALockIsHeldUntilItIsClosed(t *testing.T) {
	both(t, func(t *testing.T, files spoolfs.FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := files.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = files.Lock(name)
		if locked, ok := errors.AsType[*spoolfs.LockedError](err); !ok || locked.PID == 0 {
			t.Errorf("second Lock: %v", err)
		}
		l.Close()
		l, err = files.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	})
}

func TestPermissionsDoNotDependOnTheUmask(t *testing.T) {
	dir := t.TempDir()
	f, err := spoolfs.Disk{}.Create(filepath.Join(dir, "f"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := (spoolfs.Disk{}).Mkdir(filepath.Join(dir, "d"), fs.ModeSticky|0o733); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"f": 0o666, "d": fs.ModeDir | fs.ModeSticky | 0o733} {
		if info, _ := os.Stat(filepath.Join(dir, name)); info.Mode() != want {
			t.Errorf("%s: %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestNothingButRegularFilesIsOpened(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	os.WriteFile(target, []byte("x"), 0o600)
	os.Symlink(target, filepath.Join(dir, "link"))
	if _, err := (spoolfs.Disk{}).Open(filepath.Join(dir, "link")); err == nil {
		t.Error("a link was followed")
	}
	if _, err := (spoolfs.Disk{}).Open(dir); err == nil {
		t.Error("a directory was opened")
	}
}

func Example() {
	dir, _ := os.MkdirTemp("", "spool")
	defer os.RemoveAll(dir)
	var files spoolfs.FS = spoolfs.Disk{}

	f, _ := files.Create(filepath.Join(dir, "message.new"), 0o600)
	f.WriteAt([]byte("Subject: hello\n"), 0)
	err := errors.Join(f.Datasync(), f.Close()) // the content is durable, then the name
	if err == nil {
		err = files.Rename(filepath.Join(dir, "message.new"), filepath.Join(dir, "message"))
	}
	if err == nil {
		err = files.SyncDir(dir)
	}
	names, _ := files.ReadDir(dir)
	fmt.Println(names, err)
	// Output: [message] <nil>
}
