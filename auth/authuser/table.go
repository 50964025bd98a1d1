package authuser

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"strings"

	"github.com/sqmail/sqmail/auth"
)

const maxFileSize = 64 << 20

// Table is a file users/authuser. It does not change.
type Table struct {
	rules map[string]*Rule // by token in lower case
}

// Rule is a line of the table.
type Rule struct {
	// Token is whom it is for, as it was written.
	Token string

	// Store is the mark of the store that is asked: "?", "!" (accounts of the
	// system), "+" (VMailMgr), "&" (vpopmail), "=" (Dovecot). "": the line
	// itself decides.
	Store string

	// Line is where it stands in the file, from 1.
	Line int

	clear string // the password itself, or
	hash  []byte // MD5, SHA-1 or SHA-256 of it, by its length
}

// Denies reports whether the rule refuses whom it is for.
func (r *Rule) Denies() bool { return strings.HasPrefix(r.Token, "!") }

// ParseError is what is wrong with a line of a table.
type ParseError struct {
	File string
	Line int
	Err  error
}

// Error returns "file:line: reason".
func (e *ParseError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the reason.
func (e *ParseError) Unwrap() error { return e.Err }

// Parse reads a table, up to 64 MiB. file is its name for errors. What is wrong
// with lines is a [*ParseError] for each, the first twenty of them joined. Of
// lines for the same token the last one counts.
func Parse(r io.Reader, file string) (*Table, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFileSize {
		return nil, fmt.Errorf("authuser: %s is longer than %d octets", file, maxFileSize)
	}
	t := &Table{rules: map[string]*Rule{}}
	var errs []error
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		rule, err := parseRule(line)
		if err != nil {
			errs = append(errs, &ParseError{file, number, err})
			if len(errs) == 20 {
				break
			}
			continue
		}
		rule.Line = number
		t.rules[lower(rule.Token)] = rule
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

// parseRule parses a line, which is not empty. No error shows a password.
func parseRule(line string) (*Rule, error) {
	token, value, found := strings.Cut(line, ":")
	r := &Rule{Token: token}
	switch {
	case strings.IndexByte(line, 0) >= 0:
		return nil, errors.New("there is a NUL in the line")
	case token == "" || token == "!":
		return nil, errors.New("a line is token:value, or !user")
	case r.Denies():
		return r, nil
	case !found:
		return nil, errors.New("a line is token:value; only those that deny, !user, need no colon")
	}
	switch {
	case value == "":
		return nil, errors.New(`the password is missing; to refuse a user, write "!" in front`)
	case len(value) == 1:
		if !strings.Contains("?!+&=", value) {
			return nil, errors.New("a value of one character is ?, !, +, & or =")
		}
		r.Store = value
	case value[0] == '=':
		r.clear = value[1:]
	case value[0] == '%':
		hash, err := hex.DecodeString(value[1:])
		if err != nil || sums[len(hash)] == nil {
			return nil, errors.New("behind % stand 32, 40 or 64 hexadecimal digits; a password that begins with % is written =%password")
		}
		r.hash = hash
	default:
		r.clear = value
	}
	return r, nil
}

// Lookup returns the rule for a user name, nil if there is none. The order is
// (auth.md, 4.1): !user, !@domain, user, @domain, "@" for names with a domain,
// "*".
func (t *Table) Lookup(user string) *Rule {
	user = lower(user)
	domain := ""
	if at := strings.LastIndexByte(user, '@'); at >= 0 {
		domain = user[at:]
	}
	for _, token := range []string{"!" + user, "!" + domain, user, domain, "@", "*"} {
		if token == "" || token == "!" || token == "@" && domain == "" {
			continue
		}
		if rule := t.rules[token]; rule != nil {
			return rule
		}
	}
	return nil
}

// Rules returns all rules that count, in no order.
func (t *Table) Rules() iter.Seq[*Rule] { return maps.Values(t.rules) }

// check reports whether c proves knowledge of the rule's own secret.
func (r *Rule) check(c *auth.Credentials) bool {
	if r.hash != nil {
		return c.HasPassword() && sumMatches(r.hash, c.Password)
	}
	return c.Match(r.clear)
}

// lower turns ASCII letters into lower case, and leaves other octets alone.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
