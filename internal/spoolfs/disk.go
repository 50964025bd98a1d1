package spoolfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Disk is the machine's own file system.
type Disk struct{}

// Create implements [FS].
func (Disk) Create(name string, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|openFlags, perm.Perm())
	if err != nil {
		return nil, err
	}
	if perm&0o077 != 0 { // what the umask may have taken
		if err := f.Chmod(perm); err != nil {
			f.Close()
			os.Remove(name)
			return nil, err
		}
	}
	return diskFile{f}, nil
}

// ErrNotRegular says that a name does not stand for a regular file.
var ErrNotRegular = errors.New("not a regular file")

// ErrNotPlain says that a file takes less room than its length, or has a second
// name.
var ErrNotPlain = errors.New("a file with holes or a second name")

// Open implements [FS].
func (Disk) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|openFlags, 0)
	if errors.Is(err, fs.ErrPermission) {
		f, err = os.OpenFile(name, os.O_RDONLY|openFlags, 0)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return diskFile{f}, nil
}

// Rename implements [FS].
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements [FS].
func (Disk) Remove(name string) error { return os.Remove(name) }

// Mkdir implements [FS].
func (Disk) Mkdir(name string, perm fs.FileMode) error {
	if err := os.Mkdir(name, perm.Perm()); err != nil {
		return err
	}
	return os.Chmod(name, perm)
}

// ReadDir implements [FS].
func (Disk) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// SyncDir implements [FS].
func (Disk) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(d), d.Close())
}

// Lock implements [FS].
func (Disk) Lock(name string) (io.Closer, error) { return lock(name) }

// diskFile adds to a file what package os does not have.
type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f diskFile) Allocate(size int64) error { return allocate(f.File, size) }
func (f diskFile) Datasync() error           { return datasync(f.File) }
