package control_test

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/sqmail/sqmail/control"
)

// home makes a home of files by their names below control, or below the home
// if there is a slash in the name. Unless told otherwise there is a file me; a
// text of absent takes one away.
func home(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	all := map[string]string{"me": "mx.example.org\n", "services": "# none\n", "rcpthosts": "example.org\n", "alias/.qmail-default": "", "queue/x": "", "users/accounts": ""}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if !strings.Contains(name, "/") {
			name = "control/" + name
		}
		if text != absent {
			fsys[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o640}
		}
	}
	return fsys
}

const absent = "\x00absent"

// unreadable is a file system in which a file is there and cannot be read, for
// whoever runs the test.
type unreadable struct {
	fs.FS
	name string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return u.FS.Open(name)
}

// load loads a home that must be sound.
func load(t *testing.T, files map[string]string) *control.Config {
	t.Helper()
	c, err := control.LoadFS(home(files), "/var/qmail")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refuse loads a home that must not be sound, and wants to be told of a problem.
func refuse(t *testing.T, fsys fs.FS, want string) {
	t.Helper()
	c, err := control.LoadFS(fsys, "/var/qmail")
	if err == nil {
		t.Fatalf("taken: %+v", c.Problems)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("told %q, want %q", err, want)
	}
}

// warned wants a warning that begins with a text.
func warned(t *testing.T, problems []control.Problem, want string) {
	t.Helper()
	for _, p := range problems {
		if !p.Fatal && strings.HasPrefix(p.String(), want) {
			return
		}
	}
	t.Errorf("no warning %q in %v", want, problems)
}
