package filter

import (
	"bytes"
	"context"
	"errors"

	"github.com/sqmail/sqmail"
)

// UserDatabase is the [Mailboxes] of a database with a key ":" + address, in
// lower case, for each mailbox, as qmail-recipients and fastforward's setforward
// write it.
type UserDatabase struct {
	// Users holds the addresses.
	Users Database
}

// HasMailbox looks the address up.
func (d *UserDatabase) HasMailbox(_ context.Context, s *Session, to sqmail.Path) (bool, error) {
	if db, ok := d.Users.(*CDB); ok { // the same, without a key in the heap
		var buf [128]byte
		_, found, err := db.Get(lowered(append(append(buf[:0], ':'), s.unquoted(to)...)))
		return found, err
	}
	_, found, err := d.Users.Get([]byte(":" + lower(s.unquoted(to))))
	return found, err
}

// Assignments is the [Mailboxes] of a database that qmail-newu made of
// users/assign: a local part is known if it is assigned, or begins with the
// prefix of a wildcard assignment that ends in a break character. The catch-all
// assignment knows nobody. Spec: filter.md, 7.2.
type Assignments struct {
	// Users holds the assignments.
	Users Database

	// Prefix, if not nil, returns what is put before the local parts of a
	// domain, as virtualdomains has it with a "-" behind it: "joe-" for
	// "example.org:joe".
	Prefix func(domain string) string
}

var errNotAssignments = errors.New("filter: database was not made of users/assign")

// HasMailbox looks the local part up.
func (d *Assignments) HasMailbox(_ context.Context, _ *Session, to sqmail.Path) (bool, error) {
	local := lower(to.LocalPart())
	if d.Prefix != nil {
		local = lower(d.Prefix(to.Domain)) + local
	}
	_, found, err := d.Users.Get([]byte("!" + local + "\x00"))
	if found || err != nil {
		return found && err == nil, err
	}
	breaks, found, err := d.Users.Get(nil)
	switch {
	case err != nil:
		return false, err
	case !found:
		return false, errNotAssignments
	}
	for i := len(local); i > 0; i-- {
		if bytes.IndexByte(breaks, local[i-1]) < 0 {
			continue
		}
		if _, found, err := d.Users.Get([]byte("!" + local[:i])); found || err != nil {
			return found && err == nil, err
		}
	}
	return false, nil
}
