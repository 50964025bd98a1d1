package maildir

import (
	"io/fs"
	"syscall"
)

// numbers returns the numbers of a file and of its file system.
func numbers(info fs.FileInfo) (inode, device uint64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return uint64(st.Ino), uint64(st.Dev)
}
