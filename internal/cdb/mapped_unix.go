//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package cdb

import (
	"os"
	"syscall"
)

// mapFile maps a file into memory.
func mapFile(f *os.File, size int64) (mapped, error) {
	if int64(int(size)) != size {
		return nil, syscall.ENOMEM
	}
	return syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
}

func (m mapped) unmap() error { return syscall.Munmap(m) }
