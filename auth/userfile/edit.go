package userfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The errors of changes.
var (
	ErrExists = errors.New("userfile: user exists")
	ErrNoUser = errors.New("userfile: no such user")
)

// Add adds a user. home may be "", for home/NAME below the root directory;
// nothing is made there. secret is what [Hash] or [Clear] returned, or "!" for
// a user who cannot log in. The error is ErrExists, [ErrName], that of a secret
// or home that cannot be, or that of the file: a broken file is not changed.
//
// When Add returns nil the file is on stable storage. A file that did not exist
// is readable by its owner and group. Programs that change the file with this
// package take turns.
func (f *File) Add(name, home, secret string) error {
	if !ValidName(name) {
		return fmt.Errorf("%w: %.80q", ErrName, name)
	}
	line := name + ":" + home + ":" + secret
	if strings.ContainsAny(line, "\r\n\x00") || len(line) > maxLine || strings.Contains(home, ":") {
		return errors.New("userfile: line end, NUL or colon where it cannot be")
	}
	if _, err := parseAccount(line, f.Root); err != nil {
		return fmt.Errorf("userfile: %w", err)
	}
	return f.edit(func(lines []string, t *Table) ([]string, error) {
		if _, found := t.Lookup(name); found {
			return nil, fmt.Errorf("%w: %s", ErrExists, name)
		}
		return append(lines, line), nil
	})
}

// SetSecret gives a user another secret. The error is ErrNoUser, or as for
// Add.
func (f *File) SetSecret(name, secret string) error {
	if strings.ContainsAny(secret, "\r\n\x00") {
		return errors.New("userfile: line end or NUL in secret")
	}
	if _, err := parseSecret(secret); err != nil {
		return fmt.Errorf("userfile: %w", err)
	}
	return f.edit(func(lines []string, t *Table) ([]string, error) {
		account, found := t.Lookup(name)
		if !found {
			return nil, fmt.Errorf("%w: %.80q", ErrNoUser, name)
		}
		fields := strings.SplitN(lines[account.Line-1], ":", 3)
		lines[account.Line-1] = fields[0] + ":" + fields[1] + ":" + secret
		return lines, nil
	})
}

// Remove removes a user from the file, and nothing else. The error is
// ErrNoUser, or as for Add.
func (f *File) Remove(name string) error {
	return f.edit(func(lines []string, t *Table) ([]string, error) {
		account, found := t.Lookup(name)
		if !found {
			return nil, fmt.Errorf("%w: %.80q", ErrNoUser, name)
		}
		return append(lines[:account.Line-1], lines[account.Line:]...), nil
	})
}

// edit replaces the file by what change makes of its lines. It holds a lock on
// the directory, so that two programs do not undo each other's changes.
func (f *File) edit(change func([]string, *Table) ([]string, error)) error {
	dir, err := os.Open(filepath.Dir(f.Path))
	if err != nil {
		return fmt.Errorf("userfile: %w", err)
	}
	defer dir.Close() // and ends the lock
	if err := lock(dir); err != nil {
		return fmt.Errorf("userfile: lock %s: %w", dir.Name(), err)
	}
	lines, table, err := f.load()
	if err != nil {
		return fmt.Errorf("userfile: %w", err)
	}
	if lines, err = change(lines, table); err != nil {
		return err
	}
	if err := f.replace(lines, dir); err != nil {
		return fmt.Errorf("userfile: %w", err)
	}
	f.forget()
	return nil
}

// lock waits for the directory's lock; a signal may interrupt it.
func lock(dir *os.File) error {
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
		if err != syscall.EINTR {
			return err
		}
	}
}

// load returns the lines of the file as it is, and what they mean.
func (f *File) load() ([]string, *Table, error) {
	text, err := os.ReadFile(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	table, err := Parse(strings.NewReader(string(text)), f.Path, f.Root)
	if err != nil {
		return nil, nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines, table, nil
}

// replace writes the lines to a new file, and gives it the old one's place.
// Power may fail at any line: the name is given last, and to a file that is on
// stable storage.
func (f *File) replace(lines []string, dir *os.File) error {
	file, err := os.CreateTemp(dir.Name(), "."+filepath.Base(f.Path)+"-*.tmp")
	if err != nil {
		return err
	}
	err = f.fill(file, lines)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), f.Path)
	}
	if err != nil {
		os.Remove(file.Name())
		return err
	}
	return dir.Sync()
}

func (f *File) fill(file *os.File, lines []string) error {
	mode := fs.FileMode(0o640)
	if old, err := os.Stat(f.Path); err == nil {
		mode = old.Mode().Perm()
		if owner, ok := old.Sys().(*syscall.Stat_t); ok {
			// Only root can give files away; others own the old one.
			if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil && os.Geteuid() == 0 {
				return err
			}
		}
	}
	if err := file.Chmod(mode); err != nil {
		return err
	}
	text := strings.Join(lines, "\n")
	if len(lines) > 0 {
		text += "\n"
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Sync()
}

// forget has the next Table read the file, however young it is.
func (f *File) forget() {
	f.mu.Lock()
	f.last = stamp{}
	f.mu.Unlock()
}
