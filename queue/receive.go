package queue

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

var (
	replyNoRecipients = sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 5, 1}, Text: "no valid recipients"}
	replyNoStore      = sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 3, 0}, Text: "mail queue trouble, try again later"}
)

// Receive puts a message into the Store. When it returns nil the message is
// durable, and the Queue is responsible for it; the receipt has its number.
// It works whether or not Run is running, in this process or another.
//
// The error is a rejection if there is no recipient or if the Store says so,
// and body's own error if that cannot be read; everything else is a deferral,
// 452 4.3.1 when the Store has no room.
func (q *Queue) Receive(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	if len(env.Recipients) == 0 {
		return sqmail.Receipt{}, &sqmail.Error{Op: "receive", Class: sqmail.Rejection, Reply: replyNoRecipients}
	}
	draft, err := q.Store.Begin(ctx)
	if err != nil {
		return sqmail.Receipt{}, storeError("begin", err)
	}
	defer draft.Abort()
	size, err := write(draft, body)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	now := time.Now()
	id, err := q.commit(ctx, draft, Submission{Envelope: env, Arrived: now})
	if err != nil {
		return sqmail.Receipt{}, storeError("commit", err)
	}
	q.logNew(id, env, size+int64(len(env.Header)))
	return sqmail.Receipt{ID: id.String(), Time: now}, nil
}

// commit counts the commit while it runs, also if the Store panics.
func (q *Queue) commit(ctx context.Context, draft Draft, s Submission) (ID, error) {
	q.init()
	q.commits.begin(q.shaper, s.Arrived)
	defer q.commits.end()
	return draft.Commit(ctx, s)
}

// Buffers that bodies are copied with. A client is waited for with a small one,
// however much it has sent before: thousands may keep us waiting.
var (
	smallBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}
	buffers      = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// write copies the body, and tells its errors from the store's.
func write(draft Draft, body io.Reader) (size int64, err error) {
	for err == nil {
		var n int
		n, err = writeSmall(draft, body)
		size += int64(n)
		if err == nil && n > smallMuch { // the rest of it is there
			n, err = writeLarge(draft, body)
			size += int64(n)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return size, err
}

// smallMuch is how much of a small buffer is filled if there is more to come.
const smallMuch = 2 << 10

func writeSmall(draft Draft, body io.Reader) (int, error) {
	buf := smallBuffers.Get().(*[4 << 10]byte)
	defer smallBuffers.Put(buf)
	return writeOnce(draft, body, buf[:])
}

func writeLarge(draft Draft, body io.Reader) (int, error) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	return writeOnce(draft, body, buf[:])
}

func writeOnce(draft Draft, body io.Reader, buf []byte) (n int, err error) {
	n, err = body.Read(buf)
	if n > 0 {
		if _, werr := draft.Write(buf[:n]); werr != nil {
			return n, storeError("write", werr)
		}
	}
	return n, err
}

// storeError gives an error of the Store the reply that the peer hears,
// unless it has one.
func storeError(op string, err error) error {
	if _, ok := errors.AsType[*sqmail.Error](err); ok {
		return err
	}
	return &sqmail.Error{Op: op, Class: sqmail.Deferral, Reply: replyNoStore, Err: err}
}
