package control

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/auth/authuser"
	"github.com/sqmail/sqmail/auth/userfile"
)

// verifier asks users/accounts about its own users, and users/authuser, if there
// is one, about all others.
type verifier struct {
	users    *Users
	isLocal  func(domain string) bool
	accounts userfile.Verifier
	table    *authuser.Verifier // nil: there is no users/authuser
}

// Verifier returns what checks passwords, always the same: those of
// users/accounts, and of whom that does not know, those of users/authuser. It
// takes NAME@DOMAIN for the account NAME if the domain is in Locals.
//
// The values of users/authuser that ask another store ("?", "!", "+", "&",
// "=") are temporary errors: there is none.
func (c *Config) Verifier() auth.Verifier { return c.verifier }

func (s *source) verifier(c *Config) *verifier {
	const file = "users/authuser"
	v := &verifier{users: c.Users, isLocal: c.IsLocal, accounts: userfile.Verifier{File: c.Users.File, IsLocal: c.IsLocal}}
	text, found := s.read(file)
	if !found {
		return v
	}
	table, err := authuser.Parse(bytes.NewReader(text), file)
	if err != nil {
		s.parseErrors(file, err)
		return v
	}
	for rule := range table.Rules() {
		if rule.Store != "" {
			s.warn(file, rule.Line, "the store %q is not supported yet: such users cannot log in", rule.Store)
		}
	}
	v.table = &authuser.Verifier{Table: table}
	return v
}

// Verify asks who knows the user.
func (v *verifier) Verify(ctx context.Context, c *auth.Credentials) (auth.Identity, error) {
	if v.table == nil {
		return v.accounts.Verify(ctx, c)
	}
	accounts, err := v.users.File.Table()
	if err != nil {
		return auth.Identity{}, err
	}
	name := c.User
	if at := strings.LastIndexByte(name, '@'); at >= 0 && v.isLocal(name[at+1:]) {
		name = name[:at]
	}
	if _, known := accounts.Lookup(name); known {
		return v.accounts.Verify(ctx, c)
	}
	identity, err := v.table.Verify(ctx, c)
	if errors.Is(err, auth.ErrRejected) {
		v.accounts.Verify(ctx, c) // for the time that it takes: it does not show which file knows the user
	}
	if err != nil || identity.Home != "" {
		return identity, err
	}
	// users/assign may tell where the mail of this user is.
	if user, err := v.users.Lookup(ctx, name); err == nil && user.Dash == "" {
		identity.Home, identity.Maildir = user.Home, user.Home+"/Maildir"
	}
	return identity, nil
}
