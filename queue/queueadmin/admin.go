// Package queueadmin lets another process look at a queue and act on it while
// it is running: a [Handler] on the queue's side, a [Client] on the other, and
// HTTP between them, as a rule over a Unix socket that only the queue's owner
// can open. The Handler authenticates nobody.
//
// Both sides have the methods of [Admin], which a queue.Store has as well, so
// that a tool works in the same way on a running and on a stopped queue.
package queueadmin

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// Admin is what a tool may do to a queue. The methods are those of
// [queue.Store].
type Admin interface {
	Scan(ctx context.Context) iter.Seq2[*queue.Entry, error]
	Open(ctx context.Context, id queue.ID) (*queue.Message, error)
	Hold(ctx context.Context, id queue.ID) error
	Release(ctx context.Context, id queue.ID) error
	Retry(ctx context.Context, id queue.ID, at time.Time) error
	Remove(ctx context.Context, id queue.ID) error
	Stats() queue.Stats
}

// Importer is an [Admin] that takes messages of other queues; queue.Queue and
// [Client] are.
type Importer interface {
	Import(ctx context.Context, s queue.Submission, content io.Reader) (queue.ID, error)
}
