package greylist

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// recent are records that were looked at lately, so that most mail of those who
// are known costs no transaction. It has as many places as it has from the
// start, one for each key that could be there, and no pointers that the
// garbage collector would have to follow. Keys of other lengths than keySize are
// not kept.
type recent struct {
	seed   maphash.Seed
	writes atomic.Uint64 // counts the beginnings and ends of changes: odd within one
	locks  [64]sync.Mutex
	places []place
}

// place is one record. The zero place has none: keys are hashes.
type place struct {
	key    [keySize]byte
	record [recordSize]byte
	taken  bool
}

const (
	keySize = 16
	places  = 1 << 16 // 2.2 MB
)

func newRecent() *recent {
	return &recent{seed: maphash.MakeSeed(), places: make([]place, places)}
}

// at returns the place of a key, and the lock over it.
func (r *recent) at(key string) (*place, *sync.Mutex) {
	h := maphash.String(r.seed, key)
	return &r.places[h%places], &r.locks[h%uint64(len(r.locks))]
}

// get returns a record, if it is here.
func (r *recent) get(key string) (record [recordSize]byte, found bool) {
	if len(key) != keySize {
		return record, false
	}
	p, lock := r.at(key)
	lock.Lock()
	defer lock.Unlock()
	if !p.taken || string(p.key[:]) != key {
		return record, false
	}
	return p.record, true
}

// put keeps what was read from the file, if no transaction that changes something
// has run since writes was loaded: what was read may be old then.
func (r *recent) put(key string, record [recordSize]byte, writes uint64) {
	if len(key) != keySize || writes%2 != 0 {
		return
	}
	p, lock := r.at(key)
	lock.Lock()
	defer lock.Unlock()
	if r.writes.Load() != writes {
		return
	}
	p.taken, p.record = true, record
	copy(p.key[:], key)
}

// change calls f, a transaction that changes the records of keys. While it runs
// they are not here, and nothing is put here, so that whoever has found in the
// file what f wrote never finds here what was before. One change at a time.
func (r *recent) change(keys [][]byte, f func() error) error {
	r.writes.Add(1)
	defer r.writes.Add(1)
	for _, key := range keys {
		r.forget(key)
	}
	return f()
}

func (r *recent) forget(key []byte) {
	if len(key) != keySize {
		return
	}
	p, lock := r.at(string(key))
	lock.Lock()
	defer lock.Unlock()
	if string(p.key[:]) == string(key) {
		*p = place{}
	}
}
