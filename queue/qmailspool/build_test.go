package qmailspool_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sqmail/sqmail/queue/qmailspool"
)

// spool is a queue directory of qmail that a test builds file by file.
type spool struct {
	t      *testing.T
	dir    string
	splits int // 0: flat
}

func newSpool(t *testing.T, splits int) *spool {
	t.Helper()
	s := &spool{t: t, dir: filepath.Join(t.TempDir(), "queue"), splits: splits}
	for _, dir := range []string{"pid", "mess", "intd", "todo", "info", "local", "remote", "bounce", "lock"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	s.write("lock/sendmutex", "", time.Now())
	return s
}

func (s *spool) write(name, text string, mtime time.Time) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		s.t.Fatal(err)
	}
}

// put writes a file of a message; bounce is never split.
func (s *spool) put(kind string, id int, text string, mtime time.Time) {
	s.t.Helper()
	dir := kind
	if s.splits > 0 && kind != "bounce" {
		dir = filepath.Join(kind, strconv.Itoa(id%s.splits))
	}
	s.write(filepath.Join(dir, strconv.Itoa(id)), text, mtime)
}

// read opens the spool and returns its messages, and the errors of those that
// are damaged.
func (s *spool) read(r qmailspool.Rewriting) (found []*qmailspool.Message, damaged []error) {
	s.t.Helper()
	q, err := qmailspool.Open(s.dir, r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	for m, err := range q.Messages(s.t.Context()) {
		if err != nil {
			damaged = append(damaged, err)
			continue
		}
		found = append(found, m)
	}
	return found, damaged
}
