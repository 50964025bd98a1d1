package smtpd

import (
	"context"
	"io"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
)

// Policy decides what a [Server] takes. Its one method is asked about every
// recipient; whoever implements it cannot forget to say for whom the server
// relays.
//
// A Policy that wants to be asked earlier or later has further methods, those
// of [SessionPolicy], [ConnectPolicy], [HelloPolicy], [AuthPolicy],
// [ReversePathPolicy], [DataPolicy], [BodyPolicy] and [EndPolicy]; the server
// looks for them once.
//
// # Answers
//
// Every method answers with an error. Nil goes on. An [*sqmail.Error] in the
// chain refuses with its reply and, if it says so, closes the session. Any
// other error refuses as well, with 451: unknown is a deferral. The client never
// hears the text of the error itself. A method that panics ends its session
// with 421, and no other.
//
// # Concurrency
//
// Methods are called concurrently for different sessions, and one after the
// other for the same one. ctx ends with the session, when the server is
// closed, and when a client that waits for the answer leaves: that is looked
// for once a call has taken a second, so that a tarpit holds nobody who is
// gone. Peer and envelope belong to the session: a Policy reads them during
// the call, may add to env.Header and env.Verdicts, and copies what it
// keeps.
//
// The type is an alias, so that a Policy can be written without importing this
// package.
type Policy = interface {
	// CheckRecipient is asked about a recipient before it is added to
	// env.Recipients. It may change to, rewriting the recipient.
	CheckRecipient(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error
}

// PolicyFunc makes a function a [Policy].
type PolicyFunc func(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error

// CheckRecipient calls f.
func (f PolicyFunc) CheckRecipient(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error {
	return f(ctx, peer, env, to)
}

// AcceptAll is the Policy that takes every recipient from everybody. On a
// public address, in front of a Receiver that delivers to other hosts, it makes
// an open relay.
var AcceptAll = PolicyFunc(func(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return nil
})

// SessionPolicy is a [Policy] with state per session.
type SessionPolicy interface {
	// BeginSession is asked first, before CheckConnect. The Policy that it
	// returns is used for this session alone, in place of the server's; its
	// other methods are looked for too. Nil means the same as on a Server.
	// With an error it refuses the session.
	BeginSession(ctx context.Context, peer *sqmail.Peer) (Policy, error)
}

// ConnectPolicy is a [Policy] that looks at connections.
type ConnectPolicy interface {
	// CheckConnect is asked before the greeting. A refusal takes the place
	// of the greeting, and closes the connection.
	CheckConnect(ctx context.Context, peer *sqmail.Peer) error
}

// HelloPolicy is a [Policy] that looks at hello names.
type HelloPolicy interface {
	// CheckHello is asked at each HELO and EHLO; peer.Hello is its argument.
	// After a refusal the session is where it was before the command, but
	// without a transaction.
	CheckHello(ctx context.Context, peer *sqmail.Peer) error
}

// ReversePathPolicy is a [Policy] that looks at reverse-paths.
type ReversePathPolicy interface {
	// CheckReversePath is asked at MAIL. env has the reverse-path and all
	// parameters; it may change env.ReversePath.
	CheckReversePath(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope) error
}

// DataPolicy is a [Policy] that looks at whole envelopes.
type DataPolicy interface {
	// CheckData is asked when the client is about to send the message, before
	// the 354 of DATA or at the first BDAT. It may change env. A refusal
	// ends the transaction.
	CheckData(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope) error
}

// BodyPolicy is a [Policy] that looks at messages.
type BodyPolicy interface {
	// FilterBody returns the reader that the Receiver gets in place of body.
	// The message's lines end in LF; env.Header is not in it. An error that
	// the reader returns, the last moment being in place of io.EOF, refuses the
	// message, whatever the Receiver makes of it. Errors of body must
	// be returned. If the reader is an io.Closer it is closed when the
	// Receiver has returned.
	FilterBody(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope, body io.Reader) io.Reader
}

// AuthPolicy is a [Policy] that authenticates clients by mechanisms of its
// own. It takes the place of Server.Verifier and Server.Mechanisms; all else
// that a Server says about AUTH holds.
type AuthPolicy interface {
	// Mechanisms names the mechanisms in the order in which they are offered.
	// It is asked after a hello, and again at AUTH. None: AUTH is not offered.
	Mechanisms(peer *sqmail.Peer) []string

	// StartAuth begins an exchange by one of the Mechanisms, whose name is in
	// capitals. An error is answered as one of the Exchange.
	StartAuth(ctx context.Context, peer *sqmail.Peer, mechanism string) (Exchange, error)
}

// Exchange is the server's side of one SASL exchange; [*auth.Exchange] is
// one.
type Exchange interface {
	// Next takes the client's response, and returns the next challenge, or
	// done once the client is authenticated. The first response is nil if the
	// client gave none with AUTH.
	//
	// An error that wraps auth.ErrRejected says that the credentials are
	// wrong: the client waits for its answer, and may not try for ever. One
	// that wraps auth.ErrMalformed says that they are none. What the client
	// hears is the Reply of the first [*sqmail.Error] in the chain, or else
	// 454.
	Next(response []byte) (challenge []byte, done bool, err error)

	// Identity is asked for the user's name when Next has said done, and User
	// after a failure for the name that the client gave, for the log.
	Identity() auth.Identity
	User() string
}

// EndPolicy is a [Policy] that holds things which must be let go.
type EndPolicy interface {
	// EndTransaction is called once for each transaction of which
	// CheckReversePath was, or would have been, asked: when its message is
	// answered, and when it is refused, reset or broken off.
	EndTransaction(peer *sqmail.Peer, env *sqmail.Envelope)

	// EndSession is called last, once for each session, if BeginSession has
	// not refused it.
	EndSession(peer *sqmail.Peer)
}
