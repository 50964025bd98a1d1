package userfile

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// File is a file of users that is followed as it changes. Its methods may be
// called concurrently, its fields not be changed after the first call.
type File struct {
	// Path is where the file is.
	Path string

	// Root is the directory that relative homes are below. "": the working
	// directory.
	Root string

	// Log gets an event when the file was read anew or could not be. Nil:
	// discarded.
	Log *slog.Logger

	mu    sync.Mutex
	last  stamp  // of the file that was read last, well or not
	table *Table // of the last file that could be read
	err   error  // of the last file, if it could not be read
}

// clockTick is more than a file system's clock takes for a step.
const clockTick = 100 * time.Millisecond

// stamp tells one version of a file from another. The inode is looked at
// through os.SameFile: two versions of equal size may be equally old.
type stamp struct {
	info  fs.FileInfo // nil: there was no file
	known bool
}

func (s stamp) same(info fs.FileInfo) bool {
	if !s.known || (s.info == nil) != (info == nil) {
		return false
	}
	if info == nil {
		return true
	}
	return os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime())
}

// Table returns the users as they are now. It looks at the file each time, and
// reads it when it has changed.
//
// A file that does not exist has no users, unless it did exist before: then,
// and if the file cannot be read or is broken, the users of before stay in
// force, without an error. The error is that of a file that never could be
// read; it is temporary.
func (f *File) Table() (*Table, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = nil, nil
	}
	if err != nil {
		f.last = stamp{}
		return f.keep(err)
	}
	if f.last.same(info) {
		return f.table, f.errUnlessTable()
	}
	return f.reread(info)
}

// Err returns what is wrong with the file as it is now: nil if the users that
// Table returns are its own.
func (f *File) Err() error {
	f.Table()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *File) reread(info fs.FileInfo) (*Table, error) {
	var table *Table
	err := errNotRegular // a FIFO would wait for its other end
	if info == nil || info.Mode().IsRegular() {
		table, err = f.read()
	}
	if errors.Is(err, fs.ErrNotExist) && f.table == nil {
		table, err = &Table{}, nil
	}
	// A file that was written a moment ago may be written again in the same
	// tick of its clock: then it is read once more.
	f.last = stamp{info: info, known: info == nil || time.Since(info.ModTime()) > clockTick}
	if err != nil {
		return f.keep(err)
	}
	if f.err != nil {
		f.logger().Info("user file is sound again", "file", f.Path, "users", len(table.accounts))
	}
	f.table, f.err = table, nil
	return table, nil
}

var errNotRegular = errors.New("it is not a regular file")

// keep keeps what was read before.
func (f *File) keep(err error) (*Table, error) {
	if f.err == nil || f.err.Error() != err.Error() {
		f.logger().Error("user file is not used, its former content stays in force", "file", f.Path, "err", err)
	}
	f.err = err
	return f.table, f.errUnlessTable()
}

func (f *File) errUnlessTable() error {
	if f.table != nil {
		return nil
	}
	return fmt.Errorf("userfile: %w", f.err)
}

func (f *File) read() (*Table, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return Parse(file, f.Path, f.Root)
}

func (f *File) logger() *slog.Logger {
	if f.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return f.Log
}
