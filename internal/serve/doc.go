// Package serve is the engine below every server of this module: it accepts
// connections, limits and tracks them, encrypts them, bounds every wait, and
// ends them in an orderly way.
//
// What it promises to a protocol:
//
//   - A handler runs in a goroutine of its own, which the server waits for. A
//     panic in it is logged and ends that connection only.
//   - No read and no write waits for ever; a peer can neither be silent nor
//     dribble to keep a connection ([Timeouts]).
//   - Replies are collected, and sent before the next read that has to wait
//     for the peer: pipelined commands are answered in one packet.
//   - Shutdown lets a session that is at work finish, and ends the one that
//     waits for a command at once: its ReadLine fails with [ErrServerClosed],
//     so that it can say goodbye.
//   - A peer that leaves while a handler works for it ends the handler's
//     context ([Conn.Watch]), without a goroutine per connection.
//   - An idle connection holds no buffer but 256 octets.
//
// A connection's way in: total limit, preamble (where a PROXY header is read,
// and may replace the addresses), limits by address, TLS if it is implicit,
// handler.
package serve

import "errors"

// ErrServerClosed is returned by Serve after Shutdown or Close, and by
// [Conn.ReadLine] and [Conn.Await] when the server is shutting down: say so,
// and return.
var ErrServerClosed = errors.New("server closed")

// Errors of a connection.
var (
	// ErrIdle: the peer did not send a whole command in time.
	ErrIdle = errors.New("serve: peer is idle")

	// ErrSlow: the peer sends its message too slowly.
	ErrSlow = errors.New("serve: peer is too slow")

	// ErrPlaintext: the peer sent more behind the command that starts TLS. It
	// could be an attacker's, to be taken for what came encrypted (RFC 3207,
	// 4.2). The connection is closed.
	ErrPlaintext = errors.New("serve: plaintext behind the command that starts TLS")

	// ErrTLSActive: the connection is encrypted already.
	ErrTLSActive = errors.New("serve: TLS is active")

	// ErrNoTLS: there is no TLS configuration.
	ErrNoTLS = errors.New("serve: no TLS configuration")
)

// Why a connection is refused.
var (
	ErrTooMany           = errors.New("serve: too many connections")
	ErrTooManyForAddress = errors.New("serve: too many connections from this address")
	ErrTooManyForPrefix  = errors.New("serve: too many connections from this network")
	ErrTooManyHandshakes = errors.New("serve: too many TLS handshakes, and this one lasts longest")
)
