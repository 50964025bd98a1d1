package transfer

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// Ledger is a file with the keys of the messages that were imported: a text
// that can be read, and is only added to. It may be removed when no import is
// to be repeated, and none was cut off.
type Ledger struct {
	f     spoolfs.File
	lock  io.Closer
	size  int64
	known map[Key]bool // false: since the last run began
	open  bool         // the last run did not end
	buf   []byte
	err   error // of the first write that failed: the file's end is not known then
}

const ledgerHead = "# messages imported by sqmail; see docs/operators.md\n"

// OpenLedger opens the ledger in a file, which it makes if there is none. Only
// one process at a time can have it open.
func OpenLedger(path string) (*Ledger, error) { return openLedger(spoolfs.Disk{}, path) }

func openLedger(disk spoolfs.FS, path string) (*Ledger, error) {
	lock, err := disk.Lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	l := &Ledger{lock: lock, known: make(map[Key]bool)}
	if l.f, err = disk.Open(path); errors.Is(err, fs.ErrNotExist) {
		l.f, err = disk.Create(path, 0o600)
	}
	if err == nil {
		err = l.read()
	}
	if err == nil && l.size == 0 {
		l.buf = append(l.buf, ledgerHead...)
		err = l.sync()
	}
	if err == nil {
		err = disk.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close closes the file.
func (l *Ledger) Close() error {
	err := l.lock.Close()
	if l.f != nil {
		err = errors.Join(l.f.Close(), err)
	}
	return err
}

// Known reports whether a message was imported before.
func (l *Ledger) Known(k Key) bool { _, known := l.known[k]; return known }

// read reads all lines. A power failure may have left anything in the place of
// what was not synced; whatever is no sound line does not count. A sound one
// that was not synced counts: its message had been committed before.
func (l *Ledger) read() (err error) {
	if l.size, err = l.f.Size(); err != nil {
		return err
	}
	lines := bufio.NewReader(io.NewSectionReader(l.f, 0, l.size))
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			if line != "" {
				l.buf = append(l.buf, '\n')
			}
			return nil
		}
		if err != nil {
			return err
		}
		l.take(strings.TrimSuffix(line, "\n"))
	}
}

// take takes a line: "begin", "end", or a key, the number that the message
// got, and a checksum.
func (l *Ledger) take(line string) {
	switch line {
	case "begin":
		l.open = true
		l.settle()
	case "end":
		l.open = false
	default:
		text, sum, _ := cutLast(line, ' ')
		var k Key
		word, _, _ := strings.Cut(text, " ")
		if sum == checksum(text) && k.UnmarshalText([]byte(word)) == nil {
			l.known[k] = false
		}
	}
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func checksum(text string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text))) }

// settle makes what is known old.
func (l *Ledger) settle() {
	for k := range l.known {
		l.known[k] = true
	}
}

// fresh reports whether a key was entered in a run that has not ended.
func (l *Ledger) fresh(k Key) bool {
	old, known := l.known[k]
	return known && !old
}

// begin notes that a run begins.
func (l *Ledger) begin() error {
	l.buf = append(l.buf, "begin\n"...)
	if err := l.sync(); err != nil {
		return err
	}
	l.open = true
	return nil
}

// end notes that a run has ended: nothing is held that should not be.
func (l *Ledger) end() error {
	l.buf = append(l.buf, "end\n"...)
	if err := l.sync(); err != nil {
		return err
	}
	l.open = false
	l.settle()
	return nil
}

// enter enters messages. They are on stable storage when it returns nil.
func (l *Ledger) enter(batch []entered) error {
	for _, e := range batch {
		text := e.key.String() + " " + e.id.String()
		l.buf = append(l.buf, text+" "+checksum(text)+"\n"...)
	}
	if err := l.sync(); err != nil {
		return err
	}
	for _, e := range batch {
		l.known[e.key] = false
	}
	return nil
}

// sync writes what is in the buffer. What failed once is not tried again: a
// later sync would say nothing about it.
func (l *Ledger) sync() error {
	if l.err != nil {
		return l.err
	}
	if _, l.err = l.f.WriteAt(l.buf, l.size); l.err == nil {
		l.err = l.f.Datasync()
	}
	if l.err != nil {
		l.err = fmt.Errorf("transfer: ledger: %w", l.err)
	}
	l.size += int64(len(l.buf))
	l.buf = l.buf[:0]
	return l.err
}
