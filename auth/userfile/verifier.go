package userfile

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"

	"github.com/sqmail/sqmail/auth"
)

// Verifier checks credentials against a [File]. It is an [auth.Verifier].
type Verifier struct {
	// File is where the users are. Nil: nobody can tell, which is temporary.
	File *File

	// IsLocal says whether NAME@domain is the user NAME. Nil: a name with a
	// domain is nobody's.
	IsLocal func(domain string) bool

	// Concurrent bounds the checks of passwords that run at a time; others
	// wait. 0: GOMAXPROCS.
	Concurrent int

	once   sync.Once
	slots  chan struct{}
	nobody secret
}

// nobody is the hash of no password, made with what Hash makes: what passwords
// are checked against when the file has no users.
const nobody = "$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

// Verify returns the account that the credentials prove. The error wraps
// [auth.ErrRejected] if they prove none, or it is temporary: the file could
// never be read, or ctx has ended while others were being checked.
func (v *Verifier) Verify(ctx context.Context, c *auth.Credentials) (auth.Identity, error) {
	if v.File == nil {
		return auth.Identity{}, errors.New("userfile: a Verifier without File")
	}
	v.once.Do(v.prepare)
	table, err := v.File.Table()
	if err != nil {
		return auth.Identity{}, err
	}
	name := v.userOf(c.User)
	account, found := table.Lookup(name)
	against := &v.nobody
	if found && !account.secret.empty() {
		against = &account.secret
	} else if s := table.decoy(name); s != nil && !s.empty() {
		against = s
	}
	proven, err := v.check(ctx, against, c)
	switch {
	case err != nil:
		return auth.Identity{}, err
	case !found:
		return auth.Identity{}, auth.Rejected("no such user")
	case account.Locked():
		return auth.Identity{}, auth.Rejected("the account is locked")
	case !c.HasPassword() && account.secret.clear == "":
		return auth.Identity{}, auth.Rejected("the file has no password to check a response with, only a hash")
	case !proven:
		return auth.Identity{}, auth.Rejected("wrong password")
	}
	return auth.Identity{Name: account.Name, Home: account.Home, Maildir: account.Maildir()}, nil
}

// userOf cuts a domain that is ours.
func (v *Verifier) userOf(user string) string {
	at := strings.LastIndexByte(user, '@')
	if at >= 0 && v.IsLocal != nil && v.IsLocal(user[at+1:]) {
		return user[:at]
	}
	return user
}

func (v *Verifier) prepare() {
	n := v.Concurrent
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	v.slots = make(chan struct{}, n)
	v.nobody, _ = parseSecret(nobody) // TestNobodyIsAHash
}

// check checks one secret when it is its turn.
func (v *Verifier) check(ctx context.Context, s *secret, c *auth.Credentials) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
		return s.check(c), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// empty reports whether there is nothing to check against.
func (s *secret) empty() bool { return s.digest == nil && s.clear == "" }
