//go:build unix

package qmailspool

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openRegular opens a regular file for reading; no link is followed, and a
// pipe is not waited for.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lock takes qmail-send's lock in both of the ways in which it may have been
// built to take it: flock, and the lock of a region. A file that is open for
// reading alone is enough, and nothing is written.
func lock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return lockError("flock", err)
	}
	region := syscall.Flock_t{Type: syscall.F_RDLCK}
	return lockError("fcntl", syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &region))
}

func lockError(call string, err error) error {
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return ErrRunning
	}
	return os.NewSyscallError(call, err)
}
