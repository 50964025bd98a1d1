package userfile_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sqmail/sqmail/auth/userfile"
)

func newFile(t *testing.T, text string) *userfile.File {
	t.Helper()
	f := &userfile.File{Path: filepath.Join(t.TempDir(), "accounts"), Root: "/var/qmail"}
	if text != "" {
		write(t, f.Path, text)
	}
	return f
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, f *userfile.File) string {
	t.Helper()
	table, err := f.Table()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range table.Accounts() {
		all = append(all, a.Name)
	}
	return strings.Join(all, " ")
}

func TestFileFollowsChanges(t *testing.T) {
	f := newFile(t, "")
	if got := names(t, f); got != "" {
		t.Errorf("without a file: %q", got)
	}
	for _, step := range []struct{ text, want string }{
		{"joe::!\n", "joe"},
		{"joe::!\nann::!\n", "joe ann"},
		{"bob::!\nann::!\n", "bob ann"}, // of equal size, in the same moment
		{"", ""},
	} {
		write(t, f.Path, step.text)
		if got := names(t, f); got != step.want {
			t.Errorf("%q: got %q, want %q", step.text, got, step.want)
		}
	}
}

// A broken edit must not look like "no such user", which bounces mail.
func TestFileKeepsWhatWasReadBefore(t *testing.T) {
	breakages := map[string]func(t *testing.T, path string){
		"broken line": func(t *testing.T, path string) { write(t, path, "joe::!\noops\n") },
		"removed":     func(t *testing.T, path string) { os.Remove(path) },
		"a directory": func(t *testing.T, path string) { os.Remove(path); os.Mkdir(path, 0o755) },
		"a FIFO":      func(t *testing.T, path string) { os.Remove(path); syscall.Mkfifo(path, 0o644) },
		"a device":    func(t *testing.T, path string) { os.Remove(path); os.Symlink("/dev/zero", path) },
		"a loop":      func(t *testing.T, path string) { os.Remove(path); os.Symlink(path, path) },
	}
	for name, breakIt := range breakages {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			f := newFile(t, "joe::!\n")
			f.Log = slog.New(slog.NewTextHandler(&log, nil))
			names(t, f)
			breakIt(t, f.Path)
			for range 3 {
				if got := names(t, f); got != "joe" {
					t.Errorf("users %q", got)
				}
			}
			if f.Err() == nil {
				t.Error("Err does not tell")
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), f.Path) {
				t.Errorf("the log:\n%s", log.String())
			}
			os.RemoveAll(f.Path)
			write(t, f.Path, "ann::!\n")
			if got := names(t, f); got != "ann" || f.Err() != nil {
				t.Errorf("repaired: %q, %v", got, f.Err())
			}
		})
	}
}

func TestFileThatNeverCouldBeReadIsAnError(t *testing.T) {
	broken := newFile(t, "oops\n")
	directory := newFile(t, "")
	os.Mkdir(directory.Path, 0o755)
	for _, f := range []*userfile.File{broken, directory} {
		for range 2 {
			if _, err := f.Table(); err == nil {
				t.Errorf("%s: no error", f.Path)
			}
		}
	}
	if _, err := broken.Table(); !strings.Contains(err.Error(), broken.Path+":1:") {
		t.Errorf("err %v", err)
	}
}

func TestEditsKeepTheRestOfTheFile(t *testing.T) {
	f := newFile(t, "# staff\njoe::=x\n\n# guests\nann:/home/ann:=y")
	steps := []struct {
		edit func() error
		want string
	}{
		{func() error { return f.Add("max", "", "!") }, "# staff\njoe::=x\n\n# guests\nann:/home/ann:=y\nmax::!\n"},
		{func() error { return f.SetSecret("ann", userfile.Clear("z")) }, "# staff\njoe::=x\n\n# guests\nann:/home/ann:=z\nmax::!\n"},
		{func() error { return f.Remove("joe") }, "# staff\n\n# guests\nann:/home/ann:=z\nmax::!\n"},
		{func() error { return f.Remove("max") }, "# staff\n\n# guests\nann:/home/ann:=z\n"},
	}
	for _, step := range steps {
		if err := step.edit(); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(f.Path); string(got) != step.want {
			t.Fatalf("got %q, want %q", got, step.want)
		}
	}
	if got := names(t, f); got != "ann" {
		t.Errorf("users %q", got)
	}
	left, _ := os.ReadDir(filepath.Dir(f.Path))
	if len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEditErrors(t *testing.T) {
	f := newFile(t, "joe::=x\n")
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"added twice", f.Add("joe", "", "!"), userfile.ErrExists},
		{"bad name", f.Add("../x", "", "!"), userfile.ErrName},
		{"removed, unknown", f.Remove("ann"), userfile.ErrNoUser},
		{"changed, unknown", f.SetSecret("ann", "!"), userfile.ErrNoUser},
		{"bad secret", f.Add("ann", "", "secret"), nil},
		{"line end in secret", f.SetSecret("joe", "=x\nroot::=y"), nil},
		{"line end in home", f.Add("ann", "x\ny", "!"), nil},
		{"colon in home", f.Add("ann", "/a:b", "!"), nil},
		{"home leads out", f.Add("ann", "../..", "!"), nil},
	}
	for _, tt := range tests {
		if tt.err == nil || tt.want != nil && !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if got, _ := os.ReadFile(f.Path); string(got) != "joe::=x\n" {
		t.Errorf("the file is now %q", got)
	}
	write(t, f.Path, "oops\n")
	if err := f.Add("ann", "", "!"); err == nil || !strings.Contains(err.Error(), ":1:") {
		t.Errorf("a broken file was changed: %v", err)
	}
}

func TestEditKeepsTheMode(t *testing.T) {
	f := newFile(t, "")
	for _, step := range []struct {
		name string
		want os.FileMode
	}{{"joe", 0o640}, {"ann", 0o600}} {
		if err := f.Add(step.name, "", "!"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(f.Path)
		if err != nil || info.Mode().Perm() != step.want {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, step.want)
		}
		os.Chmod(f.Path, 0o600)
	}
}

func TestEditsAtOnceAreAllKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() { // as separate programs would: a File each
			f := &userfile.File{Path: path}
			for j := range 4 {
				if err := f.Add(string(rune('a'+i))+string(rune('a'+j)), "", "!"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := len(strings.Fields(names(t, &userfile.File{Path: path}))); got != 32 {
		t.Errorf("%d of 32 users", got)
	}
}
