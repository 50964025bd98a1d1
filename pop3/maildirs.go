package pop3

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/internal/maildir"
	"github.com/sqmail/sqmail/internal/wire"
)

// Maildirs opens maildirs as maildrops. The zero value is ready for use; its
// fields must not be changed after the first Open. Methods may be called
// concurrently.
//
// The messages are the regular files in new and cur, oldest first, messages
// of the same time by name. At QUIT those in new move to cur.
type Maildirs struct {
	// MaxMessages is the number of messages that a session sees, which bounds
	// its memory; the others stay for the next one. 0: 20,000. Negative: no
	// limit.
	MaxMessages int

	// MaxHeld is the number of files that all sessions together may hold
	// open, so that what other programs remove stays readable to those who
	// have seen it. A session holds its 100 oldest messages at most; what is
	// not held, and gone, is answered with -ERR. 0: 1000. Negative: none.
	MaxHeld int

	held atomic.Int64
}

const (
	defaultMessages = 20_000
	defaultHeld     = 1000
	sessionHeld     = 100
)

// Open opens the maildir that id names. It fails with a rejection if id names
// none. Files in tmp that nobody has used for 36 hours are removed.
func (m *Maildirs) Open(_ context.Context, id auth.Identity) (Maildrop, error) {
	if id.Maildir == "" {
		return nil, &sqmail.Error{Op: "open maildir", Class: sqmail.Rejection, Err: errors.New("the user has no maildir")}
	}
	dir := maildir.Dir(id.Maildir)
	list, err := dir.List(max(orDefault(m.MaxMessages, defaultMessages), 0))
	if err != nil {
		return nil, err
	}
	dir.Clean(time.Now()) // what it cannot remove harms nobody
	d := &drop{of: m, dir: dir, list: list}
	d.hold()
	return d, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// drop is a maildir in a session.
type drop struct {
	of   *Maildirs
	dir  maildir.Dir
	list []maildir.Entry
	held []*os.File // of the first messages; nil: could not be opened
}

// hold opens the first messages, as far as there is room.
func (d *drop) hold() {
	limit := int64(orDefault(d.of.MaxHeld, defaultHeld))
	for _, e := range d.list[:min(len(d.list), sessionHeld)] {
		if d.of.held.Add(1) > limit {
			d.of.held.Add(-1)
			return
		}
		f, err := d.dir.Open(e)
		if err != nil {
			f = nil // it is told when the message is asked for
			d.of.held.Add(-1)
		}
		d.held = append(d.held, f)
	}
}

func (d *drop) Len() int { return len(d.list) }

func (d *drop) UniqueID(n int) string { return d.list[n].UniqueID() }

func (d *drop) Size(ctx context.Context, n int) (int64, error) {
	e := &d.list[n]
	if e.Wire >= 0 {
		return e.Wire, nil
	}
	r, err := d.Open(ctx, n)
	if err == nil {
		defer r.Close()
		e.Wire, err = wire.Size(r)
	}
	if err != nil {
		e.Wire = 0 // asked once, told once
	}
	return e.Wire, err
}

func (d *drop) Open(_ context.Context, n int) (io.ReadCloser, error) {
	e := d.list[n]
	if n < len(d.held) && d.held[n] != nil {
		return io.NopCloser(io.NewSectionReader(d.held[n], 0, e.Size)), nil
	}
	f, err := d.dir.Open(e)
	if err != nil {
		return nil, err
	}
	// A file that grows meanwhile is read as long as it was.
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, e.Size), f}, nil
}

func (d *drop) Update(_ context.Context, deleted []bool) error {
	var first error
	removed := false
	for n, e := range d.list {
		if !deleted[n] {
			d.dir.MarkSeen(e) // it stays new if that fails
			continue
		}
		err := d.dir.Remove(e)
		removed = removed || err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
			first = err
		}
	}
	if removed {
		first = errors.Join(first, d.sync())
	}
	return first
}

// sync makes removals durable.
func (d *drop) sync() error {
	var disk maildir.Disk
	return errors.Join(
		disk.SyncDir(filepath.Join(string(d.dir), "new")),
		disk.SyncDir(filepath.Join(string(d.dir), "cur")))
}

func (d *drop) Close() error {
	for _, f := range d.held {
		if f != nil {
			f.Close()
			d.of.held.Add(-1)
		}
	}
	d.held = nil
	return nil
}
