package spoolfs

import (
	"errors"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syncedFile makes a file of the disk.
func syncedFile(t *testing.T) diskFile {
	t.Helper()
	f, err := Disk{}.Create(filepath.Join(t.TempDir(), "a"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.(diskFile)
}

// A kernel that has no asynchronous input and output, forbids it or has no more
// of it is not asked again; the files are synced nevertheless.
func TestWithoutABackgroundFilesAreSyncedAllTheSame(t *testing.T) {
	for _, refused := range []uintptr{unix.SYS_IO_SETUP, unix.SYS_IO_SUBMIT} {
		for _, errno := range []unix.Errno{unix.EAGAIN, unix.ENOSYS, unix.EPERM, unix.EINVAL} {
			asked := 0
			s := Syncer{call: func(trap, a, b, c, d uintptr) (uintptr, unix.Errno) {
				if trap == refused {
					asked++
					return 0, errno
				}
				return kernel(trap, a, b, c, d)
			}}
			f := syncedFile(t)
			for range 3 {
				if err := s.Datasync(f); err != nil {
					t.Errorf("call %d refused with %v: %v", refused, errno, err)
				}
			}
			f.Close()
			if err := s.Datasync(f); err == nil {
				t.Errorf("call %d refused with %v: what came of the sync is not told", refused, errno)
			}
			if asked != 1 {
				t.Errorf("call %d refused with %v: asked %d times", refused, errno, asked)
			}
			s.Close()
		}
	}
}

// What the disk says of a sync is what Datasync returns, and the sync is not
// tried again. When it cannot be found out, it has failed.
func TestASyncThatFailsInTheBackgroundHasFailed(t *testing.T) {
	for _, c := range []struct {
		name   string
		result func(res *int64) unix.Errno
		want   unix.Errno
	}{
		{"EIO", func(res *int64) unix.Errno { *res = -int64(unix.EIO); return 0 }, unix.EIO},
		{"ENOSPC", func(res *int64) unix.Errno { *res = -int64(unix.ENOSPC); return 0 }, unix.ENOSPC},
		{"io_getevents", func(*int64) unix.Errno { return unix.EINVAL }, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			submitted, interrupted := 0, false
			s := Syncer{}
			s.call = func(trap, a, b, cc, d uintptr) (uintptr, unix.Errno) {
				switch trap {
				case unix.SYS_IO_SUBMIT:
					submitted++
				case unix.SYS_IO_GETEVENTS:
					if !interrupted {
						interrupted = true
						return 0, unix.EINTR
					}
					n, errno := kernel(trap, a, b, cc, d)
					if errno != 0 {
						return n, errno
					}
					return n, c.result(&s.b.result.res)
				}
				return kernel(trap, a, b, cc, d)
			}
			defer s.Close()
			f := syncedFile(t)
			if err := s.Datasync(f); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if submitted != 1 {
				t.Errorf("submitted %d times", submitted)
			}
			if s.b != nil {
				t.Error("what is left of the sync may be taken for the end of the next one")
			}
			s.call = nil
			if err := s.Datasync(f); err != nil {
				t.Errorf("the next sync: %v", err)
			}
		})
	}
}

// The structures are the kernel's.
func TestTheLayoutIsTheKernels(t *testing.T) {
	if n := unsafe.Sizeof(request{}); n != 64 {
		t.Errorf("struct iocb has 64 octets, not %d", n)
	}
	if n := unsafe.Sizeof(result{}); n != 32 {
		t.Errorf("struct io_event has 32 octets, not %d", n)
	}
}
