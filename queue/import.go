package queue

import (
	"context"
	"io"
)

// Import puts a message of another queue into a Store, with the past, the age
// and the state that it had there. content is the whole message. When Import
// returns nil the message is durable; the errors are those of [Queue.Receive].
func Import(ctx context.Context, store Store, s Submission, content io.Reader) (ID, error) {
	draft, err := store.Begin(ctx)
	if err != nil {
		return 0, storeError("begin", err)
	}
	defer draft.Abort()
	if _, err := write(draft, content); err != nil {
		return 0, err
	}
	id, err := draft.Commit(ctx, s)
	if err != nil {
		return 0, storeError("commit", err)
	}
	return id, nil
}

// Import puts a message of another queue into the Store; see [Import]. It is
// due when its lifetime ends at the latest.
func (q *Queue) Import(ctx context.Context, s Submission, content io.Reader) (ID, error) {
	q.init()
	if !s.Arrived.IsZero() {
		s.Due = earliest(s.Due, q.expiry(&Entry{Arrived: s.Arrived}))
	}
	id, err := Import(ctx, q.Store, s, content)
	if err == nil {
		q.logNew(id, s.Envelope, 0)
	}
	return id, err
}
