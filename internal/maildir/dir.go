package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Dir is the path of a maildir. Its methods may be called concurrently, also
// by several processes.
type Dir string

// Create makes the maildir durably, with mode 0700, where it does not exist
// yet. Its parent must exist.
func (d Dir) Create() error {
	for _, path := range []string{string(d), d.path("tmp"), d.path("new"), d.path("cur")} {
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("maildir: %w", err)
		}
	}
	var disk Disk
	if err := errors.Join(disk.SyncDir(string(d)), disk.SyncDir(filepath.Dir(string(d)))); err != nil {
		return fmt.Errorf("maildir: %w", err)
	}
	return nil
}

func (d Dir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Open opens a message for reading. It finds one that was moved from new to
// cur, or got other flags, since it was listed. The error is fs.ErrNotExist if
// it is gone.
func (d Dir) Open(e Entry) (*os.File, error) {
	var f *os.File
	err := d.located(e, func(path string) (err error) {
		f, err = openRegular(path)
		return err
	})
	return f, err
}

// WireSize returns the size of a message as it is sent: each line, the last
// one too, ends in CRLF; a line that is stored with CRLF is sent as it is. It
// reads the message unless e.Wire tells.
func (d Dir) WireSize(e Entry) (int64, error) {
	if e.Wire >= 0 {
		return e.Wire, nil
	}
	f, err := d.Open(e)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return countWire(io.LimitReader(f, e.Size))
}

// MarkSeen moves a message from new to cur and returns where it is then; it
// does not touch one that is in cur. No flag is set: to have been seen by a
// reader is what cur means.
func (d Dir) MarkSeen(e Entry) (Entry, error) {
	if !e.New {
		return e, nil
	}
	seen := e
	seen.New = false
	if !strings.Contains(seen.Name, ":") {
		seen.Name += ":2,"
	}
	if err := os.Rename(d.file(e), d.file(seen)); err != nil {
		return e, fmt.Errorf("maildir: %w", err)
	}
	return seen, nil
}

// Remove removes a message, wherever in the maildir it is by now. The error is
// fs.ErrNotExist if it is gone already.
func (d Dir) Remove(e Entry) error { return d.located(e, os.Remove) }

// unused is how long a file in tmp is left alone: no delivery takes longer.
const unused = 36 * time.Hour

// Clean removes files from tmp that nobody has used for 36 hours: those of
// deliveries that died. Names that begin with a dot stay.
func (d Dir) Clean(now time.Time) error {
	var failed []error
	for file, err := range scan(d.path("tmp")) {
		if err != nil {
			return fmt.Errorf("maildir: %w", errors.Join(append(failed, err)...))
		}
		if now.Sub(lastUse(file)) <= unused || file.IsDir() {
			continue
		}
		err := os.Remove(d.path("tmp", file.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && len(failed) == 0 {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("maildir: %w", failed[0])
	}
	return nil
}

func (d Dir) file(e Entry) string {
	if e.New {
		return d.path("new", e.Name)
	}
	return d.path("cur", e.Name)
}

// located calls do with e's path, and again with its present path if the
// message has been moved.
func (d Dir) located(e Entry, do func(path string) error) error {
	err := do(d.file(e))
	if !errors.Is(err, fs.ErrNotExist) {
		return wrap(err)
	}
	for file, err := range scan(d.path("cur")) {
		if err != nil {
			return fmt.Errorf("maildir: %w", err)
		}
		if base(file.Name()) == base(e.Name) {
			return wrap(do(d.path("cur", file.Name())))
		}
	}
	return wrap(err)
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("maildir: %w", err)
}

// openRegular opens a file without following a link and without waiting for
// the writer of a pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
