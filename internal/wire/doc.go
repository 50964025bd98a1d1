// Package wire reads and writes the framing of mail protocols: command lines,
// dot-stuffed bodies (RFC 5321, 4.5.2), BDAT chunks (RFC 3030) and netstrings.
//
// Everything here takes bytes from strangers, and so everything is bounded: a
// [Reader] holds at most one buffer of 32 KiB, and none but 256 octets of its
// own while it waits for a command. No cost grows faster than the input.
//
// Lines end in CRLF and in nothing else. What becomes of a CR or LF that
// stands alone is told by a [Policy]; whatever the policy, such a line end
// never takes part in the end of a body, so that two servers can not disagree
// about where a message ends.
//
// Inside this module messages have LF line ends: readers convert on the way
// in, [DotWriter] on the way out.
package wire

import "errors"

// Policy says what becomes of a bare CR and a bare LF: one that is not part of
// a CRLF. The zero value refuses.
type Policy uint8

// The policies.
const (
	// Refuse makes the reader fail with ErrBareCR or ErrBareLF. What follows
	// is not read: the session must be closed, for the peer and we no longer
	// agree where lines end.
	Refuse Policy = iota

	// Repair makes a line break of every bare LF, and of every run of bare
	// CRs; a run of CRs before an LF is one line break with it.
	Repair

	// Pass keeps both as they are. (A bare LF then is a line end to whoever
	// reads the stored message.)
	Pass
)

// Errors of the peer's making. Those of the connection below are passed on,
// but an io.EOF within a line, a body or a netstring is io.ErrUnexpectedEOF.
var (
	// ErrLineTooLong: a line was longer than the caller allows. The whole
	// line has been read and dropped; the next ReadLine gets the next one.
	ErrLineTooLong = errors.New("wire: line too long")

	// ErrBareLF and ErrBareCR: see Refuse. In a command ErrBareCR is not
	// fatal: the line is dropped, and the next one can be read.
	ErrBareLF = errors.New("wire: bare LF")
	ErrBareCR = errors.New("wire: bare CR")

	// ErrNUL: a command holds a NUL. The line is dropped.
	ErrNUL = errors.New("wire: NUL in a command")

	// ErrNetstring: what came is not a netstring, or it ends outside of the
	// one around it. Nothing that follows can be understood.
	ErrNetstring = errors.New("wire: malformed netstring")

	// ErrNetstringTooLong: the netstring is longer than the caller allows.
	// Nothing of its content has been read.
	ErrNetstringTooLong = errors.New("wire: netstring too long")
)
