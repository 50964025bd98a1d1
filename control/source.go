package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// maxFile is the greatest file that is read, in octets.
const maxFile = 64 << 20

// source reads the files of a home, and collects what is wrong with them.
type source struct {
	fsys     fs.FS
	problems []Problem
	stamps   map[string]string // what was seen of each file that was asked for, "" if it was not there
	origin   map[string]string // where each single value comes from, "" by default
}

func newSource(fsys fs.FS) *source {
	return &source{fsys: fsys, stamps: map[string]string{}, origin: map[string]string{}}
}

func (s *source) fatal(file string, line int, format string, args ...any) {
	s.problems = append(s.problems, Problem{file, line, fmt.Sprintf(format, args...), true})
}

func (s *source) warn(file string, line int, format string, args ...any) {
	s.problems = append(s.problems, Problem{file, line, fmt.Sprintf(format, args...), false})
}

// complainOf returns a complain for the lines of a file.
func (s *source) complainOf(file string) complain {
	return func(line int, fatal bool, text string) {
		s.problems = append(s.problems, Problem{file, line, text, fatal})
	}
}

// read returns a file's content. Only a file that does not exist is "not
// found"; whatever else keeps it from being read is fatal, and never means the
// default.
func (s *source) read(file string) (text []byte, found bool) {
	s.stamps[file] = ""
	f, err := s.fsys.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil {
		s.stamps[file] = stamp(fs.Stat(s.fsys, file))
		s.fatal(file, 0, "cannot be read: %v", cause(err))
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	s.stamps[file] = stamp(info, err)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	}
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it is longer than %d octets", maxFile)
	}
	if err != nil {
		s.fatal(file, 0, "cannot be read: %v", cause(err))
		return nil, false
	}
	s.checkMode(file, info.Mode(), text)
	return text, true
}

// stat returns what is known of a file, and whether it exists.
func (s *source) stat(file string) (fs.FileInfo, bool) {
	info, err := fs.Stat(s.fsys, file)
	s.stamps[file] = stamp(info, err)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.warn(file, 0, "cannot be looked at: %v", cause(err))
	}
	return info, err == nil
}

// cause cuts the path, which a Problem has already, from an error.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// checkMode warns of secrets that everybody can read, and of files that
// everybody can write.
func (s *source) checkMode(file string, mode fs.FileMode, text []byte) {
	if mode.Perm()&0o002 != 0 {
		s.warn(file, 0, "everybody can write to it (mode %04o)", mode.Perm())
	}
	secret := knownFiles[path.Base(file)].secret || bytes.Contains(text, []byte("PRIVATE KEY---"))
	if file == "control/smtproutes" || file == "control/domaincerts" {
		secret = bytes.IndexByte(text, '|') >= 0
	}
	if mode.Perm()&0o004 != 0 && secret {
		s.warn(file, 0, "everybody can read the secrets in it (mode %04o): chmod o= %s", mode.Perm(), file)
	}
}

// line returns the value of a file with one, or def if there is no such file.
// A file that is there and empty means "".
func (s *source) line(name, def string) string {
	file := "control/" + name
	text, found := s.read(file)
	if !found {
		s.origin[name] = ""
		return def
	}
	s.origin[name] = file
	return parseLine(text)
}

// host is line for a host name; def must be one. What is none is fatal.
func (s *source) host(name, def string) string {
	value := s.line(name, def)
	if s.origin[name] != "" && !validHost(value) {
		s.fatal("control/"+name, 1, "%.80q is no host name", value)
	}
	return value
}

// number returns the value of a file with a number: decimal digits at the
// start of its first line. Without digits def stands.
func (s *source) number(name string, def int64) int64 {
	file := "control/" + name
	value := s.line(name, "")
	if s.origin[name] == "" {
		return def
	}
	digits := value[:len(value)-len(strings.TrimLeft(value, "0123456789"))]
	if digits == "" {
		s.warn(file, 1, "%.80q is no number, the default of %d stands", value, def)
		return def
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt32 {
		s.fatal(file, 1, "%.20s… is more than %d", digits, math.MaxInt32)
		return def
	}
	if digits != value {
		s.warn(file, 1, "what follows the number %d is ignored", n)
	}
	return n
}

// list returns the entries of a list, and whether there is such a file.
func (s *source) list(name string) ([]Entry, bool) {
	file := "control/" + name
	text, found := s.read(file)
	return parseList(file, text, s.complainOf(file)), found
}

// table returns the entries of a map.
func (s *source) table(name string) []Entry {
	file := "control/" + name
	text, _ := s.read(file)
	return parseMap(file, text, s.complainOf(file))
}

// validHost reports whether name can stand in a greeting: labels of letters,
// digits, "-" and "_", at most 255 octets.
func validHost(name string) bool {
	if name == "" || len(name) > 255 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(lower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
