// Package smtpd receives mail over SMTP: the wire, the extensions, TLS,
// authentication and the state of each session. What may come in is decided
// by a [Policy], and what has come in belongs to a [sqmail.Receiver].
//
// The zero [Server] serves. It takes mail from this host and from
// authenticated users, and relays for nobody else; see [Server.Policy].
//
// # Promises
//
//   - A client hears 250 after a message only when the Receiver returned nil.
//   - An error that nobody classified is a deferral, whoever returned it:
//     Policy, Receiver or Verifier. The client hears a fixed sentence, the log
//     hears the cause.
//   - Every command has exactly one reply. Only CRLF ends a command, and only
//     CRLF "." CRLF ends a message. After whatever leaves in doubt where a
//     message ends the session is closed: no octet of a message, and nothing
//     that came in cleartext before TLS, is ever run as a command.
//   - Memory per session is bounded, whatever the client sends. Messages are
//     streamed; nothing holds one whole.
//   - No session outlives Shutdown or Close, and no work its client for long.
//
// # What is kept
//
// RFC 5321 (SMTP), 1870 (SIZE), 2034 (enhanced status codes), 2920
// (PIPELINING), 3030 (CHUNKING, without BINARYMIME), 3207 (STARTTLS), 3461
// (DSN), 3848 (trace keywords), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8),
// 8314 (implicit TLS), 8689 (REQUIRETLS), 9422 (LIMITS), and RFC 2033 (LMTP)
// with [Server.LMTP]; PROXY headers, and Postfix's XCLIENT.
//
// Package smtpdtest starts servers in tests.
package smtpd
