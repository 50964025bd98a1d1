package queue

import (
	"context"

	"github.com/sqmail/sqmail"
)

// A Deliverer makes one attempt: it hands a message to the recipients in its
// envelope, which all have the message's Route.
//
// It returns an outcome for each recipient; [sqmail.Message.Outcomes] makes
// them all equal. A recipient without one has the class of the error, or is
// deferred if that is nil: to say nothing never loses mail, and never bounces
// it. The error is for what befell the attempt as a whole; unclassified it is
// a deferral.
//
// Deliver is called concurrently, up to the queue's limits. When ctx ends it
// returns soon, with the outcomes that are certain; what is not is deferred.
type Deliverer interface {
	Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error)
}

// DelivererFunc makes a function a [Deliverer].
type DelivererFunc func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error)

// Deliver calls f.
func (f DelivererFunc) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	return f(ctx, m)
}

// A Router says how to reach a recipient. It is asked before each attempt, so
// that a changed route applies to mail that is queued already. It returns the
// route, and the recipient as the agent is to see it and as reports to the
// sender show it: address completed, but without a virtual domain's prefix.
//
// A rejection fails the recipient; every other error defers it. Route is
// called often and concurrently: it decides by tables, and does not look
// anything up on the network. One that takes longer than a second is logged,
// and its ctx ends; other messages do not wait for it any more then.
type Router interface {
	Route(ctx context.Context, env *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error)
}
