// Package resolver asks the DNS as a mail host must: it tells "there is none"
// from "nobody could say" and never takes the second for the first.
//
// A [Client] is a stub: it asks recursive servers, those of the host by
// default, and has the methods of [net.Resolver] that mail needs, so that one
// serves wherever the other does. Beyond that one it keeps what it learnt for
// as long as the DNS allows, asks once for what many want to know at the same
// moment, and knows whether an answer was authenticated (RFC 4035, 4.9.3; see
// [Answer]).
//
// # Errors
//
// Every error is a [*net.DNSError], and exactly one of two is so:
//
//   - IsNotFound: the name does not exist, or has no records of the type
//     asked for; in the second case [errors.Is] finds [ErrNoData]. A name that
//     cannot exist is not found either.
//   - IsTemporary: nobody could say. IsTimeout is set too if time ran out.
//
// # What is not trusted
//
// An answer counts only if it comes from the server asked, with the number and
// the question of the query; a forged one is passed over, and many of them
// make the client ask again by TCP. The AD bit counts from servers on loopback
// only, unless [Client.TrustAD] is set. Answers, chains of aliases and the
// cache are bounded.
package resolver
