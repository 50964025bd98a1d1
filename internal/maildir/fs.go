package maildir

import (
	"io"
	"os"
)

// FS is what a [Writer] needs of a file system, so that tests can cut the
// power at every step. Names are paths.
type FS interface {
	// Create makes a file for writing that only its owner may read. It fails
	// with fs.ErrExist if the name is taken.
	Create(name string) (File, error)

	// Inode returns a file's number, and that of its file system.
	Inode(name string) (inode, device uint64, err error)

	// Rename moves a file.
	Rename(from, to string) error

	// Remove removes a file.
	Remove(name string) error

	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
}

// File is a file being written. Sync makes its content durable.
type File interface {
	io.WriteCloser
	Sync() error
}

// Disk is the machine's own file system.
type Disk struct{}

// Create creates name with mode 0600.
func (Disk) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Inode looks name up without following links.
func (Disk) Inode(name string) (inode, device uint64, err error) {
	info, err := os.Lstat(name)
	if err != nil {
		return 0, 0, err
	}
	inode, device = numbers(info)
	return inode, device, nil
}

// Rename is os.Rename.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is os.Remove.
func (Disk) Remove(name string) error { return os.Remove(name) }

// SyncDir opens the directory and syncs it.
func (Disk) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}

// diskFile syncs the data and as much of the rest as is needed to read it.
type diskFile struct{ *os.File }

func (f diskFile) Sync() error { return syncData(f.File) }
