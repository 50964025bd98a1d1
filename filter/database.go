package filter

import "context"

// Database holds the keys that a filter looks up. A cdb fits. It is used
// concurrently; an error is a deferral.
type Database interface {
	// Get returns the value of key, which is the caller's.
	Get(key []byte) (value []byte, found bool, err error)
}

// Keys is a small [Database] in memory.
type Keys map[string][]byte

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
	return func(_ context.Context, name string) (bool, error) {
		_, found, err := db.Get([]byte(name))
		return found && err == nil, err
	}
}
