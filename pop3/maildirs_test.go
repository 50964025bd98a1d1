package pop3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/pop3"
)

// newMaildir makes a maildir with n messages.
func newMaildir(t testing.TB, n int) auth.Identity {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, "new", fmt.Sprintf("%05d", i)), []byte("x\ny\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return auth.Identity{Maildir: dir}
}

func open(t testing.TB, m *pop3.Maildirs, id auth.Identity) pop3.Maildrop {
	t.Helper()
	d, err := m.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestNoMaildirIsARejectionAMissingOneIsNot(t *testing.T) {
	var m pop3.Maildirs
	for maildir, want := range map[string]sqmail.Class{
		"": sqmail.Rejection, filepath.Join(t.TempDir(), "none"): sqmail.Deferral,
	} {
		if _, err := m.Open(t.Context(), auth.Identity{Maildir: maildir}); sqmail.ClassOf(err) != want {
			t.Errorf("%q: %v", maildir, err)
		}
	}
}

// Links and pipes are no messages: one could show foreign files, the other
// keep a session waiting.
func TestOnlyFilesAreMessages(t *testing.T) {
	id := newMaildir(t, 1)
	os.Symlink("/etc/passwd", filepath.Join(id.Maildir, "new", "link"))
	os.Mkdir(filepath.Join(id.Maildir, "cur", "folder"), 0o700)
	if d := open(t, &pop3.Maildirs{}, id); d.Len() != 1 {
		t.Errorf("%d messages", d.Len())
	}
}

func TestOpenCleansTmp(t *testing.T) {
	id := newMaildir(t, 0)
	long := time.Now().Add(-37 * time.Hour)
	for name, at := range map[string]time.Time{"old": long, "young": time.Now(), ".dot": long} {
		path := filepath.Join(id.Maildir, "tmp", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	open(t, &pop3.Maildirs{}, id)
	left, err := os.ReadDir(filepath.Join(id.Maildir, "tmp"))
	if err != nil || len(left) != 2 || left[0].Name() != ".dot" || left[1].Name() != "young" {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Open files are shared out among sessions, and come back.
func TestHeldFilesAreBounded(t *testing.T) {
	id := newMaildir(t, 5)
	m := &pop3.Maildirs{MaxHeld: 3}
	first, second := open(t, m, id), open(t, m, id)
	if err := first.Update(t.Context(), []bool{true, true, true, true, true}); err != nil {
		t.Fatal(err)
	}
	readable := func(d pop3.Maildrop) (count int) {
		for n := range d.Len() {
			r, err := d.Open(t.Context(), n)
			if err == nil {
				b, _ := io.ReadAll(r)
				if string(b) == "x\ny\n" {
					count++
				}
				r.Close()
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
		return count
	}
	if a, b := readable(first), readable(second); a != 3 || b != 0 {
		t.Errorf("%d and %d messages are readable", a, b)
	}
	first.Close()
	third := open(t, m, newMaildir(t, 3))
	if err := open(t, &pop3.Maildirs{}, auth.Identity{Maildir: id.Maildir}).Update(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if n := third.Len(); n != 3 {
		t.Errorf("%d messages", n)
	}
}

// One that cannot be removed keeps no other from being removed.
func TestUpdateRemovesWhatItCan(t *testing.T) {
	id := newMaildir(t, 3)
	d := open(t, &pop3.Maildirs{}, id)
	stuck := filepath.Join(id.Maildir, "new", "00001")
	if err := errors.Join(os.Remove(stuck), os.MkdirAll(filepath.Join(stuck, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(context.Background(), []bool{true, true, true}); err == nil {
		t.Error("no error")
	}
	left, err := os.ReadDir(filepath.Join(id.Maildir, "new"))
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestSizeIsToldByTheNameOrCounted(t *testing.T) {
	id := newMaildir(t, 0)
	for name, text := range map[string]string{
		"1,S=4,W=6": "x\ny\n", "2": "x\ny\n", "3,S=9,W=99": "x\ny\n", "4,W=5": "x\ny", "5,S=3,W=7": "x\ny",
	} {
		if err := os.WriteFile(filepath.Join(id.Maildir, "new", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, &pop3.Maildirs{}, id)
	for n := range d.Len() {
		size, err := d.Size(t.Context(), n)
		if want := int64(6); err != nil || size != want && !strings.HasPrefix(d.UniqueID(n), "5") {
			t.Errorf("%s: %d, %v", d.UniqueID(n), size, err)
		}
	}
}

func BenchmarkOpenLargeMaildir(b *testing.B) {
	id := newMaildir(b, 10_000)
	var m pop3.Maildirs
	b.ReportAllocs()
	for b.Loop() {
		d, err := m.Open(b.Context(), id)
		if err != nil || d.Len() != 10_000 {
			b.Fatal(err)
		}
		for n := range d.Len() {
			d.Size(b.Context(), n)
		}
		d.Close()
	}
}
