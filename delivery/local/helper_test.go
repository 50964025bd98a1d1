package local_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/internal/maildir"
)

// home makes a home directory with a maildir and the given files, whose mode
// is 0600, or as the end of the name says: ".qmail 0700".
func home(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := maildir.Dir(filepath.Join(dir, "Maildir")).Create(); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		name, executable := strings.CutSuffix(name, " 0700")
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if executable {
			os.Chmod(path, 0o700)
		}
	}
	return dir
}

// only is a host with one user, u, whose extensions follow "-".
func only(dir string) local.Users {
	return local.UsersFunc(func(_ context.Context, part string) (local.User, error) {
		name, ext, found := strings.Cut(part, "-")
		if name != "u" {
			return local.User{}, local.ErrNoUser
		}
		u := local.User{Name: "u", Home: dir, Ext: ext}
		if found {
			u.Dash = "-"
		}
		return u, nil
	})
}

// message is one that a queue hands to an agent.
func message(text, from string, to ...string) *sqmail.Message {
	m := &sqmail.Message{ID: "17", Arrived: time.Unix(1e9, 0), Content: strings.NewReader(text), Size: int64(len(text)), Attempt: 1}
	m.Envelope.ReversePath = sqmail.PathOf(from)
	for _, address := range to {
		m.Envelope.Recipients = append(m.Envelope.Recipients, sqmail.Recipient{Path: sqmail.PathOf(address)})
	}
	return m
}

// deliver delivers to one recipient.
func deliver(t testing.TB, a *local.Agent, m *sqmail.Message) sqmail.Outcome {
	t.Helper()
	outcomes, err := a.Deliver(t.Context(), m)
	if err != nil || len(outcomes) != 1 {
		t.Fatalf("%v, %v", outcomes, err)
	}
	return outcomes[0]
}

// want checks class and text of an outcome.
func want(t testing.TB, o sqmail.Outcome, class sqmail.Class, text string) {
	t.Helper()
	if o.Class != class || o.Text != text {
		t.Errorf("%v %q, want %v %q", o.Class, o.Text, class, text)
	}
	if class == sqmail.Rejection && o.Reply.Code != 550 || class == sqmail.Deferral && o.Reply.Code != 450 {
		t.Errorf("reply %v", o.Reply)
	}
	if o.Reply.Code != 0 && o.Reply.Code/100 != o.Reply.Enhanced[0] {
		t.Errorf("reply %v", o.Reply)
	}
}

// mails returns the messages in a maildir below dir.
func mails(t testing.TB, dir string) (list []string) {
	t.Helper()
	d := maildir.Dir(dir)
	entries, err := d.List(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := d.Open(e)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(b))
	}
	return list
}

func read(t testing.TB, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sent records what is forwarded, and fails with err.
type sent struct {
	mu     sync.Mutex
	err    error
	envs   []sqmail.Envelope
	bodies []string
}

func (s *sent) Receive(_ context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := io.ReadAll(body)
	if err := errors.Join(err, s.err); err != nil {
		return sqmail.Receipt{}, err
	}
	s.envs = append(s.envs, *env)
	s.bodies = append(s.bodies, string(b))
	return sqmail.Receipt{ID: "4711"}, nil
}

// brokenAt is a message that cannot be read beyond n.
type brokenAt struct {
	io.ReaderAt
	n int64
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.n {
		return 0, errors.New("bad sector")
	}
	return b.ReaderAt.ReadAt(p, off)
}
