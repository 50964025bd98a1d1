package maildir

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// Entry is a message in a maildir.
type Entry struct {
	// Name is the file's name, in new if New, else in cur.
	Name string
	New  bool

	// Size is the message's size in octets, as it is stored.
	Size int64

	// Wire is its size with CRLF line ends, or -1 if its name does not tell;
	// see [Dir.WireSize].
	Wire int64

	// Modified is when the file was last written: when it was delivered.
	Modified time.Time
}

// UniqueID returns what names the message for ever, 1 to 70 visible ASCII
// characters (RFC 1939, 7): the file's name without flags, or a hash of it.
func (e Entry) UniqueID() string { return uniqueID(e.Name) }

// List returns the messages in new and cur, oldest first; those of the same
// age are in the order of their names. It stops after max messages, and memory
// with it; max ≤ 0 means no limit. A message that moves during the call is
// listed once.
func (d Dir) List(max int) ([]Entry, error) {
	found := make(map[string]Entry)
	// new comes first: what moves to cur meanwhile is seen again, not missed.
	for _, sub := range []string{"new", "cur"} {
		for file, err := range scan(d.path(sub)) {
			if err != nil {
				return nil, wrap(err)
			}
			if max > 0 && len(found) == max {
				break
			}
			if file.Mode().IsRegular() {
				found[base(file.Name())] = entry(file, sub == "new")
			}
		}
	}
	list := make([]Entry, 0, len(found))
	for _, e := range found {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(a.Modified.Compare(b.Modified), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

// entry trusts the sizes in a file's name only while they fit the file.
func entry(file fs.FileInfo, isNew bool) Entry {
	e := Entry{Name: file.Name(), New: isNew, Size: file.Size(), Modified: file.ModTime(), Wire: -1}
	wire := sizeField(e.Name, "W")
	if sizeField(e.Name, "S") == e.Size && wire >= e.Size && wire-e.Size <= e.Size {
		e.Wire = wire
	}
	return e
}

// scanStep is how many names of a directory are held at a time.
const scanStep = 256

// scan yields the files of a directory, links unfollowed, but for those whose
// names begin with a dot and those that vanish meanwhile. An error is the last
// thing it yields.
func scan(dir string) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		f, err := os.Open(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		for {
			files, err := f.ReadDir(scanStep)
			for _, file := range files {
				if strings.HasPrefix(file.Name(), ".") {
					continue
				}
				info, err := file.Info()
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if !yield(info, err) || err != nil {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}
