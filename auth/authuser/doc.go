// Package authuser reads the table of qmail-authuser (users/authuser), which
// says how each user is authenticated:
//
//	# token:value
//	!evil@a.org          nobody by this name
//	!@b.org              nobody of this domain
//	joe:open sesame      the password itself
//	ann:==secret         the same, for passwords that begin with a mark: "=secret"
//	max:%5ebe2294ecd0e0f08eab7690d2a6ee69   MD5, SHA-1 or SHA-256 of the password
//	@a.org:&             everybody else of this domain, asked of another store
//	@:+                  everybody else with a domain
//	*:?                  everybody else
//
// What is more special counts, wherever it stands; denials come first. Tokens
// are compared without regard to ASCII case. A [Verifier] answers servers from a
// [Table], and passes on to other stores what the values "?", "!", "+", "&"
// and "=" ask for.
//
// # Promises
//
//   - A value that cannot be understood is an error that names its line when
//     the table is read, never a password.
//   - A store that is not there, or cannot be asked, is a temporary error.
//   - Secrets are compared in constant time, with a response only where a
//     response was asked for.
package authuser
