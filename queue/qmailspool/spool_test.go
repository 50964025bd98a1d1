package qmailspool_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/qmailspool"
)

// The control files of spec/queue.md, 6.
var rewriting = qmailspool.Rewriting{
	Locals:         []string{"l.org"},
	VirtualDomains: map[string]string{"v.org": "vu", "u@w.org": "wu", ".sub.org": "su-x", "ex.sub.org": ""},
}

var (
	now  = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	born = now.Add(-time.Hour)
	due  = now.Add(10 * time.Minute)
)

// outline says what matters of a message in a line for each recipient.
func outline(m *qmailspool.Message) string {
	var b strings.Builder
	state := "S4"
	if m.Preprocessed {
		state = "S5"
	}
	b.WriteString(state + " <" + m.Sender + ">\n")
	for _, r := range m.Recipients {
		b.WriteString([]string{"T", "D", "X"}[r.Status] + " " + r.Channel + " " + r.Address)
		if r.Report != "" {
			b.WriteString(" " + strings.ReplaceAll(r.Report, "\n", "|"))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestEachStateOfTheQueue(t *testing.T) {
	const n = 10250947
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string // "": nothing to do
		err   string // part of the error
	}{
		{"S2: being written", map[string]string{"mess": "x"}, "", ""},
		{"S3: envelope being written", map[string]string{"mess": "x", "intd": "u0\x00"}, "", ""},
		{"S4: queued",
			map[string]string{"mess": "x", "intd": "u0\x00p1\x00Fs@x.y\x00Ta@b.c\x00Td@e.f\x00", "todo": "u0\x00p1\x00Fs@x.y\x00Ta@b.c\x00Td@e.f\x00"},
			"S4 <s@x.y>\nT  a@b.c\nT  d@e.f\n", ""},
		{"S4: preprocessing was cut off, so it begins afresh",
			map[string]string{"mess": "x", "todo": "u0\x00p1\x00Fs@x.y\x00Tz@v.org\x00Td@e.f\x00", "info": "Fs@", "local": "Tvu-z@v.o", "remote": ""},
			"S4 <s@x.y>\nT  z@v.org\nT  d@e.f\n", ""},
		{"S4: nobody to send it to", map[string]string{"mess": "x", "todo": "u0\x00p1\x00Fs@x.y\x00"}, "S4 <s@x.y>\n", ""},
		{"S5: nothing tried yet",
			map[string]string{"mess": "x", "info": "Fs@x.y\x00", "local": "Tvu-z@v.org\x00", "remote": "Td@e.f\x00"},
			"S5 <s@x.y>\nT local z@v.org\nT remote d@e.f\n", ""},
		{"S5: some done, some failed, some to do",
			map[string]string{"mess": "x", "info": "Fs@x.y\x00", "local": "Djoe@l.org\x00Tann@l.org\x00Dvu-z@v.org\x00", "remote": "Td@e.f\x00Dg@h.i\x00",
				"bounce": "<z@v.org>:\nno such\n/user\n\n<g@h.i>:\nrefused\n\n"},
			"S5 <s@x.y>\nD local joe@l.org\nT local ann@l.org\nX local z@v.org no such|/user|\nT remote d@e.f\nX remote g@h.i refused|\n", ""},
		{"S5: a channel is finished, its failures stand in the bounce alone",
			map[string]string{"mess": "x", "info": "F\x00", "remote": "Td@e.f\x00", "bounce": "<nobody@l.org>:\nno mailbox\n\n"},
			"S5 <>\nT remote d@e.f\nX  nobody@l.org no mailbox|\n", ""},
		{"S5: all settled, the bounce is due",
			map[string]string{"mess": "x", "info": "Fs@x.y\x00", "bounce": "<g@h.i>:\n\n<z@v.org>:\nno\n\n"},
			"S5 <s@x.y>\nX  g@h.i\nX  z@v.org no|\n", ""},
		{"S5: all done, about to be removed", map[string]string{"mess": "x", "info": "Fs@x.y\x00"}, "S5 <s@x.y>\n", ""},
		{"S5: it failed, and was not marked any more",
			map[string]string{"mess": "x", "info": "Fs@x.y\x00", "remote": "Td@e.f\x00Te@e.f\x00", "bounce": "<d@e.f>:\nno\n\n"},
			"S5 <s@x.y>\nX remote d@e.f no|\nT remote e@e.f\n", ""},
		{"S5: two of the same name, one has failed",
			map[string]string{"mess": "x", "info": "Fs@x.y\x00", "remote": "Td@e.f\x00Dd@e.f\x00", "bounce": "<d@e.f>:\nno\n\n"},
			"S5 <s@x.y>\nT remote d@e.f\nX remote d@e.f no|\n", ""},
		{"S5: the bounce was cut off while it was written",
			map[string]string{"mess": "x", "info": "Fs@x.y\x00", "remote": "Dd@e.f\x00Te@e.f\x00", "bounce": "<d@e.f>:\nno su"},
			"S5 <s@x.y>\nX remote d@e.f no su|\nT remote e@e.f\n", ""},
		{"VERP", map[string]string{"mess": "x", "info": "Flist-@l.org-@[]\x00", "remote": "Tr@r.net\x00"}, "S5 <list-@l.org-@[]>\nT remote r@r.net\n", ""},
		{"a virtual user", map[string]string{"mess": "x", "info": "F\x00", "local": "Twu-U@W.org\x00Tsu-x-q@deep.ex.sub.org\x00"},
			"S5 <>\nT local U@W.org\nT local q@deep.ex.sub.org\n", ""},

		{"no message", map[string]string{"info": "Fs@x.y\x00", "remote": "Td@e.f\x00"}, "", "info/8/10250947: the message itself is missing"},
		{"no message, to be preprocessed", map[string]string{"todo": "u0\x00"}, "", "todo/8/10250947: the message itself is missing"},
		{"neither todo nor info", map[string]string{"mess": "x", "remote": "Td@e.f\x00"}, "", "remote/8/10250947: the message has neither"},
		{"empty info", map[string]string{"mess": "x", "info": "", "remote": "Td@e.f\x00"}, "", "info/8/10250947: there is no sender"},
		{"info cut off", map[string]string{"mess": "x", "info": "Fs@x", "remote": "Td@e.f\x00"}, "", "info/8/10250947: the last record has no end"},
		{"todo cut off", map[string]string{"mess": "x", "todo": "u0\x00p1\x00Fs@x.y\x00Ta@b"}, "", "todo/8/10250947: the last record has no end"},
		{"todo without sender", map[string]string{"mess": "x", "todo": "u0\x00p1\x00Ta@b.c\x00"}, "", "todo/8/10250947: there is no sender"},
		{"unknown record", map[string]string{"mess": "x", "info": "F\x00", "local": "Xjoe@l.org\x00"}, "", `local/8/10250947: unknown record 'X'`},
		{"empty record", map[string]string{"mess": "x", "info": "F\x00", "local": "\x00"}, "", `local/8/10250947: there is an empty record`},
		{"a local recipient that the control files do not explain", map[string]string{"mess": "x", "info": "F\x00", "local": "Told-z@v.org\x00"},
			"", `local/8/10250947: "old-z@v.org" is a local recipient, and neither`},
		{"such a one that is done does not matter", map[string]string{"mess": "x", "info": "F\x00", "local": "Dold-z@v.org\x00", "remote": "Td@e.f\x00"},
			"S5 <>\nD local old-z@v.org\nT remote d@e.f\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSpool(t, 23)
			for kind, text := range test.files {
				s.put(kind, n, text, born)
			}
			found, damaged := s.read(rewriting)
			switch {
			case test.err != "":
				if len(found) != 0 || len(damaged) != 1 || !strings.Contains(damaged[0].Error(), test.err) {
					t.Fatalf("%d messages, errors %v, want %q", len(found), damaged, test.err)
				}
				if e, ok := errors.AsType[*qmailspool.EntryError](damaged[0]); !ok || e.ID != n {
					t.Errorf("error %#v does not say which message", damaged[0])
				}
			case test.want == "":
				if len(found)+len(damaged) > 0 {
					t.Fatalf("%d messages, errors %v, want none", len(found), damaged)
				}
			case len(found) != 1 || len(damaged) > 0:
				t.Fatalf("%d messages, errors %v", len(found), damaged)
			case outline(found[0]) != test.want:
				t.Errorf("got:\n%swant:\n%s", outline(found[0]), test.want)
			}
		})
	}
}

// One bad entry keeps nothing else from being read, and split directories,
// flat ones and mixtures are all the same.
func TestAllLayoutsAndOneBadEntry(t *testing.T) {
	for _, splits := range []int{0, 1, 23} {
		s := newSpool(t, splits)
		for id := 100; id < 150; id++ {
			s.put("mess", id, "Received: x\n\nbody\n", born)
			if id == 120 {
				s.put("info", id, "?", born)
				continue
			}
			s.put("info", id, "Fs@x.y\x00", born)
			s.put("remote", id, "Td@e.f\x00", due)
		}
		s.splits = 0 // as with a classic todo
		s.put("mess", 77, "x\n", born)
		s.put("todo", 77, "u0\x00p1\x00F\x00Ta@b.c\x00", born)
		s.write("mess/README", "not a message", born)
		s.write("mess/007", "not a number as qmail writes it", born)
		found, damaged := s.read(rewriting)
		if len(found) != 50 || len(damaged) != 1 || found[0].ID != 77 {
			t.Errorf("%d splits: %d messages, errors %v", splits, len(found), damaged)
		}
	}
}

func TestMessageIsRefusedThatIsThereTwice(t *testing.T) {
	s := newSpool(t, 23)
	s.put("mess", 5, "x", born)
	s.put("todo", 5, "u0\x00p1\x00F\x00Ta@b.c\x00", born)
	s.write("mess/5x/5", "", born) // no split
	s.write("mess/6/5", "y", born)
	if found, damaged := s.read(rewriting); len(found) != 0 || len(damaged) != 1 {
		t.Errorf("%d messages, %v", len(found), damaged)
	}
}

func TestLinksAndPipesAreNotFollowed(t *testing.T) {
	s := newSpool(t, 0)
	s.put("mess", 5, "x", born)
	s.put("mess", 6, "x", born)
	s.put("info", 6, "F\x00", born)
	s.write("elsewhere", "F\x00", born)
	os.Symlink("../elsewhere", filepath.Join(s.dir, "info", "5"))
	syscall.Mkfifo(filepath.Join(s.dir, "remote", "6"), 0o600)
	if found, damaged := s.read(rewriting); len(found) != 0 || len(damaged) != 2 {
		t.Errorf("%d messages, %v", len(found), damaged)
	}
}

func TestSubmissionGoesOnWhereQmailStopped(t *testing.T) {
	s := newSpool(t, 23)
	s.put("mess", 9, "Received: (qmail 1 invoked by uid 0); 20 Nov 2026 11:00:00 -0000\nSubject: hi\n\nbody\n", born)
	s.put("info", 9, "Fa b@x.y\x00", born)
	s.put("local", 9, "Djoe@l.org\x00Tvu-z@v.org\x00", due)
	s.put("remote", 9, "Td@e.f\x00Dg@h.i\x00", now.Add(-time.Minute))
	s.put("bounce", 9, "<g@h.i>:\nrefused\n\n", now)
	found, damaged := s.read(rewriting)
	if len(found) != 1 || len(damaged) > 0 {
		t.Fatal(found, damaged)
	}
	sub := found[0].Submission(now)
	if sub.Envelope.ReversePath != (sqmail.Path{Local: `"a b"`, Domain: "x.y"}) {
		t.Errorf("sender %v", sub.Envelope.ReversePath)
	}
	if !sub.Arrived.Equal(born) || !sub.Due.Equal(now) {
		t.Errorf("arrived %v, due %v: want %v, %v", sub.Arrived, sub.Due, born, now)
	}
	e := queue.Entry{Envelope: *sub.Envelope, Arrived: sub.Arrived, Journal: sub.Journal}
	want := []queue.Status{queue.Delivered, queue.Pending, queue.Pending, queue.Failed}
	for i, st := range e.States() {
		if st.Status != want[i] {
			t.Errorf("%v is %v, want %v", sub.Envelope.Recipients[i].Path, st.Status, want[i])
		}
	}
	states := e.States()
	if !states[1].Due.Equal(due) || states[2].Due.After(now) {
		t.Errorf("due %v and %v", states[1].Due, states[2].Due)
	}
	if got := states[3].Last.Outcome; got.Text != "refused\n" || got.Class != sqmail.Rejection {
		t.Errorf("the report is %+v", got)
	}
	if found[0].Finished() {
		t.Error("it is not finished")
	}
}

// Clocks go wrong: nothing may be kept for years because of a file's date, nor
// get a longer life.
func TestSubmissionDoesNotTrustTheFuture(t *testing.T) {
	s := newSpool(t, 0)
	s.put("mess", 9, "x\n", born)
	s.put("info", 9, "F\x00", now.AddDate(10, 0, 0))
	s.put("remote", 9, "Td@e.f\x00", now.AddDate(10, 0, 0))
	found, _ := s.read(rewriting)
	sub := found[0].Submission(now)
	if !sub.Arrived.Equal(now) || !sub.Due.Equal(now) || len(sub.Journal) > 0 {
		t.Errorf("%+v", sub)
	}
}

func TestMessageIsReadAsItIs(t *testing.T) {
	s := newSpool(t, 23)
	const text = "Received: x\n\nno end of line\r\n\x00\xff"
	s.put("mess", 9, text, born)
	s.put("todo", 9, "u0\x00p1\x00F\x00Ta@b.c\x00", born)
	found, _ := s.read(rewriting)
	r, err := found[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != text || err != nil || found[0].Size != int64(len(text)) {
		t.Errorf("%q, %v, size %d", got, err, found[0].Size)
	}
}

// What changes in the life of a message does not change its identity; what
// makes it another message does.
func TestIdentity(t *testing.T) {
	identity := func(id int, text string, files map[string]string) string {
		t.Helper()
		s := newSpool(t, 23)
		s.put("mess", id, text, born)
		for kind, text := range files {
			s.put(kind, id, text, born)
		}
		found, damaged := s.read(rewriting)
		if len(found) != 1 {
			t.Fatal(damaged)
		}
		key, err := found[0].Identity()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := identity(9, "text", map[string]string{"todo": "u0\x00p1\x00Fs@x.y\x00Ta@b.c\x00Ta@l.org\x00"})
	if again := identity(9, "text", map[string]string{"info": "Fs@x.y\x00", "local": "Da@l.org\x00", "remote": "Ta@b.c\x00"}); again != first {
		t.Error("another identity when it was preprocessed, and partly delivered")
	}
	for name, other := range map[string]string{
		"number": identity(10, "text", map[string]string{"info": "Fs@x.y\x00"}),
		"text":   identity(9, "texT", map[string]string{"info": "Fs@x.y\x00"}),
		"sender": identity(9, "text", map[string]string{"info": "Fs@x.z\x00"}),
	} {
		if other == first {
			t.Errorf("the same identity with another %s", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s := newSpool(t, 23)
	if _, err := qmailspool.Open(filepath.Join(s.dir, "pid"), rewriting); !errors.Is(err, qmailspool.ErrNoSpool) {
		t.Errorf("a directory that is no queue: %v", err)
	}
	q, err := qmailspool.Open(s.dir, rewriting)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := qmailspool.Open(s.dir, rewriting); !errors.Is(err, qmailspool.ErrRunning) {
		t.Errorf("while the lock is taken: %v", err)
	}
	q.Close()
	q, err = qmailspool.Open(s.dir, rewriting)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	q.Close()
	os.Remove(filepath.Join(s.dir, "lock", "sendmutex"))
	if _, err := qmailspool.Open(s.dir, rewriting); !errors.Is(err, qmailspool.ErrNoSpool) {
		t.Errorf("without sendmutex: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "lock", "sendmutex")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Open made a file in the queue of another program")
	}
}

// TestLockHolder is not a test but the other process of the next one.
func TestLockHolder(t *testing.T) {
	path := os.Getenv("QMAILSPOOL_LOCK")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	region := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &region); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("locked\n")
	io.Copy(io.Discard, os.Stdin)
}

// Where there was no flock when it was built, qmail-send locks a region. Such
// locks hold between processes alone.
func TestOpenSeesALockOfTheOtherKind(t *testing.T) {
	s := newSpool(t, 23)
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockHolder$")
	cmd.Env = append(os.Environ(), "QMAILSPOOL_LOCK="+filepath.Join(s.dir, "lock", "sendmutex"))
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("locked\n"))
	if _, err := io.ReadFull(stdout, line); err != nil {
		t.Fatal(err)
	}
	if _, err := qmailspool.Open(s.dir, rewriting); !errors.Is(err, qmailspool.ErrRunning) {
		t.Errorf("while another process has a lock of the region: %v", err)
	}
	stdin.Close()
	io.Copy(io.Discard, stdout)
	cmd.Wait()
	q, err := qmailspool.Open(s.dir, rewriting)
	if err != nil {
		t.Fatalf("when it has ended: %v", err)
	}
	q.Close()
}

// Nothing in the source changes: neither names nor content nor dates.
func TestSourceStaysAsItIs(t *testing.T) {
	s := newSpool(t, 23)
	for id := range 30 {
		s.put("mess", id, "x\n", born)
		s.put("info", id, "F\x00", born)
		s.put("remote", id, "Td@e.f\x00", due)
	}
	before := s.tree()
	found, _ := s.read(rewriting)
	for _, m := range found {
		m.Identity()
		m.Submission(now)
	}
	if after := s.tree(); after != before {
		t.Error("the source has changed")
	}
}

// tree tells one state of the directory from another.
func (s *spool) tree() string {
	s.t.Helper()
	var all []any
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var text []byte
		if info.Mode().IsRegular() {
			text, err = os.ReadFile(path)
		}
		all = append(all, path, info.ModTime(), info.Mode(), text)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	text, _ := json.Marshal(all)
	return string(text)
}
