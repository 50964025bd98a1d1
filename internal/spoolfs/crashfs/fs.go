package crashfs

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"syscall"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// FS is a file system in memory. Its zero value has an empty root directory,
// which "/" and "." name.
type FS struct {
	// Hook, if not nil, is called before (Before true) and after each
	// operation that changes something. An error returned before makes the
	// operation fail; after, it is ignored. The file system is locked: Hook
	// must not use it but by Op.Crash. Set it before use.
	Hook func(Op) error

	// Unreadable, if not nil, is called before a file is opened, with a range
	// of no octets, and before octets of it are read or a directory is listed.
	// An error makes that fail. The file system is locked, as with Hook.
	Unreadable func(name string, from, to int64) error

	// Limit is how many octets all files may take together. 0: no limit.
	Limit int64

	mu    sync.Mutex
	root  *node
	ops   int
	locks map[string]bool
}

// Op is an operation that changes something.
type Op struct {
	N      int // counts from 1
	Kind   Kind
	Name   string
	Before bool

	// Crash is FS.Crash for use in Hook.
	Crash func(loss Loss, seed uint64) *FS
}

// Kind is the kind of an operation.
type Kind string

// The kinds of operations.
const (
	Create   Kind = "create"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	Mkdir    Kind = "mkdir"
	SyncDir  Kind = "syncdir"
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Allocate Kind = "allocate"
	Datasync Kind = "datasync"
)

// node is a file or a directory, live and as the disk has it.
type node struct {
	dir     bool
	live    map[string]*node // a directory's entries
	durable map[string]*node
	pending []*entryOp

	data   content // of a file
	synced content
	writes []write
	space  int64 // octets reserved
}

// content is the octets of a file. Those of what a crash leaves are shared
// with the file system that was left, until one of the two changes them.
type content struct {
	octets []byte
	shared bool
}

// share returns the same content, for another file.
func (c *content) share() content {
	c.shared = true
	return *c
}

// write does a write.
func (c *content) write(w write) {
	if c.shared {
		*c = content{octets: slices.Clone(c.octets)}
	}
	c.octets = w.apply(c.octets)
}

// entryOp is a change of directory entries that is not durable yet. A nil
// node means that the name is gone.
type entryOp struct {
	changes  []change
	doubtful bool // a sync of it has failed: nothing will make it durable
	applied  bool

	overtaken bool // in doubt, and something younger is durable
}

type change struct {
	dir  *node
	name string
	node *node
}

// write is a change of a file's content that is not durable yet.
type write struct {
	off      int64
	data     []byte // nil: the file's length becomes off
	doubtful bool
}

func (f *FS) start() {
	if f.root == nil {
		f.root = newDir()
		f.locks = make(map[string]bool)
	}
}

func newDir() *node {
	return &node{dir: true, live: make(map[string]*node), durable: make(map[string]*node)}
}

// do runs an operation with the hook before and after it.
func (f *FS) do(kind Kind, name string, run func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start()
	f.ops++
	op := Op{N: f.ops, Kind: kind, Name: name, Before: true, Crash: f.crash}
	var err error
	if f.Hook != nil {
		err = f.Hook(op)
	}
	if err != nil {
		if n := f.find(name); kind == SyncDir && n != nil {
			n.spoil()
		}
		return &fs.PathError{Op: string(kind), Path: name, Err: err}
	}
	err = run()
	if f.Hook != nil {
		op.Before = false
		f.Hook(op)
	}
	if err != nil {
		return &fs.PathError{Op: string(kind), Path: name, Err: err}
	}
	return nil
}

// readable asks whether something can be read.
func (f *FS) readable(op, name string, from, to int64) error {
	if f.Unreadable == nil {
		return nil
	}
	if err := f.Unreadable(name, from, to); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// Ops returns how many operations there were.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

func clean(name string) string { return path.Join("/", name) }

// find returns what a name stands for, or nil.
func (f *FS) find(name string) *node {
	n := f.root
	for _, part := range parts(name) {
		if n == nil || !n.dir {
			return nil
		}
		n = n.live[part]
	}
	return n
}

func parts(name string) []string {
	name = clean(name)
	var list []string
	for name != "/" {
		list = append(list, path.Base(name))
		name = path.Dir(name)
	}
	slices.Reverse(list)
	return list
}

// parent returns the directory of a name, and the last part of it.
func (f *FS) parent(name string) (*node, string, error) {
	name = clean(name)
	d := f.find(path.Dir(name))
	if d == nil || !d.dir {
		return nil, "", fs.ErrNotExist
	}
	return d, path.Base(name), nil
}

// enter changes directory entries; the changes are one step for the disk.
func enter(changes ...change) {
	op := &entryOp{changes: changes}
	for _, c := range changes {
		if c.node == nil {
			delete(c.dir.live, c.name)
		} else {
			c.dir.live[c.name] = c.node
		}
		if !slices.Contains(c.dir.pending, op) {
			c.dir.pending = append(c.dir.pending, op)
		}
	}
}

func (f *FS) add(name string, n *node) error {
	d, base, err := f.parent(name)
	if err != nil {
		return err
	}
	if d.live[base] != nil {
		return fs.ErrExist
	}
	enter(change{d, base, n})
	return nil
}

// Create implements [spoolfs.FS]. Permissions are not kept.
func (f *FS) Create(name string, _ fs.FileMode) (spoolfs.File, error) {
	n := &node{}
	if err := f.do(Create, name, func() error { return f.add(name, n) }); err != nil {
		return nil, err
	}
	return &file{fs: f, name: name, node: n}, nil
}

// Open implements [spoolfs.FS].
func (f *FS) Open(name string) (spoolfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start()
	n := f.find(name)
	if n == nil || n.dir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err := f.readable("open", name, 0, 0); err != nil {
		return nil, err
	}
	return &file{fs: f, name: name, node: n}, nil
}

// Rename implements [spoolfs.FS].
func (f *FS) Rename(from, to string) error {
	return f.do(Rename, from, func() error {
		d, base, err := f.parent(from)
		if err != nil || d.live[base] == nil {
			return fs.ErrNotExist
		}
		toDir, toBase, err := f.parent(to)
		if err != nil {
			return err
		}
		n := d.live[base]
		enter(change{d, base, nil}, change{toDir, toBase, n})
		return nil
	})
}

// Remove implements [spoolfs.FS].
func (f *FS) Remove(name string) error {
	return f.do(Remove, name, func() error {
		d, base, err := f.parent(name)
		if err != nil || d.live[base] == nil {
			return fs.ErrNotExist
		}
		if len(d.live[base].live) > 0 {
			return syscall.ENOTEMPTY
		}
		enter(change{d, base, nil})
		return nil
	})
}

// Mkdir implements [spoolfs.FS]. Permissions are not kept.
func (f *FS) Mkdir(name string, _ fs.FileMode) error {
	return f.do(Mkdir, name, func() error { return f.add(name, newDir()) })
}

// ReadDir implements [spoolfs.FS].
func (f *FS) ReadDir(name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start()
	d := f.find(name)
	if d == nil || !d.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	if err := f.readable("readdir", name, 0, 0); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(d.live))
	for n := range d.live {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements [spoolfs.FS].
func (f *FS) SyncDir(name string) error {
	return f.do(SyncDir, name, func() error {
		d := f.find(name)
		if d == nil || !d.dir {
			return fs.ErrNotExist
		}
		saved := make(map[string]bool) // names; what is older and in doubt is overtaken
		for _, op := range slices.Backward(d.pending) {
			over := false
			for _, c := range op.changes {
				over = over || c.dir == d && saved[c.name]
				saved[c.name] = saved[c.name] || c.dir == d && !op.doubtful
			}
			op.overtaken = op.overtaken || op.doubtful && over
		}
		for _, op := range d.pending {
			if !op.doubtful {
				op.apply()
			}
		}
		d.pending = slices.DeleteFunc(d.pending, func(op *entryOp) bool { return op.applied || op.overtaken })
		return nil
	})
}

func (op *entryOp) apply() {
	if op.applied || op.overtaken {
		return
	}
	op.applied = true
	for _, c := range op.changes {
		if c.node == nil {
			delete(c.dir.durable, c.name)
		} else {
			c.dir.durable[c.name] = c.node
		}
	}
}

// spoil does what a failed sync does on Linux: what it was to save may be
// lost, and no later sync saves it.
func (n *node) spoil() {
	for _, op := range n.pending {
		op.doubtful = true
	}
	for i := range n.writes {
		n.writes[i].doubtful = true
	}
}

// Lock implements [spoolfs.FS]. A crash frees all locks.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start()
	if f.locks[clean(name)] {
		return nil, &spoolfs.LockedError{Name: name, PID: 1}
	}
	f.locks[clean(name)] = true
	return unlocker{f, clean(name)}, nil
}

type unlocker struct {
	fs   *FS
	name string
}

func (u unlocker) Close() error {
	u.fs.mu.Lock()
	defer u.fs.mu.Unlock()
	delete(u.fs.locks, u.name)
	return nil
}

// Used returns how many octets all files take together.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start()
	return f.root.used()
}

func (n *node) used() int64 {
	total := max(int64(len(n.data.octets)), n.space)
	for _, child := range n.live {
		total += child.used()
	}
	return total
}

// room reports whether a file may take so much space.
func (f *FS) room(n *node, size int64) bool {
	have := max(int64(len(n.data.octets)), n.space)
	return f.Limit == 0 || size <= have || f.root.used()+size-have <= f.Limit
}
