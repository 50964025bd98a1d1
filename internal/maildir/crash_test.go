package maildir_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/internal/maildir"
)

// fragile is a file system that knows what would survive a loss of power. Its
// step number failing fails; so do all later ones if it is dead.
type fragile struct {
	step, failing int
	dies          bool

	live, durable map[string]*fragileFile
}

type fragileFile struct {
	fs              *fragile
	content, synced string
}

var errBroken = errors.New("broken")

func newFragile(failing int, dies bool) *fragile {
	return &fragile{failing: failing, dies: dies, live: map[string]*fragileFile{}, durable: map[string]*fragileFile{}}
}

func (f *fragile) next() error {
	f.step++
	if f.step == f.failing || f.dies && f.step > f.failing {
		return errBroken
	}
	return nil
}

func (f *fragile) Create(name string) (maildir.File, error) {
	if err := f.next(); err != nil {
		return nil, err
	}
	if f.live[name] != nil {
		return nil, fs.ErrExist
	}
	f.live[name] = &fragileFile{fs: f}
	return f.live[name], nil
}

func (f *fragile) Inode(name string) (inode, device uint64, err error) { return 7, 8, f.next() }

func (f *fragile) Rename(from, to string) error {
	if err := f.next(); err != nil {
		return err
	}
	f.live[to] = f.live[from]
	delete(f.live, from)
	return nil
}

func (f *fragile) Remove(name string) error {
	if err := f.next(); err != nil {
		return err
	}
	delete(f.live, name)
	return nil
}

// SyncDir makes the entries of one directory as durable as they are live.
func (f *fragile) SyncDir(dir string) error {
	if err := f.next(); err != nil {
		return err
	}
	for name := range f.durable {
		if filepath.Dir(name) == dir {
			delete(f.durable, name)
		}
	}
	for name, file := range f.live {
		if filepath.Dir(name) == dir {
			f.durable[name] = file
		}
	}
	return nil
}

func (f *fragileFile) Write(p []byte) (int, error) {
	if err := f.fs.next(); err != nil {
		f.content += string(p[:len(p)/2])
		return len(p) / 2, err
	}
	f.content += string(p)
	return len(p), nil
}

func (f *fragileFile) Sync() error {
	if err := f.fs.next(); err != nil {
		return err
	}
	f.synced = f.content
	return nil
}

func (f *fragileFile) Close() error { return f.fs.next() }

// messages returns what stands in new, with the content that survives.
func messages(entries map[string]*fragileFile) (list []string) {
	for name, file := range entries {
		if filepath.Base(filepath.Dir(name)) == "new" {
			list = append(list, file.synced)
		}
	}
	return list
}

func TestPowerMayFailAtEveryStep(t *testing.T) {
	message := strings.Repeat("0123456789\n", 20000) // several writes
	for failing := 1; ; failing++ {
		disk := newFragile(failing, true)
		w := &maildir.Writer{FS: disk, Host: "mx.test"}
		_, err := w.Deliver(t.Context(), "Maildir", strings.NewReader(message))

		// The directory may reach the disk by itself, so both views count.
		for _, view := range []map[string]*fragileFile{disk.durable, disk.live} {
			got := messages(view)
			if err == nil && len(got) != 1 || len(got) > 1 {
				t.Errorf("step %d (%v): %d messages", failing, err, len(got))
			}
			if len(got) == 1 && got[0] != message {
				t.Errorf("step %d (%v): %d octets of %d survive", failing, err, len(got[0]), len(message))
			}
		}
		if disk.step < failing {
			if failing < 8 || err != nil {
				t.Fatalf("ended after %d steps: %v", disk.step, err)
			}
			return
		}
		if !errors.Is(err, errBroken) {
			t.Errorf("step %d: %v", failing, err)
		}
	}
}

func TestFailureOfAnyStepLeavesNothing(t *testing.T) {
	for failing := 1; ; failing++ {
		disk := newFragile(failing, false)
		w := &maildir.Writer{FS: disk, Host: "mx.test"}
		_, err := w.Deliver(t.Context(), "Maildir", strings.NewReader("message\n"))
		if disk.step < failing {
			return
		}
		if !errors.Is(err, errBroken) || len(disk.live) > 0 {
			t.Errorf("step %d: %d files are left, %v", failing, len(disk.live), err)
		}
	}
}

func TestTakenNamesAreTriedThrice(t *testing.T) {
	disk := &taken{fragile: newFragile(0, false)}
	w := &maildir.Writer{FS: disk}
	_, err := w.Deliver(t.Context(), "Maildir", strings.NewReader("x"))
	if !errors.Is(err, fs.ErrExist) || len(disk.names) != 3 {
		t.Errorf("%v after %d different names", err, len(disk.names))
	}
}

// taken has every name already.
type taken struct {
	*fragile
	names map[string]bool
}

func (f *taken) Create(name string) (maildir.File, error) {
	if f.names == nil {
		f.names = map[string]bool{}
	}
	f.names[name] = true
	return nil, fs.ErrExist
}
