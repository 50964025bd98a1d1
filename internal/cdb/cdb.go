// Package cdb reads and writes constant databases in D. J. Bernstein's format,
// as qmail's and tinycdb's programs do. A look-up reads at most a few times
// from the file, whatever its size; a damaged file is an error, never a hit
// and never a miss.
package cdb

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	tables     = 256
	headerSize = tables * 8
	maxSize    = 1<<32 - 1
)

// ErrDamaged is the error of a look-up in a file that is not a whole database.
var ErrDamaged = errors.New("cdb: damaged database")

// hash is cdb's hash of a key.
func hash(key []byte) uint32 {
	h := uint32(5381)
	for _, c := range key {
		h = (h << 5) + h ^ uint32(c)
	}
	return h
}

// Reader looks things up in a database. It may be used concurrently.
type Reader struct {
	r    io.ReaderAt
	size int64
	head [headerSize]byte

	records int64
}

// NewReader returns a reader of the database of size octets in r. It fails
// with ErrDamaged if that is not as long as its header says, or has a hash table
// with nothing in it: zeros, as a crash leaves them where nobody synced.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	d := &Reader{r: r, size: size}
	if size < headerSize || size > maxSize {
		return nil, ErrDamaged
	}
	if _, err := r.ReadAt(d.head[:], 0); err != nil {
		return nil, fmt.Errorf("cdb: header: %w", err)
	}
	for i := range tables {
		pos, slots := d.table(i)
		if slots > 0 && (pos < headerSize || pos+slots*8 > size) {
			return nil, ErrDamaged
		}
		d.records += slots / 2
		if used, err := d.used(pos, slots); err != nil || !used && slots > 0 {
			return nil, cmp.Or(err, ErrDamaged)
		}
	}
	if d.records == 0 && size != headerSize { // zeros, for instance
		return nil, ErrDamaged
	}
	return d, nil
}

// Records returns the number of records.
func (d *Reader) Records() int64 { return d.records }

// table returns where hash table i begins, and its number of slots.
func (d *Reader) table(i int) (pos, slots int64) {
	b := d.head[i*8:]
	return int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))
}

// used reports whether a hash table has an entry. One of the first slots tells, as
// a rule.
func (d *Reader) used(pos, slots int64) (bool, error) {
	var b [64 * 8]byte
	for end := pos + slots*8; pos < end; {
		piece := b[:min(int64(len(b)), end-pos)]
		if err := d.read(piece, pos); err != nil {
			return false, err
		}
		for i := 4; i < len(piece); i += 8 {
			if binary.LittleEndian.Uint32(piece[i:]) != 0 {
				return true, nil
			}
		}
		pos += int64(len(piece))
	}
	return false, nil
}

// Get returns the first value of key. The value is the caller's. found is
// false, and the error nil, if a whole database does not have the key.
func (d *Reader) Get(key []byte) (value []byte, found bool, err error) {
	h := hash(key)
	pos, slots := d.table(int(h % tables))
	if slots == 0 {
		return nil, false, nil
	}
	var b [8]byte
	for n, slot := int64(0), int64(h>>8)%slots; n < slots; n, slot = n+1, (slot+1)%slots {
		if err := d.read(b[:], pos+slot*8); err != nil {
			return nil, false, err
		}
		record := int64(binary.LittleEndian.Uint32(b[4:]))
		if record == 0 {
			return nil, false, nil
		}
		if binary.LittleEndian.Uint32(b[:]) != h {
			continue
		}
		k, v, err := d.record(record, len(key))
		if err != nil {
			return nil, false, err
		}
		if string(k) == string(key) {
			return v, true, nil
		}
	}
	return nil, false, nil
}

// record returns key and value at pos; the key alone if its length is not n.
func (d *Reader) record(pos int64, n int) (key, value []byte, err error) {
	var b [8]byte
	if err := d.read(b[:], pos); err != nil {
		return nil, nil, err
	}
	klen, vlen := int64(binary.LittleEndian.Uint32(b[:])), int64(binary.LittleEndian.Uint32(b[4:]))
	if pos+8+klen+vlen > d.size {
		return nil, nil, ErrDamaged
	}
	if klen != int64(n) {
		return nil, nil, nil
	}
	both := make([]byte, klen+vlen)
	if err := d.read(both, pos+8); err != nil {
		return nil, nil, err
	}
	return both[:klen:klen], both[klen:], nil
}

func (d *Reader) read(p []byte, pos int64) error {
	if pos < headerSize || pos+int64(len(p)) > d.size {
		return ErrDamaged
	}
	if len(p) == 0 {
		return nil
	}
	_, err := d.r.ReadAt(p, pos)
	if errors.Is(err, io.EOF) {
		return ErrDamaged
	}
	return err
}

// Each calls f with every record, in the order in which they were written,
// until it returns false. Key and value are valid during the call.
func (d *Reader) Each(f func(key, value []byte) bool) error {
	end := d.size
	for i := range tables {
		if pos, slots := d.table(i); slots > 0 && pos < end {
			end = pos
		}
	}
	r := io.NewSectionReader(d.r, headerSize, end-headerSize)
	var head [8]byte
	var buf []byte
	for pos := int64(headerSize); pos < end; {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return ErrDamaged
		}
		klen, vlen := int64(binary.LittleEndian.Uint32(head[:])), int64(binary.LittleEndian.Uint32(head[4:]))
		if pos += 8 + klen + vlen; pos > end {
			return ErrDamaged
		}
		if int64(cap(buf)) < klen+vlen {
			buf = make([]byte, klen+vlen)
		}
		buf = buf[:klen+vlen]
		if _, err := io.ReadFull(r, buf); err != nil {
			return ErrDamaged
		}
		if !f(buf[:klen:klen], buf[klen:]) {
			return nil
		}
	}
	return nil
}

// File is a database in a file.
type File struct {
	*Reader
	f    *os.File // nil: it is mapped
	data mapped
}

// Open opens the database in a file. Where the system lets it, the file is
// mapped into memory.
func Open(name string) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	db, err := OpenFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return db, nil
}

// OpenFile is Open for a file that is open, which it closes in any case.
func OpenFile(f *os.File) (*File, error) {
	db := &File{f: f}
	if err := db.open(); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

func (f *File) open() error {
	st, err := f.f.Stat()
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return errors.New("not a regular file")
	}
	var from io.ReaderAt = f.f
	if st.Size() >= headerSize && st.Size() <= maxSize {
		if data, err := mapFile(f.f, st.Size()); err == nil {
			f.f.Close()
			f.f, f.data, from = nil, data, data
		}
	}
	f.Reader, err = NewReader(from, st.Size())
	return err
}

// Get returns the first value of key; see [Reader.Get].
func (f *File) Get(key []byte) (value []byte, found bool, err error) {
	if f.data != nil {
		return f.data.get(f.Reader, key)
	}
	return f.Reader.Get(key)
}

// Close closes the file. No look-up may be running, or follow.
func (f *File) Close() error {
	if f.f != nil {
		return f.f.Close()
	}
	data := f.data
	f.data = nil
	if data == nil {
		return os.ErrClosed
	}
	return data.unmap()
}
