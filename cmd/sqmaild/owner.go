package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// giveQueueToOwner gives what root has made in a home's queue to the queue's
// owner. Others own what they make.
func giveQueueToOwner(home string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	top := filepath.Join(home, "queue")
	uid, gid, ok := ownerOf(top)
	if !ok || uid == 0 {
		return nil
	}
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if owner, _, ok := ownerOf(path); ok && owner == 0 {
			return os.Lchown(path, uid, gid)
		}
		return nil
	})
}

func ownerOf(path string) (uid, gid int, ok bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}
