package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sqmail/sqmail/auth/authuser"
	"github.com/sqmail/sqmail/auth/userfile"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/internal/maildir"
)

// Users knows who has mail here. Who controls a local part is decided by
// users/assign first, then by users/accounts: joe-list belongs to the account
// joe-list, or else to joe, with the extension "list". It is a [local.Users];
// what belongs to nobody is the alias user's.
type Users struct {
	// File is users/accounts, which is followed as it changes.
	File *userfile.File

	// Alias is the directory of the alias user.
	Alias string

	assign assigner // nil: nobody is assigned
}

// users reads users/assign, and checks users/accounts.
func (s *source) users(c *Config) *Users {
	const accounts = "users/accounts"
	u := &Users{File: fileOf(c.Home), Alias: filepath.Join(c.Home, "alias")}
	if text, found := s.read(accounts); found {
		if _, err := userfile.Parse(bytes.NewReader(text), accounts, c.Home); err != nil {
			s.parseErrors(accounts, err)
		}
	}
	u.assign = s.assignments()
	return u
}

// assignments reads users/assign, or where that is absent the database that was
// made of it: users/assign.cdb, or users/cdb as it was called before 4.2. Nil:
// there are none.
func (s *source) assignments() assigner {
	const file = "users/assign"
	if text, found := s.read(file); found {
		return parseAssign(text, s.complainOf(file))
	}
	for _, name := range []string{file + ".cdb", "users/cdb"} {
		if s.missing(file) {
			if db := s.database(name); db != nil {
				return assignedDB{db}
			}
		}
	}
	return nil
}

func fileOf(home string) *userfile.File {
	return &userfile.File{Path: filepath.Join(home, "users", "accounts"), Root: home}
}

// parseErrors tells what a parser of package auth found wrong with a file.
func (s *source) parseErrors(file string, err error) {
	for _, err := range unjoined(err) {
		if e, ok := errors.AsType[*userfile.ParseError](err); ok {
			s.fatal(file, e.Line, "%v", e.Err)
		} else if e, ok := errors.AsType[*authuser.ParseError](err); ok {
			s.fatal(file, e.Line, "%v", e.Err)
		} else {
			s.fatal(file, 0, "%v", err)
		}
	}
}

// unjoined undoes errors.Join.
func unjoined(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// Lookup returns who controls a local part. The error is [local.ErrNoUser] if it
// is the alias user's; any other is a deferral.
func (u *Users) Lookup(_ context.Context, name string) (local.User, error) {
	if u.assign != nil {
		if user, found, err := u.assign.lookup(name); found || err != nil {
			return user, err
		}
	}
	table, err := u.File.Table()
	if err != nil {
		return local.User{}, err
	}
	if a, found := table.Lookup(name); found {
		return local.User{Name: a.Name, Home: a.Home}, nil
	}
	for i := min(len(name), 65) - 1; i > 0; i-- {
		if name[i] != '-' {
			continue
		}
		if a, found := table.Lookup(name[:i]); found {
			return local.User{Name: a.Name, Home: a.Home, Dash: "-", Ext: name[i+1:]}, nil
		}
	}
	return local.User{}, local.ErrNoUser
}

// List returns the accounts, in the order of their file.
func (u *Users) List() ([]*userfile.Account, error) {
	table, err := u.File.Table()
	if err != nil {
		return nil, err
	}
	return table.Accounts(), nil
}

// UsersOf returns the users of a home that need not be sound otherwise: those of
// users/accounts. home should be absolute.
func UsersOf(home string) *Users {
	return &Users{File: fileOf(home), Alias: filepath.Join(home, "alias")}
}

// Add makes a user, with home/NAME below the home directory and a Maildir in
// it. What is there already stays as it is, mail of a former user included.
// secret is what [userfile.Hash] or [userfile.Clear] returned. The errors are
// those of [userfile.File.Add], and of the file system.
//
// The user exists from the moment on at which the line in users/accounts is
// on stable storage; until then nothing but empty directories does.
func (u *Users) Add(name, secret string) error {
	table, err := u.File.Table()
	if err != nil {
		return err
	}
	if !userfile.ValidName(name) {
		return fmt.Errorf("%w: %.80q", userfile.ErrName, name)
	}
	if _, found := table.Lookup(name); found {
		return fmt.Errorf("%w: %s", userfile.ErrExists, name)
	}
	root := filepath.Join(u.File.Root, "home")
	if err := makeDir(root, 0o755); err != nil {
		return err
	}
	home := filepath.Join(root, name)
	if err := makeDir(home, 0o700); err != nil {
		return err
	}
	if err := makeMaildir(filepath.Join(home, "Maildir")); err != nil {
		return err
	}
	if err := syncDir(root); err != nil {
		return err
	}
	return u.File.Add(name, "", secret)
}

// SetSecret gives a user another password; see [userfile.File.SetSecret].
func (u *Users) SetSecret(name, secret string) error { return u.File.SetSecret(name, secret) }

// Remove removes a user, and no mail: the home directory stays. Further mail
// is the alias user's.
func (u *Users) Remove(name string) error { return u.File.Remove(name) }

// makeDir makes a directory that belongs to the owner of its parent, unless it
// exists.
func makeDir(dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(dir, mode) // whatever the umask
	}
	if err == nil {
		err = giveToOwnerOf(filepath.Dir(dir), dir)
	}
	return err
}

func makeMaildir(dir string) error {
	if err := maildir.Dir(dir).Create(); err != nil {
		return err
	}
	for _, sub := range []string{"", "tmp", "new", "cur"} {
		if err := giveToOwnerOf(filepath.Dir(dir), filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	return nil
}

// giveToOwnerOf gives what root makes to whom the home belongs to: the daemon
// does not run as root. Others own what they make.
func giveToOwnerOf(model, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(model)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// syncDir has the entries of a directory reach stable storage.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
