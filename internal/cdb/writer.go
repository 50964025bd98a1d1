package cdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// ErrTooLarge is the error of writing more than the format can hold, 4 GiB.
var ErrTooLarge = errors.New("cdb: database would be larger than 4 GiB")

// Writer writes a database. Its memory is eight octets a record.
type Writer struct {
	w     io.WriteSeeker
	buf   *bufio.Writer
	pos   int64
	slots [tables][]slot
	err   error
}

type slot struct{ hash, pos uint32 }

// NewWriter returns a writer to w, which is empty.
func NewWriter(w io.WriteSeeker) *Writer {
	c := &Writer{w: w, buf: bufio.NewWriterSize(w, 1<<16)}
	c.write(make([]byte, headerSize))
	return c
}

// Put adds a record. A look-up finds the first of several with the same key.
func (c *Writer) Put(key, value []byte) error {
	if c.pos+8+int64(len(key))+int64(len(value)) > maxSize {
		c.fail(ErrTooLarge)
	}
	if c.err != nil {
		return c.err
	}
	h := hash(key)
	c.slots[h%tables] = append(c.slots[h%tables], slot{h, uint32(c.pos)})
	c.pair(uint32(len(key)), uint32(len(value)))
	c.write(key)
	c.write(value)
	return c.err
}

// Finish writes the hash tables and the header. Nothing is synced.
func (c *Writer) Finish() error {
	var header [headerSize]byte
	for i, list := range c.slots {
		binary.LittleEndian.PutUint32(header[i*8:], uint32(c.pos))
		binary.LittleEndian.PutUint32(header[i*8+4:], uint32(2*len(list)))
		if c.pos+16*int64(len(list)) > maxSize {
			c.fail(ErrTooLarge)
		}
		c.table(list)
	}
	if c.err == nil {
		c.fail(c.buf.Flush())
	}
	if c.err != nil {
		return c.err
	}
	if _, err := c.w.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := c.w.Write(header[:])
	return err
}

// table writes one hash table, half of it empty, in open addressing.
func (c *Writer) table(list []slot) {
	n := uint32(2 * len(list))
	table := make([]slot, n)
	for _, s := range list {
		i := s.hash >> 8 % n
		for table[i].pos != 0 {
			i = (i + 1) % n
		}
		table[i] = s
	}
	for _, s := range table {
		c.pair(s.hash, s.pos)
	}
}

func (c *Writer) pair(a, b uint32) {
	var p [8]byte
	binary.LittleEndian.PutUint32(p[:], a)
	binary.LittleEndian.PutUint32(p[4:], b)
	c.write(p[:])
}

func (c *Writer) write(p []byte) {
	if c.err != nil {
		return
	}
	n, err := c.buf.Write(p)
	c.pos += int64(n)
	c.fail(err)
}

func (c *Writer) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Create writes a database with fill into a file of its own and puts it in
// the place of the one at name in one step: readers see the old one or the new
// one, also after a crash. It fails with fill's error, and then changes
// nothing.
func Create(name string, fill func(*Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".tmp*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	w := NewWriter(f)
	for _, step := range []func() error{
		func() error { return fill(w) },
		w.Finish,
		func() error { return f.Chmod(0o644) },
		f.Sync,
		f.Close,
		func() error { return os.Rename(f.Name(), name) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
