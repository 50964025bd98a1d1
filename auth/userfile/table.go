package userfile

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
)

const (
	maxLine     = 8192
	maxFileSize = 64 << 20
	maxErrors   = 20
)

// Table is the content of a file, and does not change.
type Table struct {
	accounts []*Account
	byName   map[string]*Account
	seed     maphash.Seed
}

// ParseError is what is wrong with a line of a file.
type ParseError struct {
	File string
	Line int
	Err  error
}

// Error returns "file:line: reason".
func (e *ParseError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the reason.
func (e *ParseError) Unwrap() error { return e.Err }

// Parse reads a file's content, up to 64 MiB. Relative homes are below root;
// file is its name for errors. What is wrong with lines is a [*ParseError] for
// each, the first twenty of them joined. An error of r is returned as it is.
func Parse(r io.Reader, file, root string) (*Table, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFileSize {
		return nil, fmt.Errorf("userfile: %s is longer than %d octets", file, maxFileSize)
	}
	t := &Table{byName: map[string]*Account{}, seed: maphash.MakeSeed()}
	var errs []error
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if err := t.add(number, trimEnd(line), root); err != nil {
			errs = append(errs, &ParseError{file, number, err})
		}
		if len(errs) == maxErrors {
			break
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

// trimEnd cuts the line end. Blanks may belong to a password.
func trimEnd(line string) string {
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
}

// isAccount reports whether the line has an account to tell of.
func isAccount(line string) bool {
	return strings.Trim(line, " \t") != "" && line[0] != '#'
}

func (t *Table) add(number int, line, root string) error {
	if len(line) > maxLine || strings.IndexByte(line, 0) >= 0 {
		return errors.New("line too long, or with NUL")
	}
	if !isAccount(line) {
		return nil
	}
	account, err := parseAccount(line, root)
	if err != nil {
		return err
	}
	if first := t.byName[account.Name]; first != nil {
		return fmt.Errorf("user %s stands in line %d already", account.Name, first.Line)
	}
	account.Line = number
	t.byName[account.Name] = account
	t.accounts = append(t.accounts, account)
	return nil
}

// Lookup returns the account of that name, in any case.
func (t *Table) Lookup(name string) (*Account, bool) {
	if len(name) > 64 {
		return nil, false
	}
	a := t.byName[lower(name)]
	return a, a != nil
}

// Accounts returns all accounts in the order of the file.
func (t *Table) Accounts() []*Account { return slices.Clone(t.accounts) }

// decoy returns what a password for an unknown name is checked against: the
// secret of some account, always the same one for a name, so that the time
// looks like that of an account.
func (t *Table) decoy(name string) *secret {
	if len(t.accounts) == 0 {
		return nil
	}
	n := maphash.String(t.seed, lower(name)) % uint64(len(t.accounts))
	return &t.accounts[n].secret
}

// lower turns ASCII letters into lower case, and leaves others alone.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
