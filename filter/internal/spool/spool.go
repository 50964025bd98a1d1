// Package spool keeps a message in a file while a filter looks at it.
//
// Programs that look at messages want the whole of one at once, and give up on
// a client that takes its time; so it is put by until it is complete. The file
// is nothing that must survive: it is never synced, and if the power fails
// nothing was promised to anybody.
package spool

import (
	"cmp"
	"io"
	"os"
)

// File is a message put by. It belongs to one goroutine.
type File struct {
	f    *os.File
	name string // "" once it has none
	size int64
}

// Create makes an empty file in dir, which is /tmp if it is "". Only its
// owner may read it.
func Create(dir string) (*File, error) {
	f, err := os.CreateTemp(cmp.Or(dir, "/tmp"), "sqmail-filter-")
	if err != nil {
		return nil, err
	}
	return &File{f: f, name: f.Name()}, nil
}

// CreateNameless makes a file that no other program can open, and that
// cannot be left behind.
func CreateNameless(dir string) (*File, error) {
	s, err := Create(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(s.name); err != nil {
		s.Close()
		return nil, err
	}
	s.name = ""
	return s, nil
}

// Write adds to the end.
func (s *File) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	s.size += int64(n)
	return n, err
}

// Name returns the file's name, "" if it has none.
func (s *File) Name() string { return s.name }

// Chmod sets who may read the file.
func (s *File) Chmod(mode os.FileMode) error { return s.f.Chmod(mode) }

// Size returns how much was written.
func (s *File) Size() int64 { return s.size }

// Reader returns a reader of the whole.
func (s *File) Reader() io.Reader { return io.NewSectionReader(s.f, 0, s.size) }

// Close removes the file. It may be called again, and for nil.
func (s *File) Close() {
	if s == nil {
		return
	}
	if s.name != "" {
		os.Remove(s.name)
		s.name = ""
	}
	s.f.Close()
}
