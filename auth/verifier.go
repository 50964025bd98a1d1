package auth

import (
	"context"

	"github.com/sqmail/sqmail"
)

// A Verifier knows users and their secrets.
//
// Verify returns who it is that the credentials prove. The error wraps
// [ErrRejected] if they are wrong, if nobody has that name, or if the user may
// not log in; which of these it was may be said in the text, for the log, but
// should take the same time. Any other error means that nobody can tell now: the
// client is asked to try again later.
//
// Verify is called concurrently. ctx ends when the client is gone or the
// server is closed. The Credentials are the caller's, and not to be kept.
type Verifier interface {
	Verify(ctx context.Context, c *Credentials) (Identity, error)
}

// VerifierFunc makes a function a [Verifier].
type VerifierFunc func(ctx context.Context, c *Credentials) (Identity, error)

// Verify calls f.
func (f VerifierFunc) Verify(ctx context.Context, c *Credentials) (Identity, error) {
	return f(ctx, c)
}

// Identity is who a user is found to be.
type Identity struct {
	// Name is the user's name in the store's own spelling. "": the name that
	// the client gave.
	Name string

	// Home is the user's home directory, Maildir the one that gets the user's
	// mail, both absolute. "": the store does not know, or there is none.
	Home, Maildir string
}

// ErrRejected is the error of wrong credentials: a rejection, 535 5.7.8 (RFC
// 4954, 6). Find it with errors.Is; wrap it to tell the log more.
var ErrRejected error = &sqmail.Error{
	Op:    "auth",
	Class: sqmail.Rejection,
	Reply: sqmail.Reply{Code: 535, Enhanced: sqmail.EnhancedCode{5, 7, 8}, Text: "authentication failed"},
}

// rejection is ErrRejected with a reason for the log.
type rejection struct{ reason string }

func (e *rejection) Error() string { return "auth: rejected: " + e.reason }
func (e *rejection) Unwrap() error { return ErrRejected }

// Rejected returns an error that wraps [ErrRejected] and gives the log a
// reason: "no such user". The client never hears it.
func Rejected(reason string) error { return &rejection{reason} }
