package userfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Account is a user of the file.
type Account struct {
	// Name is the user's name, in lower case.
	Name string

	// Home is the home directory, absolute if the File's Root is.
	Home string

	// Line is where the account stands in the file, from 1.
	Line int

	secret secret
}

// Maildir returns the directory that gets the user's mail: Maildir in Home.
func (a *Account) Maildir() string { return filepath.Join(a.Home, "Maildir") }

// Locked reports whether the user cannot log in.
func (a *Account) Locked() bool { return a.secret.locked }

// Challenged reports whether the user can log in with CRAM-MD5 and APOP.
func (a *Account) Challenged() bool { return a.secret.clear != "" && !a.secret.locked }

// ErrName is the error of a name that cannot be a user's.
var ErrName = errors.New(`userfile: a name has 1 to 64 of the letters a-z, digits and "_", "-", ".", "+", "=", and begins with a letter or a digit`)

// ValidName reports whether name can be a user's: it is safe as the name of a
// directory and as a local part, and has no upper-case letters.
func ValidName(name string) bool {
	if name == "" || len(name) > 64 || strings.IndexByte("_-.+=", name[0]) >= 0 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("_-.+=", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// parseAccount parses a line, which is neither empty nor a comment.
func parseAccount(line, root string) (*Account, error) {
	name, rest, found := strings.Cut(line, ":")
	home, text, found2 := strings.Cut(rest, ":")
	if !found || !found2 {
		return nil, errors.New("a line is name:home:secret")
	}
	if !ValidName(name) {
		return nil, fmt.Errorf("%.80q is no user name", name)
	}
	if home != "" && !validHome(home) {
		return nil, fmt.Errorf("home %.80q leads out of the root directory", home)
	}
	s, err := parseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return &Account{Name: name, Home: homeOf(name, home, root), secret: s}, nil
}

// validHome takes absolute directories, and relative ones below the root.
func validHome(home string) bool {
	return len(home) < 4096 && strings.IndexByte(home, 0) < 0 && (filepath.IsAbs(home) || filepath.IsLocal(home))
}

func homeOf(name, home, root string) string {
	if home == "" {
		home = filepath.Join("home", name)
	}
	if filepath.IsAbs(home) {
		return filepath.Clean(home)
	}
	return filepath.Join(root, home)
}
