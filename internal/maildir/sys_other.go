//go:build !linux

package maildir

import (
	"io/fs"
	"os"
	"time"
)

func syncData(f *os.File) error { return f.Sync() }

// lastUse is when a file was last written.
func lastUse(info fs.FileInfo) time.Time { return info.ModTime() }
