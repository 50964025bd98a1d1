package maildir_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sqmail/sqmail/internal/maildir"
)

func newDir(t testing.TB) maildir.Dir {
	t.Helper()
	dir := maildir.Dir(filepath.Join(t.TempDir(), "Maildir"))
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func deliver(t testing.TB, dir maildir.Dir, message string) string {
	t.Helper()
	w := &maildir.Writer{Host: "mx.test"}
	name, err := w.Deliver(t.Context(), string(dir), strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func names(t testing.TB, dir maildir.Dir, sub string) (list []string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(string(dir), sub))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		list = append(list, f.Name())
	}
	return list
}

func TestDeliverPutsTheMessageInNewUnchanged(t *testing.T) {
	for _, message := range []string{"", "a", "Subject: x\n\nbody\n", "no end\n.", "\r\n\x00\xff", strings.Repeat("long line ", 50000)} {
		dir := newDir(t)
		name := deliver(t, dir, message)
		path := filepath.Join(string(dir), name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != message {
			t.Errorf("stored %.40q for %.40q, %v", got, message, err)
		}
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		if left := names(t, dir, "tmp"); len(left) > 0 {
			t.Errorf("tmp holds %q", left)
		}
	}
}

func TestNameTellsTimeFileAndSizes(t *testing.T) {
	dir := newDir(t)
	for message, sizes := range map[string]string{
		"":          `,S=0,W=0`,
		"a\nb\n":    `,S=4,W=6`,
		"no end":    `,S=6`, // programs differ on W here
		"crlf\r\n":  `,S=6`,
		"a\n\n\r\r": `,S=5`,
	} {
		name := deliver(t, dir, message)
		want := regexp.MustCompile(`^new/[1-9][0-9]{9,}\.I[0-9a-f]+V[0-9a-f]+M[0-9]{6}P[0-9]+_[0-9]+\.mx\.test` + sizes + `$`)
		if !want.MatchString(name) {
			t.Errorf("%q is named %s", message, name)
		}
	}
}

func TestHostCannotBreakTheName(t *testing.T) {
	for host, want := range map[string]string{
		"a/b:c,d":                `a\057b\072c\054d`,
		"new\nline \xff":         "new_line__",
		strings.Repeat("h", 300): strings.Repeat("h", 64),
	} {
		dir := newDir(t)
		w := &maildir.Writer{Host: host}
		name, err := w.Deliver(t.Context(), string(dir), strings.NewReader("x\n"))
		if err != nil || !strings.HasSuffix(name, "."+want+",S=2,W=3") {
			t.Errorf("%q: %s, %v", host, name, err)
		}
	}
}

func TestDeliverCreatesNoMaildir(t *testing.T) {
	root := t.TempDir()
	w := &maildir.Writer{}
	_, err := w.Deliver(t.Context(), filepath.Join(root, "Maildir"), strings.NewReader("x"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if files, _ := os.ReadDir(root); len(files) > 0 {
		t.Errorf("made %v", files)
	}
}

func TestCutMessageLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	broken := iotest.ErrReader(io.ErrUnexpectedEOF)
	for name, try := range map[string]struct {
		ctx  context.Context
		r    io.Reader
		want error
	}{
		"read error": {t.Context(), io.MultiReader(strings.NewReader("half"), broken), io.ErrUnexpectedEOF},
		"canceled":   {ctx, strings.NewReader("x"), context.Canceled},
	} {
		dir := newDir(t)
		w := &maildir.Writer{}
		_, err := w.Deliver(try.ctx, string(dir), try.r)
		if !errors.Is(err, try.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left := append(names(t, dir, "tmp"), names(t, dir, "new")...); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}

func TestConcurrentDeliveriesNeverClash(t *testing.T) {
	dir := newDir(t)
	writers := []*maildir.Writer{{}, {}} // as if they were two processes with one pid
	var running sync.WaitGroup
	for n := range 64 {
		running.Go(func() {
			if _, err := writers[n%2].Deliver(t.Context(), string(dir), strings.NewReader("x\n")); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if got := len(names(t, dir, "new")); got != 64 {
		t.Errorf("%d messages of 64", got)
	}
}
