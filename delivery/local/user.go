package local

import (
	"context"
	"errors"
)

// User is who controls an address.
type User struct {
	// Name is the user's name, for programs.
	Name string

	// Home is the absolute path of the directory that holds the .qmail files,
	// and in which deliveries take place.
	Home string

	// Dash and Ext choose the file: .qmail, then Dash, then Ext. For joe's
	// plain address both are ""; for joe-list they are "-" and "list".
	Dash, Ext string

	// Default are the instructions if there is no file or it is empty. "":
	// the Agent's.
	Default string
}

// Users knows who controls the addresses of this host.
//
// Lookup is given a local part, without quotes, as the router made it: with
// the prefix of a virtual domain, and in the case it was written in. It
// returns ErrNoUser if nobody controls it; every other error is a deferral. It
// is called concurrently.
type Users interface {
	Lookup(ctx context.Context, local string) (User, error)
}

// ErrNoUser says that no user controls an address. It then belongs to
// [Agent.Alias].
var ErrNoUser = errors.New("local: no such user")

// UsersFunc makes a function [Users].
type UsersFunc func(ctx context.Context, local string) (User, error)

// Lookup calls f.
func (f UsersFunc) Lookup(ctx context.Context, local string) (User, error) { return f(ctx, local) }
