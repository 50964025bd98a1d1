package control

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Check returns everything that is wrong or doubtful about a home, the fatal
// first, in the order of files and lines: what Load looks at, and besides files
// that nothing reads, and directories and aliases that are missing. It never
// returns a secret.
func Check(home string) []Problem {
	home, err := filepath.Abs(home)
	if err != nil {
		return []Problem{{Text: err.Error(), Fatal: true}}
	}
	return CheckFS(os.DirFS(home), home)
}

// CheckFS is [Check], as [LoadFS] is Load.
func CheckFS(fsys fs.FS, home string) []Problem {
	s := newSource(fsys)
	if info, found := s.stat("."); !found || !info.IsDir() {
		s.fatal(".", 0, "there is no directory %s", home)
		return s.problems
	}
	s.config(home)
	s.close()
	s.strangers()
	s.directories()
	slices.SortStableFunc(s.problems, func(a, b Problem) int {
		if a.Fatal != b.Fatal {
			if a.Fatal {
				return -1
			}
			return 1
		}
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
	return slices.Compact(s.problems)
}

// strangers warns of files in control that nothing reads.
func (s *source) strangers() {
	entries, err := fs.ReadDir(s.fsys, "control")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fatal("control", 0, "cannot be read: %v", cause(err))
	}
	for _, e := range entries {
		file := "control/" + e.Name()
		_, asked := s.stamps[file]
		what, isKnown := knownFiles[e.Name()]
		source, isCDB := strings.CutSuffix(e.Name(), ".cdb")
		switch {
		case strings.HasPrefix(e.Name(), "."), asked:
		case isKnown && what.later:
			s.warn(file, 0, "is not supported yet, and has no effect")
		case isKnown:
		case isCDB && s.stamps["control/"+source] != "":
		case strings.HasPrefix(e.Name(), "rules."):
			s.warn(file, 0, "no service in control/services names it")
		default:
			s.warn(file, 0, "there is no such control file; it has no effect")
		}
		if what.secret && !asked {
			s.read(file) // for its mode
		}
	}
}

// directories warns of what a home should have besides control.
func (s *source) directories() {
	for _, dir := range []string{"alias", "queue", "users"} {
		info, found := s.stat(dir)
		if !found {
			s.warn(dir, 0, "does not exist")
		} else if !info.IsDir() {
			s.fatal(dir, 0, "is no directory")
		} else if info.Mode().Perm()&0o002 != 0 {
			s.warn(dir, 0, "everybody can write to it (mode %04o)", info.Mode().Perm())
		}
	}
	if _, found := s.stat("alias/.qmail-default"); found {
		return
	}
	for _, name := range []string{"postmaster", "mailer-daemon"} {
		if _, found := s.stat("alias/.qmail-" + name); !found {
			s.warn("alias/.qmail-"+name, 0, "does not exist: unless there is a user %s, mail for it bounces", name)
		}
	}
}
