package spoolfs

import (
	"fmt"
	"io"
	"io/fs"
)

// FS is a file system. Names are paths as package os takes them. All methods
// may be called at any time by anyone. Errors are as those of package os:
// [fs.ErrExist] and [fs.ErrNotExist] in particular.
type FS interface {
	// Create makes a file that must not exist, for reading and writing. It has
	// exactly the permissions perm, whatever the umask.
	Create(name string, perm fs.FileMode) (File, error)

	// Open opens a regular file for reading and writing; nothing else that may
	// have the name, a link or a pipe, is opened.
	Open(name string) (File, error)

	// Rename moves a file within a file system, replacing what is there.
	Rename(from, to string) error

	// Remove removes a file or an empty directory.
	Remove(name string) error

	// Mkdir makes a directory with exactly the permissions perm.
	Mkdir(name string, perm fs.FileMode) error

	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)

	// SyncDir makes durable what was created, renamed and removed in a
	// directory.
	SyncDir(name string) error

	// Lock takes the lock that a file of this name stands for, and holds it
	// until the Closer is closed or the process ends. It does not wait: if
	// another has it the error is a *LockedError.
	Lock(name string) (io.Closer, error)
}

// File is an open file. Different parts may be read and written at the same
// time.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Size returns the file's length.
	Size() (int64, error)

	// Allocate makes the file so long, and reserves the space for it where the
	// file system can, so that writing there does not fail for want of space.
	Allocate(size int64) error

	// Truncate makes the file so long.
	Truncate(size int64) error

	// Datasync makes durable what was written, and the file's length.
	Datasync() error
}

// LockedError says that another process holds a lock.
type LockedError struct {
	Name string
	PID  int // 0: not known
}

// Error names the file and the process.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: in use by another process", e.Name)
	}
	return fmt.Sprintf("%s: in use by process %d", e.Name, e.PID)
}
