package sqmail

import "time"

// Envelope is what a transaction says about a message: where it comes from,
// where it goes and how it is to be treated (RFC 5321, 2.3.1).
//
// An Envelope belongs to whoever builds it until it is passed to
// [Receiver.Receive]; it has no lock.
type Envelope struct {
	// ReversePath is where bounces go. The null path means: nowhere.
	ReversePath Path `json:"reversePath"`

	// Recipients in the order they were given. Duplicates are kept.
	Recipients []Recipient `json:"recipients"`

	// Size is the message size the client declared, in octets; 0 means that
	// it declared none (RFC 1870).
	Size int64 `json:"size,omitempty"`

	// Body is the declared kind of the message's content (RFC 6152, 3030).
	Body BodyKind `json:"body,omitempty"`

	// SMTPUTF8 says that paths or header fields may hold UTF-8 (RFC 6531).
	SMTPUTF8 bool `json:"smtputf8,omitempty"`

	// RequireTLS says that every further hop must be over verified TLS
	// (RFC 8689).
	RequireTLS bool `json:"requireTLS,omitempty"`

	// Return and EnvelopeID are the DSN parameters RET and ENVID, the latter
	// with its xtext decoded (RFC 3461, 4.3 and 4.4).
	Return     Return `json:"return,omitempty"`
	EnvelopeID string `json:"envelopeID,omitempty"`

	// Header holds header fields, each ended by LF, that stand before the
	// message: trace fields, Authentication-Results, tags of filters. It may
	// still grow while the body is read; a Receiver looks at it when the body
	// has returned io.EOF, not before.
	Header []byte `json:"header,omitempty"`

	// Verdicts is the trace of the decisions that let the message in, in
	// order. Like Header it is complete when the body is at its end.
	Verdicts []Verdict `json:"verdicts,omitempty"`

	// SenderVerified says that a policy knows ReversePath for the client's
	// own. A server tells it in the trace field ("ESMTPSAM"); it is not part
	// of what a queue keeps.
	SenderVerified bool `json:"-"`

	// Peer is who handed the message in. Nil: this host itself. It is not
	// part of what a queue keeps.
	Peer *Peer `json:"-"`
}

// Recipient is one forward-path and what its sender wants to hear of it.
type Recipient struct {
	Path Path `json:"path"`

	// Notify is the NOTIFY parameter; 0 means that none was given, and
	// counts as NotifyFailure (RFC 3461, 4.1).
	Notify Notify `json:"notify,omitempty"`

	// Original is the ORCPT parameter, "type;address", with its xtext
	// decoded (RFC 3461, 4.2). "" means that none was given.
	Original string `json:"original,omitempty"`
}

// BodyKind is the BODY parameter of MAIL.
type BodyKind string

// The kinds of body that have a name on the wire. The zero value means that
// the client named none.
const (
	Body7Bit   BodyKind = "7BIT"
	Body8Bit   BodyKind = "8BITMIME"
	BodyBinary BodyKind = "BINARYMIME"
)

// Return is the RET parameter of MAIL: how much of a message a DSN returns.
type Return string

// The zero Return leaves the choice to whoever writes the DSN.
const (
	ReturnFull    Return = "FULL"
	ReturnHeaders Return = "HDRS"
)

// Notify is the NOTIFY parameter of RCPT, a set of conditions.
type Notify uint8

// NotifyNever excludes the others.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Receipt tells who took a message and under what name.
type Receipt struct {
	// ID names the message at its Receiver: a queue's message number, for
	// instance. A server puts it in its reply so that logs can be joined.
	ID string

	// Time is when the message became the Receiver's. Zero: not told.
	Time time.Time
}
