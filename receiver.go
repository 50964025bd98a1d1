package sqmail

import (
	"context"
	"io"
)

// A Receiver takes responsibility for messages.
//
// Receive reads body to io.EOF (its lines end in LF) and returns a nil error
// only when the message is safe: from then on the Receiver delivers or bounces
// it, and the client is told so. A non-nil error means that the Receiver
// keeps nothing; it is a deferral unless it holds an [*Error] that says
// otherwise. An error of body.Read must be returned, wrapped or as it is: it
// can be the verdict of a filter that saw the end of the message, or the loss
// of the client.
//
// env is the caller's; a Receiver that keeps it beyond the call copies it. Its
// Header and Verdicts are complete only when body has returned io.EOF.
//
// Receive is called concurrently. ctx ends when the client is gone or the
// server is closed.
type Receiver interface {
	Receive(ctx context.Context, env *Envelope, body io.Reader) (Receipt, error)
}

// ReceiverFunc makes a function a [Receiver].
type ReceiverFunc func(ctx context.Context, env *Envelope, body io.Reader) (Receipt, error)

// Receive calls f.
func (f ReceiverFunc) Receive(ctx context.Context, env *Envelope, body io.Reader) (Receipt, error) {
	return f(ctx, env, body)
}
