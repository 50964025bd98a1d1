package crashfs

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// file is an open file.
type file struct {
	fs     *FS
	name   string
	node   *node
	closed bool
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if off >= int64(len(f.node.data.octets)) {
		return 0, io.EOF
	}
	if err := f.fs.readable("read", f.name, off, off+int64(len(p))); err != nil {
		return 0, err
	}
	n := copy(p, f.node.data.octets[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	err := f.do(Write, func() error {
		if !f.fs.room(f.node, off+int64(len(p))) {
			return syscall.ENOSPC
		}
		n = len(p)
		w := write{off: off, data: slices.Clone(p)}
		f.node.data.write(w)
		f.node.writes = append(f.node.writes, w)
		return nil
	})
	return n, err
}

// overtaken reports whether a younger write that is being synced leaves
// nothing of w.
func (w write) overtaken(younger write) bool {
	if younger.doubtful {
		return false
	}
	return w.data == nil || younger.data == nil || w.off < younger.off+int64(len(younger.data)) && younger.off < w.off+int64(len(w.data))
}

// apply returns the content with the write done to it.
func (w write) apply(data []byte) []byte {
	if w.data == nil {
		return resize(data, w.off)
	}
	if end := w.off + int64(len(w.data)); end > int64(len(data)) {
		data = resize(data, end)
	}
	copy(data[w.off:], w.data)
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	old := len(data)
	data = slices.Grow(data, int(size)-old)[:size]
	clear(data[old:])
	return data
}

func (f *file) Truncate(size int64) error {
	return f.do(Truncate, func() error {
		if !f.fs.room(f.node, size) {
			return syscall.ENOSPC
		}
		f.node.space = min(f.node.space, size)
		f.setSize(size)
		return nil
	})
}

func (f *file) Allocate(size int64) error {
	return f.do(Allocate, func() error {
		if !f.fs.room(f.node, size) {
			return syscall.ENOSPC
		}
		f.node.space = max(f.node.space, size)
		f.setSize(max(size, int64(len(f.node.data.octets))))
		return nil
	})
}

func (f *file) setSize(size int64) {
	w := write{off: size}
	f.node.data.write(w)
	f.node.writes = append(f.node.writes, w)
}

func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	return int64(len(f.node.data.octets)), nil
}

func (f *file) Datasync() error {
	synced := false
	err := f.do(Datasync, func() error {
		synced = true
		var left []write
		for i, w := range f.node.writes {
			if !w.doubtful {
				f.node.synced.write(w)
			} else if !slices.ContainsFunc(f.node.writes[i+1:], w.overtaken) {
				left = append(left, w)
			}
		}
		f.node.writes = left
		return nil
	})
	if err != nil && !synced {
		f.fs.mu.Lock()
		f.node.spoil()
		f.fs.mu.Unlock()
	}
	return err
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}

func (f *file) do(kind Kind, run func() error) error {
	return f.fs.do(kind, f.name, func() error {
		if f.closed {
			return fs.ErrClosed
		}
		return run()
	})
}
