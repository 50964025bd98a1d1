package spoolfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func datasync(f *os.File) error {
	return control(f, "fdatasync", unix.Fdatasync)
}

// SyncAll makes all of the file system durable that the file is on.
func (f diskFile) SyncAll() error {
	return control(f.File, "syncfs", unix.Syncfs)
}

// Plain returns ErrNotPlain for a file with holes, or with a second name.
func (f diskFile) Plain() error {
	return control(f.File, "file", func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		hole, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
		if err != nil { // an empty file, or a file system that does not tell
			hole = st.Size
		}
		if hole < st.Size || st.Nlink > 1 {
			return ErrNotPlain
		}
		return nil
	})
}

// allocate reserves blocks; a file system that cannot only sets the length.
func allocate(f *os.File, size int64) error {
	err := control(f, "fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// control calls a system call on a file, again if a signal interrupts it.
func control(f *os.File, op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		for {
			if err = call(int(fd)); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	return os.NewSyscallError(op, err)
}

// mediumErrors are what disks and file systems that check what they read say
// besides EIO.
var mediumErrors = []unix.Errno{unix.EBADMSG, unix.EUCLEAN, unix.ENODATA, unix.EILSEQ, unix.EREMOTEIO}
