package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// The bounds of files that are read into memory. What is bigger is a database
// (.cdb), or not what it should be.
const (
	maxFile  = 16 << 20  // of a file in control, in octets
	maxUsers = 64 << 20  // of a file elsewhere
	maxLine  = 64 << 10  // of a line
	maxLines = 1_000_000 // of a file
)

// source reads the files of a home, and collects what is wrong with them.
type source struct {
	fsys     fs.FS
	problems []Problem
	told     map[Problem]int      // by file, and whether fatal, how many there were
	stamps   map[string]string    // what was seen of each file that was asked for, "" if it was not there
	origin   map[string]string    // where each single value comes from, "" by default
	broken   map[string]bool      // the files that are there and could not be used
	open     map[string]*database // by file
}

func newSource(fsys fs.FS) *source {
	return &source{
		fsys: fsys, told: map[Problem]int{}, stamps: map[string]string{}, origin: map[string]string{},
		broken: map[string]bool{}, open: map[string]*database{},
	}
}

// maxProblems is how many problems of one kind are told of a file.
const maxProblems = 50

// add adds problems, but not endlessly many.
func (s *source) add(problems ...Problem) {
	for _, p := range problems {
		kind := Problem{File: p.File, Fatal: p.Fatal}
		s.told[kind]++
		if s.told[kind] == maxProblems+1 {
			p.Text = "there is more from here on, which is not told"
		}
		if s.told[kind] <= maxProblems+1 {
			s.problems = append(s.problems, p)
		}
	}
}

// enough reports whether so much that is fatal was told of a file that the rest
// need not be looked at.
func (s *source) enough(file string) bool {
	return s.told[Problem{File: file, Fatal: true}] > maxProblems
}

func (s *source) fatal(file string, line int, format string, args ...any) {
	s.tell(file, line, true, format, args)
}

func (s *source) warn(file string, line int, format string, args ...any) {
	s.tell(file, line, false, format, args)
}

// tell is add for what need not be put into words any more if there was too much
// of it.
func (s *source) tell(file string, line int, fatal bool, format string, args []any) {
	if s.told[Problem{File: file, Fatal: fatal}] <= maxProblems {
		s.add(Problem{file, line, fmt.Sprintf(format, args...), fatal})
	}
}

// complainOf returns a complain for the lines of a file.
func (s *source) complainOf(file string) complain {
	return func(line int, fatal bool, text string) { s.add(Problem{file, line, text, fatal}) }
}

// read returns a file's content. Only a file that does not exist is absent;
// whatever else keeps it from being used is fatal, is told here, and never means
// the default. Callers that have more to say of a file that is not found ask
// missing.
func (s *source) read(file string) (text []byte, found bool) {
	f, info, err := s.openFile(file)
	if f == nil && err == nil {
		return nil, false
	}
	if err == nil {
		defer f.Close()
		text, err = readText(f, info, limitOf(file))
	}
	line := 0
	if err == nil {
		line, err = checkText(text)
	}
	if err != nil {
		s.broken[file] = true
		s.fatal(file, line, "cannot be read: %v", cause(err))
		return nil, false
	}
	s.checkMode(file, info.Mode(), text)
	return text, true
}

// missing reports that a file does not exist, and nothing else is wrong with
// it.
func (s *source) missing(file string) bool { return s.stamps[file] == "" && !s.broken[file] }

// openFile opens a regular file. f is nil without an error if nothing has its
// name.
func (s *source) openFile(file string) (f fs.File, info fs.FileInfo, err error) {
	info, err = s.statFile(file) // before it is opened: a FIFO would wait for its other end
	s.stamps[file] = stamp(info, err)
	if errors.Is(err, fs.ErrNotExist) {
		if link, lerr := s.lstatFile(file); lerr == nil && link.Mode()&fs.ModeSymlink != 0 {
			return nil, nil, errors.New("it is a symbolic link to nothing")
		}
		return nil, nil, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err == nil && filepath.IsAbs(file) {
		f, err = os.Open(file)
	} else if err == nil {
		f, err = s.fsys.Open(file)
	}
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, nil, err
	}
	s.stamps[file] = stamp(info, err)
	return f, info, nil
}

// statFile is Stat for names below the home, and for absolute ones.
func (s *source) statFile(file string) (fs.FileInfo, error) {
	if filepath.IsAbs(file) {
		return os.Stat(file)
	}
	return fs.Stat(s.fsys, file)
}

func (s *source) lstatFile(file string) (fs.FileInfo, error) {
	if filepath.IsAbs(file) {
		return os.Lstat(file)
	}
	return fs.Lstat(s.fsys, file)
}

func limitOf(file string) int64 {
	if strings.HasPrefix(file, "control/") {
		return maxFile
	}
	return maxUsers
}

// readText reads a file of at most limit octets.
func readText(f fs.File, info fs.FileInfo, limit int64) ([]byte, error) {
	tooLong := fmt.Errorf("it is longer than %d MiB", limit>>20)
	if info.Size() > limit {
		return nil, tooLong
	}
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	n, err := b.ReadFrom(io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = tooLong
	}
	return b.Bytes(), err
}

// checkText returns what no text has, and the line where it is.
func checkText(text []byte) (line int, err error) {
	for raw := range bytes.Lines(text) {
		line++
		switch {
		case bytes.IndexByte(raw, 0) >= 0:
			return line, errors.New("there is a NUL in it: it is no text")
		case len(raw) > maxLine:
			return line, fmt.Errorf("the line is longer than %d KiB", maxLine>>10)
		case line > maxLines:
			return line, fmt.Errorf("it has more than %d lines", maxLines)
		}
	}
	return 0, nil
}

// stat returns what is known of a file, and whether it exists.
func (s *source) stat(file string) (fs.FileInfo, bool) {
	info, err := s.statFile(file)
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
