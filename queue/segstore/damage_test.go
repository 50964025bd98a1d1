package segstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// leaseAll leases and finishes everything that is due, and returns the
// envelope ids.
func leaseAll(t *testing.T, s *segstore.Store) (ids []string) {
	t.Helper()
	for s.Stats().Fresh+s.Stats().Deferred > 0 {
		l, err := s.Lease(ctx, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.Entry().Envelope.EnvelopeID)
		if err := l.Done(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func TestOnlyOneProcessOpensAStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	_, err := segstore.Open(dir, nil)
	locked, ok := errors.AsType[*spoolfs.LockedError](err)
	if !ok || locked.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	s.Close()
	open(t, dir, nil).Close()
}

// Three messages; the middle one is damaged in one way or the other. The
// others are delivered, the damaged one is put aside, and it is told.
func TestADamagedMessageIsPutAsideAndHoldsUpNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		body   string
		damage func(t *testing.T, dir string)
		open   bool // damage is done while the store is open
	}{
		{"body, while open", "x\n", func(t *testing.T, dir string) { spoil(t, segment(t, dir), second(t, dir)+48) }, true},
		{"header, while open", "x\n", func(t *testing.T, dir string) { spoil(t, segment(t, dir), second(t, dir)+10) }, true},
		{"body, after a crash", "x\n", func(t *testing.T, dir string) { spoil(t, segment(t, dir), second(t, dir)+48) }, false},
		{"header, after a crash", "x\n", func(t *testing.T, dir string) { spoil(t, segment(t, dir), second(t, dir)+10) }, false},
		{"body file, while open", strings.Repeat("x\n", 200_000), func(t *testing.T, dir string) { spoil(t, bodyFile(t, dir), 1000) }, true},
		{"body file is gone", strings.Repeat("x\n", 200_000), func(t *testing.T, dir string) { os.Remove(bodyFile(t, dir)) }, true},
		{"body file is short", strings.Repeat("x\n", 200_000), func(t *testing.T, dir string) { os.Truncate(bodyFile(t, dir), 1000) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var log bytes.Buffer
			o := segstore.Quiet()
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := open(t, dir, o)
			put(t, s, "first\n", queue.Submission{Envelope: dropEnvelope("1")})
			put(t, s, "MARK"+c.body, queue.Submission{Envelope: dropEnvelope("2")})
			put(t, s, "third\n", queue.Submission{Envelope: dropEnvelope("3")})
			if !c.open {
				s.Close()
				os.Remove(filepath.Join(dir, "checkpoint"))
			}
			c.damage(t, dir)
			if !c.open {
				s = open(t, dir, o)
			}
			defer s.Close()
			if got := fmt.Sprint(leaseAll(t, s)); got != "[1 3]" {
				t.Errorf("delivered %v, want 1 and 3", got)
			}
			if st := s.Stats(); st.Quarantined != 1 || st.Leased != 0 {
				t.Errorf("%+v, want one message put aside", st)
			}
			if !strings.Contains(log.String(), "level=ERROR") {
				t.Error("the log does not tell")
			}
			told := false
			for _, err := range s.Scan(ctx) {
				told = told || err != nil
			}
			if names, _ := os.ReadDir(filepath.Join(dir, "quarantine")); len(names) == 0 || !told {
				t.Errorf("quarantine: %v; Scan tells: %v", names, told)
			}
		})
	}
}

func segment(t *testing.T, dir string) string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "segments", "*.seg"))
	return names[0]
}

func bodyFile(t *testing.T, dir string) string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "bodies", "*.body"))
	return names[0]
}

// second returns where the record of the second message begins.
func second(t *testing.T, dir string) int64 {
	t.Helper()
	b, err := os.ReadFile(segment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return int64(bytes.Index(b, []byte("MARK"))) - 48
}

func TestADamagedSegmentOrForeignFileIsPutAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, segstore.Quiet())
	put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("1")})
	s.Close()
	for name, text := range map[string]string{"segments/notes.txt": "mine", "segments/00000099.seg": strings.Repeat("garbage", 3000), "bodies/core": "dumped"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spoil(t, filepath.Join(dir, "checkpoint"), 20)
	s = open(t, dir, segstore.Quiet())
	defer s.Close()
	if st := s.Stats(); st.Quarantined != 3 || st.Fresh != 1 {
		t.Errorf("%+v, want three files put aside and the message there", st)
	}
	put(t, s, "y\n", queue.Submission{Envelope: dropEnvelope("2")})
	if got := fmt.Sprint(leaseAll(t, s)); got != "[1 2]" {
		t.Errorf("delivered %v", got)
	}
}

func TestAStoreOfANewerVersionIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, segstore.Quiet())
	put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("1")})
	s.Close()
	name := segment(t, dir)
	before, _ := os.ReadFile(name)
	copy(before, segstore.NewerLabel())
	os.WriteFile(name, before, 0o600)
	if s, err := segstore.Open(dir, segstore.Quiet()); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("got %v, %v", s, err)
	}
	if after, _ := os.ReadFile(name); !bytes.Equal(before, after) {
		t.Error("the segment was changed")
	}
}

func TestALostSegmentIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, segstore.Quiet())
	put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("1")})
	s.Close()
	os.Remove(segment(t, dir))
	s = open(t, dir, segstore.Quiet())
	defer s.Close()
	if st := s.Stats(); st.Quarantined != 1 || st.Fresh != 0 {
		t.Errorf("%+v, want one message missing", st)
	}
}

func TestADamagedRegionDoesNotKeepItsSegmentForEver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, segstore.Quiet())
	put(t, s, "MARK\n", queue.Submission{Envelope: dropEnvelope("1")})
	put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("2")})
	spoil(t, segment(t, dir), second(t, dir)+10)
	s.Close()
	s = open(t, dir, segstore.Quiet())
	defer s.Close()
	s.CleanAll()
	if st := s.Stats(); st.Quarantined != 1 || st.Fresh != 1 {
		t.Errorf("%+v, want one message put aside", st)
	}
	if got := fmt.Sprint(leaseAll(t, s)); got != "[2]" {
		t.Errorf("delivered %v", got)
	}
}

func TestLargeEnvelopesAndJournalsAreKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, segstore.Quiet())
	env := dropEnvelope("1")
	env.Header = bytes.Repeat([]byte("X-Filler: 0123456789\n"), 150_000)
	for range 20_000 {
		env.Recipients = append(env.Recipients, env.Recipients[0])
	}
	id := put(t, s, "body\n", queue.Submission{Envelope: env})
	l, err := s.Lease(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var attempts []queue.Attempt
	for i := range env.Recipients {
		a := queue.Attempt{Recipient: i, Number: 1, Status: queue.Failed}
		a.Outcome.Text = strings.Repeat("no ", 200)
		attempts = append(attempts, a)
	}
	if err := l.Retry(ctx, attempts, time.Time{}); err != nil {
		t.Fatal(err)
	}
	s.CleanAll()
	s.Close()
	s = open(t, dir, segstore.Quiet())
	defer s.Close()
	m, err := s.Open(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(io.NewSectionReader(m.Content, 0, m.Size))
	if len(m.Journal) != len(attempts) || m.Journal[20_000].Recipient != 20_000 || len(m.Envelope.Recipients) != 20_001 || string(text) != string(env.Header)+"body\n" {
		t.Errorf("%d attempts, %d recipients, %d octets", len(m.Journal), len(m.Envelope.Recipients), len(text))
	}
	m.Close()
	leaseAll(t, s)
	if names, _ := filepath.Glob(filepath.Join(dir, "bodies", "*")); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}
