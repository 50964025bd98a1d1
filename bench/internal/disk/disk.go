// Package disk tells what the disk itself can do, and makes it slower.
package disk

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// Sync returns the median time of one write of size octets and its fdatasync,
// in a file whose blocks are there already.
func Sync(dir string, size int) (time.Duration, error) {
	times, err := appends(dir, size, 500*time.Millisecond)
	if err != nil || len(times) == 0 {
		return 0, err
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// Ceiling returns how many messages of size octets a second can be made
// durable in batches: one write and one fdatasync for each batch, and nothing
// else.
func Ceiling(dir string, size, batch int, d time.Duration) (float64, error) {
	start := time.Now()
	times, err := appends(dir, size*batch, d)
	return float64(len(times)*batch) / time.Since(start).Seconds(), err
}

// appends appends to a file like the store's segments for so long.
func appends(dir string, size int, d time.Duration) ([]time.Duration, error) {
	path := filepath.Join(dir, "ceiling")
	f, err := spoolfs.Disk{}.Create(path, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	defer f.Close()
	length := int64(max(64<<20, 4*size))
	if err := f.Allocate(length); err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	for i := range buf {
		buf[i] = byte(i * 7)
	}
	// The first round turns reserved blocks into written ones.
	for off := int64(0); off < length; off += int64(len(buf)) {
		if _, err := f.WriteAt(buf, off); err != nil {
			return nil, err
		}
	}
	if err := f.Datasync(); err != nil {
		return nil, err
	}
	var times []time.Duration
	for start, off := time.Now(), int64(0); time.Since(start) < d; off += int64(size) {
		if off+int64(size) > length {
			off = 0
		}
		began := time.Now()
		if _, err := f.WriteAt(buf, off); err != nil {
			return nil, err
		}
		if err := f.Datasync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began))
	}
	return times, nil
}

// Slow is a file system whose every sync takes longer.
type Slow struct {
	spoolfs.FS
	Delay time.Duration
}

// Create implements [spoolfs.FS].
func (s Slow) Create(name string, perm fs.FileMode) (spoolfs.File, error) {
	return s.slow(s.FS.Create(name, perm))
}

// Open implements [spoolfs.FS].
func (s Slow) Open(name string) (spoolfs.File, error) { return s.slow(s.FS.Open(name)) }

// SyncDir implements [spoolfs.FS].
func (s Slow) SyncDir(name string) error {
	time.Sleep(s.Delay)
	return s.FS.SyncDir(name)
}

func (s Slow) slow(f spoolfs.File, err error) (spoolfs.File, error) {
	if err != nil {
		return nil, err
	}
	return slowFile{f, s.Delay}, nil
}

type slowFile struct {
	spoolfs.File
	delay time.Duration
}

func (f slowFile) Datasync() error {
	time.Sleep(f.delay)
	return f.File.Datasync()
}
