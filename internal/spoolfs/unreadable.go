package spoolfs

import (
	"errors"
	"syscall"
)

// Unreadable reports whether an error says that the disk cannot give what is
// there, as for a bad sector. All other errors of reading, a want of memory or
// of descriptors above all, say nothing of the disk.
func Unreadable(err error) bool {
	for _, errno := range mediumErrors {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, syscall.EIO)
}
