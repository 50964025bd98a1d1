//go:build !linux

package spoolfs

import (
	"os"
	"syscall"
)

// datasync is a full sync, which on Darwin reaches the platter as well.
func datasync(f *os.File) error { return f.Sync() }

// allocate only sets the length: what is written there may still fail.
func allocate(f *os.File, size int64) error { return f.Truncate(size) }

// mediumErrors: there are none besides EIO.
var mediumErrors []syscall.Errno
