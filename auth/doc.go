// Package auth proves who a client is: the contract between servers and
// stores of users, and the server's side of the SASL mechanisms.
//
// A server (smtpd, pop3) collects [Credentials] and asks a [Verifier]. A store
// of users implements the Verifier's one method; a function does, too
// ([VerifierFunc]). Package auth/userfile keeps users in a text file, package
// auth/authuser reads the table of qmail-authuser.
//
// # Promises
//
//   - Wrong credentials are an error that wraps [ErrRejected]. Every other
//     error is temporary: a client is never told that its password is wrong
//     because a store could not be asked.
//   - A response to a challenge is checked as that and as nothing else: the
//     password itself is never taken in its place ([Credentials.Match]).
//   - Secrets are compared in constant time.
//   - What a client sends is bounded before it reaches a Verifier.
//
// How often a client may try, and how long it waits after a failure, is the
// server's to decide.
package auth
