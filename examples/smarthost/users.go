package main

import (
	"context"
	"strings"

	"github.com/sqmail/sqmail/auth"
)

// users are names with their passwords: the smallest auth.Verifier. One for a
// file with hashes is in package auth/userfile.
type users map[string]string

// usersOf reads them from an environment.
func usersOf(environ []string) users {
	u := make(users)
	for _, entry := range environ {
		name, password, _ := strings.Cut(entry, "=")
		if name, found := strings.CutPrefix(name, "USER_"); found && password != "" {
			u[strings.ToLower(name)] = password
		}
	}
	return u
}

// Verify compares passwords without telling by its time how much is right.
func (u users) Verify(_ context.Context, c *auth.Credentials) (auth.Identity, error) {
	password, known := u[strings.ToLower(c.User)]
	if !c.Match(password) || !known {
		return auth.Identity{}, auth.ErrRejected
	}
	return auth.Identity{Name: strings.ToLower(c.User)}, nil
}
