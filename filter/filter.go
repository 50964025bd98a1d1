package filter

import (
	"context"
	"io"

	"github.com/sqmail/sqmail"
)

// Filter is anything with a name and at least one of the methods of
// [ConnectFilter], [HelloFilter], [ReversePathFilter], [RecipientFilter],
// [DataFilter] and [BodyFilter].
//
// # Answers
//
// The zero Verdict goes on. ActionAccept goes on and asks no further filter
// at this stage. ActionTag and ActionDelay go on after adding the header field
// or waiting. ActionDefer, ActionReject and ActionDrop refuse with the
// verdict's Reply; if that is not set the client hears a general sentence. A
// filter sets Action, Rule, Input, File and Line as far as they apply; the
// [Chain] fills in Stage, Filter and Took.
//
// An error that is not nil is a deferral whatever the verdict says, unless it
// holds an [*sqmail.Error] of another class. Its text goes to the log alone.
//
// # Concurrency
//
// Methods are called concurrently for different sessions, and one after the
// other for the same one. What a filter wants to keep from one call to another
// in a session it keeps in the [Session].
type Filter interface {
	// Name says who decided, in lower case: "badmailfrom".
	Name() string
}

// ConnectFilter looks at connections, before the greeting. A refusal takes
// the place of the greeting and closes the connection.
type ConnectFilter interface {
	Filter
	Connect(ctx context.Context, s *Session) (sqmail.Verdict, error)
}

// HelloFilter looks at the hello name, s.Peer.Hello.
type HelloFilter interface {
	Filter
	Hello(ctx context.Context, s *Session) (sqmail.Verdict, error)
}

// ReversePathFilter looks at MAIL: at s.Envelope's reverse-path and
// parameters.
type ReversePathFilter interface {
	Filter
	ReversePath(ctx context.Context, s *Session) (sqmail.Verdict, error)
}

// RecipientFilter looks at a recipient, which it may rewrite. It is not in
// s.Envelope yet.
type RecipientFilter interface {
	Filter
	Recipient(ctx context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error)
}

// RelayFilter is a RecipientFilter that says for whom mail is taken from
// strangers, as [RcptHosts] does: it refuses all others. The method only marks
// it. If a [Chain] has none, it takes mail of strangers for recipients that a
// filter accepts ([sqmail.ActionAccept]) and for those without a domain, and for
// nobody else.
type RelayFilter interface {
	RecipientFilter
	DecidesRelay()
}

// DataFilter looks at the whole envelope, before the message is sent.
type DataFilter interface {
	Filter
	Data(ctx context.Context, s *Session) (sqmail.Verdict, error)
}

// BodyFilter looks at messages.
type BodyFilter interface {
	Filter

	// Body returns a scanner for one message, or nil to let it pass unseen.
	// ctx lives until the scanner's End has returned, and ends nine minutes after
	// the end of the message: clients wait for ten.
	Body(ctx context.Context, s *Session) (Scanner, error)
}

// Scanner looks at a message while it streams to the queue.
type Scanner interface {
	// Write is given the message in pieces; lines end in LF. It must not
	// keep p. An error ends the scan and is a deferral; it does not keep
	// the other scanners from their work.
	io.Writer

	// End is called once, when the message is whole, and gives the verdict.
	// The header fields of a ActionTag verdict go before the message.
	End() (sqmail.Verdict, error)

	// Close frees what the scanner holds. It is called once, last, whatever
	// happened to the message.
	Close()
}
