package greylist

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/sqmail/sqmail/filter"
)

// Store is a [filter.GreyStore] in a file. [Open] makes one. Its methods may
// be called concurrently.
type Store struct {
	db      *bbolt.DB
	max     int64
	count   atomic.Int64 // of records
	pending chan *update
	closing chan struct{}
	ended   chan struct{} // the writer has returned
	once    sync.Once
	closed  error
	broken  atomic.Pointer[error]
	swept   []byte // the key where the next sweep begins; the writer's
	recent  *recent
}

var _ filter.GreyStore = (*Store)(nil)

var (
	// ErrFull is the error of an Update that would add a record to as many as
	// there may be.
	ErrFull = errors.New("greylist: too many records")

	// ErrClosed is the error of an Update after Close.
	ErrClosed = errors.New("greylist: store is closed")
)

const (
	defaultMax = 1_000_000
	maxKey     = 256
	maxBatch   = 500 // updates that share a write
	lockTime   = 2 * time.Second
	sweepEvery = time.Minute
	sweepStep  = 5000
)

var bucket = []byte("greylist")

// Open opens the store in a file, which it makes if there is none; the directory
// must exist. maxRecords bounds how many records it holds; 0: 1,000,000, about
// 100 MB. It fails if another process has the file open, or if the file is
// damaged.
func Open(path string, maxRecords int) (_ *Store, err error) {
	if maxRecords <= 0 {
		maxRecords = defaultMax
	}
	s := &Store{
		max: int64(maxRecords), pending: make(chan *update, maxBatch),
		closing: make(chan struct{}), ended: make(chan struct{}), recent: newRecent(),
	}
	err = guard(func() error { return s.open(path) })
	if err != nil {
		return nil, fmt.Errorf("greylist: %s: %w", path, err)
	}
	go s.write()
	return s, nil
}

func (s *Store) open(path string) error {
	// Without NoFreelistSync: with it bbolt checks the file in a goroutine of
	// its own, where a panic about a damaged one would end the process.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTime, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	s.db = db
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err == nil {
			s.count.Store(int64(b.Stats().KeyN))
		}
		return err
	})
	if err != nil {
		db.Close()
	}
	return err
}

// Close ends the store: updates that have begun are written. It returns the
// error that has broken it, if one has.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		<-s.ended
		s.closed = guard(s.db.Close)
		if err := s.broken.Load(); err != nil {
			s.closed = *err
		}
	})
	return s.closed
}

// update is one call of Update.
type update struct {
	key     []byte
	f       func(filter.GreyRecord) filter.GreyRecord
	claimed atomic.Bool // by the writer, or by a caller that waits no more
	done    chan error
}

// Update changes a record; see [filter.GreyStore]. The errors are ErrFull,
// ErrClosed, ctx's, and those of the file. A file that is damaged breaks the
// store for good, and nothing else.
func (s *Store) Update(ctx context.Context, key string, f func(filter.GreyRecord) filter.GreyRecord) error {
	if key == "" || len(key) > maxKey {
		return errors.New("greylist: key is empty or too long")
	}
	if err := s.usable(); err != nil {
		return err
	}
	if same, err := s.look(key, f); same || err != nil {
		return err
	}
	u := &update{key: []byte(key), f: f, done: make(chan error, 1)}
	select {
	case s.pending <- u:
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-u.done:
		return err
	case <-ctx.Done():
		if u.claimed.CompareAndSwap(false, true) {
			return ctx.Err() // f will not be called
		}
		return <-u.done
	case <-s.ended:
		if u.claimed.CompareAndSwap(false, true) {
			return ErrClosed
		}
		return <-u.done
	}
}

func (s *Store) usable() error {
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// look reads a record, and reports whether an update would leave it as it is.
func (s *Store) look(key string, f func(filter.GreyRecord) filter.GreyRecord) (same bool, err error) {
	record, found := s.recent.get(key)
	if !found {
		if record, found, err = s.read(key); err != nil {
			return false, err
		}
	}
	old := filter.GreyRecord{}
	if found {
		old = decode(record[:])
	}
	return encode(old) == encode(f(old)), nil
}

// read reads a record from the file.
func (s *Store) read(key string) (record [recordSize]byte, found bool, err error) {
	writes := s.recent.writes.Load()
	err = s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			value := tx.Bucket(bucket).Get([]byte(key))
			if found = len(value) == recordSize; found {
				copy(record[:], value)
			}
			return nil
		})
	})
	switch {
	case errors.Is(err, bbolterrors.ErrDatabaseNotOpen): // Close was faster
		err = ErrClosed
	case err == nil && found:
		s.recent.put(key, record, writes)
	}
	return record, found, err
}

// write is the goroutine that writes.
func (s *Store) write() {
	defer close(s.ended)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case u := <-s.pending:
			s.batch(u)
		case <-sweep.C:
			s.sweep(time.Now())
		case <-s.closing:
			for {
				select {
				case u := <-s.pending:
					s.batch(u)
				default:
					return
				}
			}
		}
	}
}

// batch makes an update and those that wait, in one transaction.
func (s *Store) batch(first *update) {
	var batch []*update
	for u, more := first, true; more; {
		if u.claimed.CompareAndSwap(false, true) {
			batch = append(batch, u)
		}
		more = len(batch) < maxBatch
		if more {
			select {
			case u = <-s.pending:
			default:
				more = false
			}
		}
	}
	if len(batch) == 0 {
		return
	}
	keys := make([][]byte, len(batch))
	for i, u := range batch {
		keys[i] = u.key
	}
	results := make([]error, len(batch))
	var added int64
	err := s.change(keys, func(b *bbolt.Bucket) error {
		added = 0
		for i, u := range batch {
			n, err := s.apply(b, u, added)
			if err != nil && !errors.Is(err, ErrFull) {
				return err
			}
			added, results[i] = added+n, err
		}
		return nil
	})
	if err == nil {
		s.count.Add(added)
	}
	for i, u := range batch {
		if err != nil {
			results[i] = err
		}
		u.done <- results[i]
	}
}

// change runs f in a transaction, which changes the records of keys.
func (s *Store) change(keys [][]byte, f func(*bbolt.Bucket) error) error {
	return s.recent.change(keys, func() error {
		return s.guard(func() error {
			return s.db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket(bucket)) })
		})
	})
}

// apply makes one update, and returns how many records it adds to those that
// are there and the others of its transaction.
func (s *Store) apply(b *bbolt.Bucket, u *update, others int64) (added int64, err error) {
	was := b.Get(u.key)
	old := decode(was)
	record := encode(u.f(old))
	if encode(old) == record {
		return 0, nil
	}
	if was == nil {
		if s.count.Load()+others >= s.max {
			return 0, ErrFull
		}
		added = 1
	}
	return added, b.Put(u.key, record[:])
}

// sweep removes what has expired among the next records.
func (s *Store) sweep(now time.Time) {
	if s.usable() != nil {
		return
	}
	var expired [][]byte
	err := s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucket).Cursor()
			k, v := c.Seek(s.swept)
			for n := 0; k != nil && n < sweepStep; n++ {
				if now.After(decode(v).Expires) {
					expired = append(expired, bytes.Clone(k))
				}
				k, v = c.Next()
			}
			s.swept = bytes.Clone(k) // nil: from the beginning
			return nil
		})
	})
	if err != nil || len(expired) == 0 {
		return
	}
	err = s.change(expired, func(b *bbolt.Bucket) error {
		for _, k := range expired {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.count.Add(-int64(len(expired)))
	}
}

// guard runs f, which uses the file. If that shows that the file is damaged the
// store is not used any more.
func (s *Store) guard(f func() error) error {
	err := guard(f)
	if errors.Is(err, errDamaged) {
		s.broken.CompareAndSwap(nil, &err)
	}
	return err
}

var errDamaged = errors.New("greylist: file is damaged")

// guard turns a panic of f into an error, also one about memory that the file is
// mapped to: bbolt trusts its file.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// recordSize is the size of a record: when it was first seen and when it
// expires, in seconds, and whether it has passed.
const recordSize = 8 + 8 + 1

func encode(r filter.GreyRecord) (b [recordSize]byte) {
	binary.BigEndian.PutUint64(b[:], uint64(r.First.Unix()))
	binary.BigEndian.PutUint64(b[8:], uint64(r.Expires.Unix()))
	if r.Passed {
		b[16] = 1
	}
	return b
}

// decode reads a record. What is none is the zero GreyRecord.
func decode(b []byte) filter.GreyRecord {
	if len(b) != recordSize {
		return filter.GreyRecord{}
	}
	return filter.GreyRecord{
		First:   time.Unix(int64(binary.BigEndian.Uint64(b)), 0),
		Expires: time.Unix(int64(binary.BigEndian.Uint64(b[8:])), 0),
		Passed:  b[16] == 1,
	}
}
