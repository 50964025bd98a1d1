package control

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sync"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/internal/cdb"
)

// database is a cdb file that was found whole and is open: the very file that
// was checked, whatever takes its place later. It may be used concurrently.
type database struct {
	name string

	mu     sync.RWMutex // held for reading while a look-up uses file
	file   cdbFile
	closed bool
}

// cdbFile is what package cdb makes of a file.
type cdbFile interface {
	Get(key []byte) (value []byte, found bool, err error)
	Each(func(key, value []byte) bool) error
	Records() int64
	Close() error
}

// Rule names the file that a key stands in; a cdb has no lines.
func (d *database) Rule(key []byte) filter.Rule {
	return filter.Rule{Text: string(key), File: d.name}
}

// Get looks a key up. It is an error of every look-up that the database is
// closed, and of some that the file was damaged since: never a miss.
func (d *database) Get(key []byte) (value []byte, found bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err = fs.ErrClosed; !d.closed {
		value, found, err = d.file.Get(key)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", d.name, err)
	}
	return value, found, nil
}

// Close waits for look-ups, and closes the file.
func (d *database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.file.Close()
}

// database opens a cdb file; nil means that there is none, or that it cannot be
// used, which is told.
func (s *source) database(file string) *database {
	if d := s.open[file]; d != nil || s.broken[file] {
		return d
	}
	f, info, err := s.openFile(file)
	if f == nil && err == nil {
		return nil
	}
	var d *database
	if err == nil {
		d, err = newDatabase(file, f, info)
	}
	if err != nil {
		s.broken[file] = true
		s.fatal(file, 0, "cannot be read: %v", cause(err))
		return nil
	}
	if d.file.Records() == 0 {
		s.warn(file, 0, "holds no records; it may have been left by a program that failed")
	}
	s.checkMode(file, info.Mode(), nil)
	s.open[file] = d
	return d
}

// newDatabase opens the database in f, which it keeps, or closes with an error.
func newDatabase(name string, f fs.File, info fs.FileInfo) (*database, error) {
	file, err := cdbOf(f, info)
	if errors.Is(err, cdb.ErrDamaged) {
		err = errors.New("it is no cdb, or a part of one")
	}
	if err != nil {
		return nil, err
	}
	d := &database{name: name, file: file}
	runtime.AddCleanup(d, func(f cdbFile) { f.Close() }, file) // of a Config that nobody closes
	return d, nil
}

// inMemory is a database of a file system that is none of the system's.
type inMemory struct{ *cdb.Reader }

func (inMemory) Close() error { return nil }

func cdbOf(f fs.File, info fs.FileInfo) (cdbFile, error) {
	if file, ok := f.(*os.File); ok {
		return cdb.OpenFile(file)
	}
	defer f.Close()
	text, err := readText(f, info, maxUsers)
	if err != nil {
		return nil, err
	}
	r, err := cdb.NewReader(bytes.NewReader(text), int64(len(text)))
	return inMemory{r}, err
}

// pair reads a list of control that a program makes a cdb of: its text, or
// where there is none the cdb. With neither found is false; a db that is nil
// means the entries.
func (s *source) pair(name string) (entries []Entry, db *database, found bool) {
	entries, found = s.list(name)
	if file := "control/" + name; !found && s.missing(file) {
		db = s.database(file + ".cdb")
		found = db != nil
	}
	return entries, db, found
}

// keysOf returns the keys of a list as a database: those of a cdb, or the first
// n octets of each entry. Nil: there is no such file.
func (s *source) keysOf(name string, n int) filter.Database {
	entries, db, found := s.pair(name)
	switch {
	case !found:
		return nil
	case db != nil:
		return db
	}
	keys := make(filter.RuleKeys, len(entries))
	for _, e := range entries {
		if len(e.Key) < n {
			s.warn(e.File, e.Line, "%q is shorter than the %d characters of a signature, and matches nothing", e.Key, n)
			continue
		}
		if _, known := keys[e.Key[:n]]; !known {
			keys[e.Key[:n]] = filter.RuleKey{Rule: filter.Rule{File: e.File, Line: e.Line}}
		}
	}
	return keys
}

// locate opens the databases that the rules of control/recipients name.
func (s *source) locate(c *Config, rules []filter.RecipientRule) {
	for i := range rules {
		r := &rules[i]
		if r.Database != "" && !r.Accept {
			db := s.database(path.Clean(r.Database))
			switch {
			case db == nil && s.missing(path.Clean(r.Database)):
				s.fatal(r.File, r.Line, "%.200s does not exist", r.Database)
			case db == nil: // was told
			case path.Base(r.Database) == "assign.cdb":
				r.Source = &filter.Assignments{Users: db}
			default:
				r.Source = &filter.UserDatabase{Users: db}
			}
			continue
		}
		r.Locate(c.Home)
	}
}

// close closes what was opened for a configuration that is not used.
func (s *source) close() {
	for _, d := range s.open {
		d.Close()
	}
}

// Close closes the databases of the configuration. Call it when nobody uses it any
// more: further look-ups fail, and are deferrals. A Config that is not closed
// keeps its files open for as long as there are references to it.
func (c *Config) Close() error {
	var errs []error
	for _, d := range c.databases {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}
