//go:build unix

package spoolfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFlags: follow no link, and do not wait for the other end of a pipe.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

func syncDir(d *os.File) error { return d.Sync() }

// OwnGroup gives a directory to a group of this process, unless it has one of
// those, or we may read everything anyhow.
func (Disk) OwnGroup(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil || os.Geteuid() == 0 {
		return err
	}
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || slices.Contains(append(groups, os.Getegid()), int(st.Gid)) {
		return nil
	}
	return os.Chown(dir, -1, os.Getegid())
}

// lock holds an flock on a file with the process's number in it. The file
// stays when the lock is gone: to remove it would be a race.
func lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|openFlags, 0o600) // else anybody could lock it
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{Name: name, PID: readPID(f)}
		}
		return nil, os.NewSyscallError("flock", err)
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid()) // for people; a failure does no harm
	}
	return f, nil
}

func readPID(f *os.File) int {
	var buf [20]byte
	n, _ := f.ReadAt(buf[:], 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	return pid
}
