//go:build !unix

package spoolfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

const openFlags = 0

// syncDir does nothing: these systems cannot, and some fail when asked.
func syncDir(*os.File) error { return nil }

// lock makes a file that must not exist. If the process dies it has to be
// removed by hand.
func lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, &LockedError{Name: name}
	}
	if err != nil {
		return nil, err
	}
	return lockFile{f}, nil
}

type lockFile struct{ *os.File }

func (f lockFile) Close() error { return errors.Join(f.File.Close(), os.Remove(f.Name())) }
