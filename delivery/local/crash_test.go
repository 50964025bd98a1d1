package local

import (
	"context"
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/maildir"
	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
)

// crashDisk is a file system that loses power, for maildirs.
type crashDisk struct{ *crashfs.FS }

func (d crashDisk) Create(name string) (maildir.File, error) {
	f, err := d.FS.Create(name, 0o600)
	return &crashFile{File: f}, err
}

func (d crashDisk) Inode(string) (inode, device uint64, err error) { return 1, 1, nil }

type crashFile struct {
	spoolfs.File
	end int64
}

func (f *crashFile) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.end)
	f.end += int64(n)
	return n, err
}

func (f *crashFile) Sync() error { return f.Datasync() }

// newCrashDisk has an empty maildir that is durable.
func newCrashDisk(t *testing.T) crashDisk {
	t.Helper()
	d := crashDisk{&crashfs.FS{}}
	for _, dir := range []string{"/M", "/M/tmp", "/M/new", "/M/cur"} {
		if err := errors.Join(d.Mkdir(dir, 0o700), d.SyncDir(path.Dir(dir))); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// stored returns the messages in new.
func (d crashDisk) stored(t *testing.T) (list []string) {
	t.Helper()
	names, err := d.ReadDir("/M/new")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := d.Open("/M/new/" + name)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		b := make([]byte, size)
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		list = append(list, string(b))
	}
	return list
}

// Whatever step the power fails at, and whatever of the unsynced the disk has:
// a message that was delivered is there, and what is there is whole.
func TestDeliveredMailSurvivesPowerFailure(t *testing.T) {
	home := t.TempDir()
	text := strings.Repeat("a line of a message\n", 10000) // several writes
	for failing := 1; ; failing++ {
		disk := newCrashDisk(t)
		first := disk.Ops()
		disk.Hook = func(op crashfs.Op) error {
			if op.N-first >= failing {
				return errors.New("no power")
			}
			return nil
		}
		a := &Agent{Default: "/M/", Users: UsersFunc(func(context.Context, string) (User, error) { return User{Home: home}, nil })}
		a.once.Do(func() { a.maildirs = &maildir.Writer{FS: disk, Host: "mx.test"} })
		m := &sqmail.Message{ID: "1", Content: strings.NewReader(text), Size: int64(len(text))}
		m.Envelope.Recipients = []sqmail.Recipient{{Path: sqmail.PathOf("u@h.test")}}
		outcomes, err := a.Deliver(t.Context(), m)
		if err != nil || len(outcomes) != 1 || outcomes[0].Class == sqmail.Rejection {
			t.Fatalf("step %d: %v, %v", failing, outcomes, err)
		}
		delivered := outcomes[0].Class == sqmail.Accepted

		for _, loss := range crashfs.Losses() {
			for seed := range uint64(4) {
				found := crashDisk{disk.Crash(loss, seed)}.stored(t)
				if len(found) > 1 || delivered && len(found) == 0 {
					t.Errorf("step %d, %s: %d messages, delivered: %v", failing, loss, len(found), delivered)
				}
				if len(found) == 1 && found[0] != "Return-Path: <>\nDelivered-To: u@h.test\n"+text {
					t.Errorf("step %d, %s: %d octets", failing, loss, len(found[0]))
				}
			}
		}
		if delivered {
			if disk.Ops()-first != failing-1 {
				t.Errorf("delivered although step %d failed", failing)
			}
			return
		}
	}
}
