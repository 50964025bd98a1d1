package filter

import (
	"context"
	"fmt"
	"hash/fnv"
)

// Database holds the keys that a filter looks up. A cdb fits. It is used
// concurrently; an error is a deferral.
type Database interface {
	// Get returns the value of key, which is the caller's. A Database whose
	// keys are rules of a file may have a method Rule(key []byte) Rule, too, by
	// which verdicts name file and line.
	Get(key []byte) (value []byte, found bool, err error)
}

// Keys is a small [Database] in memory.
type Keys map[string][]byte

// sum tells databases with different keys apart.
func (db Keys) sum() uint64 {
	var sum uint64
	for key, value := range db {
		sum ^= sumOf(key, value)
	}
	return sum
}

func sumOf(key string, value []byte) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	h.Write([]byte{0})
	h.Write(value)
	return h.Sum64()
}

// signaturesOf names the database of a filter.
func (s *Session) signaturesOf(f Filter, db Database) string {
	return s.OnceInChain(f, func() string {
		switch db := db.(type) {
		case Keys:
			return fmt.Sprintf("%d signatures, %x", len(db), db.sum())
		case RuleKeys:
			return fmt.Sprintf("%d signatures, %x", len(db), db.sum())
		case *CDB:
			return "signatures in " + db.Path
		}
		return fmt.Sprintf("signatures of %T", db)
	})
}

// KeysOf returns a [Database] of keys without values.
func KeysOf(keys ...string) Keys {
	db := make(Keys, len(keys))
	for _, k := range keys {
		db[k] = nil
	}
	return db
}

// Get looks a key up.
func (db Keys) Get(key []byte) ([]byte, bool, error) {
	v, ok := db[string(key)]
	return v, ok, nil
}

// Put adds a key, unless it is there: the first of several counts, as in a cdb.
func (db Keys) Put(key, value []byte) error {
	if _, known := db[string(key)]; !known {
		db[string(key)] = value
	}
	return nil
}

// Listed returns what [RcptHosts] asks for further domains: whether a database,
// such as control/morercpthosts.cdb, has a name as a key.
func Listed(db Database) func(ctx context.Context, name string) (bool, error) {
	if db, ok := db.(*CDB); ok { // the same, without a key in the heap
		return func(_ context.Context, name string) (bool, error) {
			_, found, err := db.Get([]byte(name))
			return found && err == nil, err
		}
	}
	return func(_ context.Context, name string) (bool, error) {
		_, found, err := db.Get([]byte(name))
		return found && err == nil, err
	}
}
