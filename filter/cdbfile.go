package filter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/sqmail/sqmail/internal/cdb"
)

// CDB is a [Database] in a file in D. J. Bernstein's format, as qmail's
// programs and package compile write it. It is opened at the first look-up, and
// again within a second when another file has taken its place. It may be used
// concurrently; Path and Optional must not change then.
//
// A file that does not exist, is damaged, or has no record at all, as it is
// left by a program that failed, is an error of every look-up: a deferral for
// whoever asks.
type CDB struct {
	// Path is the file's name.
	Path string

	// Optional takes a file that does not exist, or has no record, for a
	// database without keys.
	Optional bool

	mu      sync.RWMutex // held for reading while a look-up uses file
	file    *cdb.File    // nil: none that can be used
	info    fs.FileInfo  // of file
	checked time.Time
	err     error // why there is no file
}

// ErrNoRecords is the error of a look-up in a database that has not one key.
var ErrNoRecords = errors.New("filter: database without a record")

// recheck is how long a database that has been replaced may still be used.
const recheck = time.Second

// emptyCDB is the size of a database that has no records.
const emptyCDB = 2048

// Get looks a key up.
func (d *CDB) Get(key []byte) ([]byte, bool, error) {
	d.mu.RLock()
	if time.Since(d.checked) >= recheck {
		d.mu.RUnlock()
		d.refresh()
		d.mu.RLock()
	}
	defer d.mu.RUnlock()
	if d.file == nil {
		return nil, false, d.err
	}
	value, found, err := d.file.Get(key)
	if err != nil {
		err = fmt.Errorf("%s: %w", d.Path, err)
	}
	return value, found, err
}

// Close closes the file. A later look-up opens it again.
func (d *CDB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
	d.checked, d.err = time.Time{}, fs.ErrClosed
	return nil
}

// refresh opens the file if it is another one than before.
func (d *CDB) refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.checked) < recheck {
		return // somebody else did
	}
	d.checked = time.Now()
	info, err := os.Stat(d.Path)
	if err == nil && d.file != nil && sameFile(info, d.info) {
		return
	}
	d.drop()
	if err == nil {
		err = d.open(info)
	}
	if d.Optional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoRecords)) {
		err = nil
	}
	d.err = err
}

// open opens the file. info is what was known of it before: if another one has
// taken its place since, the next look finds a difference.
func (d *CDB) open(info fs.FileInfo) error {
	if info.Size() == emptyCDB {
		return fmt.Errorf("%s: %w", d.Path, ErrNoRecords)
	}
	file, err := cdb.Open(d.Path)
	if err == nil {
		d.file, d.info = file, info
	}
	return err
}

func (d *CDB) drop() {
	if d.file != nil {
		d.file.Close()
	}
	d.file, d.info, d.err = nil, nil, nil
}

func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
