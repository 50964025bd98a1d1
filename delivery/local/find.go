package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// safeExt makes an extension part of a file's name. With its dots it loses the
// way out of the home directory.
func safeExt(ext string) string {
	b := []byte(ext)
	for i, c := range b {
		switch {
		case c == '.':
			b[i] = ':'
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// candidate is a dot-qmail file that may control an address.
type candidate struct {
	name string

	// rest is what the word "default" in the name stands for, if isDefault.
	rest      string
	isDefault bool
}

// candidates returns the files that may control an address, the most special
// one first: the address's own, then for each prefix of it that ends in "-",
// and for the empty one, the default.
func candidates(dash, ext string) []candidate {
	const word = "default"
	safe := safeExt(ext)
	list := []candidate{{name: ".qmail" + dash + safe}}
	if strings.HasSuffix(safe, word) {
		list[0].rest, list[0].isDefault = ext[len(ext)-len(word):], true
	}
	for i := len(safe); i >= 0; i-- {
		if i == 0 || safe[i-1] == '-' {
			list = append(list, candidate{name: ".qmail" + dash + safe[:i] + word, rest: ext[i:], isDefault: true})
		}
	}
	return list
}

// maxDotQmail bounds the size of a dot-qmail file: a list of 100,000
// addresses.
const maxDotQmail = 4 << 20

// dotQmail is the file that controls an address. The zero dotQmail: none.
type dotQmail struct {
	candidate
	text        []byte
	forwardOnly bool // the owner's execute bit is set
}

// find looks for the file that controls an address in a home directory.
func find(home, dash, ext string, mask fs.FileMode) (dotQmail, error) {
	for _, c := range candidates(dash, ext) {
		text, mode, err := readDotQmail(home + "/" + c.name)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return dotQmail{}, fail(err, "Unable to open %s: %s. (#4.3.0)", c.name, reason(err))
		}
		if mode&mask != 0 {
			return dotQmail{}, fail(nil, "Uh-oh: .qmail file is writable. (#4.7.0)")
		}
		return dotQmail{candidate: c, text: text, forwardOnly: mode&0o100 != 0}, nil
	}
	return dotQmail{}, nil
}

var errNotRegular = errors.New("not a regular file")

// readDotQmail reads a file without waiting for the writer of a pipe. Links
// are followed: mailing list managers make them.
func readDotQmail(path string) (text []byte, mode fs.FileMode, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errNotRegular
	}
	text, err = io.ReadAll(io.LimitReader(f, maxDotQmail+1))
	if err == nil && len(text) > maxDotQmail {
		err = fmt.Errorf("file is larger than %d octets", maxDotQmail)
	}
	return text, info.Mode(), err
}

// isAbsent reports whether an error means that there is no such file, so that
// the search goes on. Anything that may be different tomorrow does not.
func isAbsent(err error) bool {
	for _, absent := range []error{
		errNotRegular, fs.ErrNotExist, syscall.ENOTDIR, syscall.ENAMETOOLONG,
		syscall.EINVAL, syscall.ELOOP, syscall.ENXIO, syscall.EISDIR,
	} {
		if errors.Is(err, absent) {
			return true
		}
	}
	return false
}

// reason returns what an error says without the path that it names, which is
// nobody's business abroad.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error()
	}
	return "trouble"
}
