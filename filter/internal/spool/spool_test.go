package spool_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sqmail/sqmail/filter/internal/spool"
)

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNothingIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	named, err := spool.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) != 1 || left[0] != named.Name() {
		t.Errorf("%q", left)
	}
	if info, err := os.Stat(named.Name()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	named.Close()
	named.Close()

	nameless, err := spool.CreateNameless(dir)
	if err != nil || nameless.Name() != "" || len(files(t, dir)) != 0 {
		t.Errorf("%v, %q", err, files(t, dir))
	}
	nameless.Close()
	(*spool.File)(nil).Close()
}

func TestReadersReadTheWhole(t *testing.T) {
	s, err := spool.CreateNameless(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	io.WriteString(s, "one ")
	io.WriteString(s, "two")
	for range 2 {
		if b, err := io.ReadAll(s.Reader()); string(b) != "one two" || err != nil || s.Size() != 7 {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestCreateReportsAMissingDirectory(t *testing.T) {
	if _, err := spool.Create(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error")
	}
}
