// Package pop3 is a POP3 server (RFC 1939) with CAPA (RFC 2449), STLS (RFC
// 2595), response codes (RFC 3206), AUTH (RFC 5034) and APOP.
//
// A [Server] asks an [auth.Verifier] who the client is and opens that user's
// [Maildrop]: a maildir ([Maildirs]), unless [Server.Open] says otherwise.
//
// # Promises
//
//   - Nothing is removed but by DELE and QUIT. A session that ends in any
//     other way leaves the maildrop as it found it.
//   - QUIT gets exactly one reply. +OK means that what was deleted is gone for
//     good, also after a loss of power.
//   - Message numbers and unique-ids stay the same during a session, whatever
//     others do to the maildrop; there is no lock, and no session keeps another
//     one out.
//   - Sizes are those of RFC 1939, 11: with CRLF line ends. What RETR sends has
//     that size.
//   - A wrong password is told from a server that cannot check it: -ERR
//     [AUTH], -ERR [SYS/TEMP]. An error that nobody classified is the latter.
//   - The client hears fixed sentences; the log hears the cause.
//   - A session ends after one failed login, which is answered late.
package pop3

import "github.com/sqmail/sqmail/internal/serve"

// ErrServerClosed is returned by Serve and its like after Shutdown or Close.
var ErrServerClosed = serve.ErrServerClosed
