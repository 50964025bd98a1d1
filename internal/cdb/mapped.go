package cdb

import (
	"fmt"
	"io"
	"runtime/debug"
)

// mapped is a file that is mapped into memory: a look-up costs no system call.
type mapped []byte

// ReadAt copies from the file. A file that somebody has made shorter, which
// nobody should do (see [Create]), is an error like any other damage, not the
// end of the process.
func (m mapped) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > int64(len(m)) {
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	if n = copy(p, m[off:]); n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
