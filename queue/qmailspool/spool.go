package qmailspool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Spool is a queue directory whose lock we hold.
type Spool struct {
	dir      string
	lock     io.Closer
	rewriter *rewriter
}

// Errors of Open.
var (
	// ErrRunning says that qmail-send is running on the queue.
	ErrRunning = errors.New("qmailspool: qmail-send is running on this queue: stop it first")

	// ErrNoSpool says that a directory is not a queue of qmail.
	ErrNoSpool = errors.New("qmailspool: not the queue directory of qmail")
)

// Open takes the lock of a queue directory: a directory with mess and
// lock/sendmutex in it. It fails with ErrRunning if somebody else has the
// lock, and with ErrNoSpool if there is none. r is how the recipients in it
// were rewritten.
//
// The lock keeps qmail-send out. Programs that only put mail in, qmail-queue,
// need no lock: what they accept meanwhile may be seen or not, and can be read
// another time.
func Open(dir string, r Rewriting) (*Spool, error) {
	if info, err := os.Stat(filepath.Join(dir, "mess")); err != nil || !info.IsDir() {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s has no directory mess", ErrNoSpool, dir)
	}
	f, err := openRegular(filepath.Join(dir, "lock", "sendmutex"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no lock/sendmutex", ErrNoSpool, dir)
	}
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return &Spool{dir: dir, lock: f, rewriter: r.compile()}, nil
}

// Close frees the lock.
func (s *Spool) Close() error { return s.lock.Close() }

// kind is what a file tells of a message.
type kind uint8

// The kinds that have a directory each.
const (
	mess kind = iota
	todo
	info
	local
	remote
	bounce
	kinds
)

var kindNames = [kinds]string{"mess", "todo", "info", "local", "remote", "bounce"}

// flat is the split of a file that stands in the directory itself.
const flat = -1

// ref is a file of the queue.
type ref struct {
	id    uint64
	split int32
	kind  kind
}

func (r ref) path() string {
	if r.split == flat {
		return filepath.Join(kindNames[r.kind], strconv.FormatUint(r.id, 10))
	}
	return filepath.Join(kindNames[r.kind], strconv.Itoa(int(r.split)), strconv.FormatUint(r.id, 10))
}

// EntryError says that a message cannot be read. What there is of it stays
// where it is.
type EntryError struct {
	ID   uint64
	File string // below the queue directory
	Err  error
}

// Error names the file.
func (e *EntryError) Error() string { return e.File + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// Messages yields the messages that qmail has accepted and not finished, in
// the order of their numbers. A message that cannot be read yields an
// [*EntryError], and those that follow are not kept from coming; after any
// other error none follows. What was never accepted (S2, S3) is passed over.
//
// Messages holds 16 octets for each file of the queue in memory, and one
// message's records at a time.
func (s *Spool) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		refs, err := s.list(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for len(refs) > 0 {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			n := 1
			for n < len(refs) && refs[n].id == refs[0].id {
				n++
			}
			if m, err := s.message(refs[:n]); m != nil || err != nil {
				if !yield(m, err) {
					return
				}
			}
			refs = refs[n:]
		}
	}
}

// list returns all files of the queue, ordered by message.
func (s *Spool) list(ctx context.Context) ([]ref, error) {
	var refs []ref
	for k := range kinds {
		err := numbered(filepath.Join(s.dir, kindNames[k]), func(n uint64, isDir bool) error {
			if !isDir {
				refs = append(refs, ref{id: n, split: flat, kind: k})
				return ctx.Err()
			}
			if n > 1<<20 {
				return nil // no split
			}
			return numbered(filepath.Join(s.dir, kindNames[k], strconv.FormatUint(n, 10)), func(id uint64, isDir bool) error {
				if !isDir {
					refs = append(refs, ref{id: id, split: int32(n), kind: k})
				}
				return ctx.Err()
			})
		})
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && k != mess) {
			return nil, err
		}
	}
	slices.SortStableFunc(refs, func(a, b ref) int { return cmp.Compare(a.id, b.id) })
	return refs, nil
}

// numbered calls f for each entry of a directory whose name is a number.
func numbered(dir string, f func(n uint64, isDir bool) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			n, bad := strconv.ParseUint(e.Name(), 10, 64)
			if bad != nil || strconv.FormatUint(n, 10) != e.Name() {
				continue
			}
			if err := f(n, e.IsDir()); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
