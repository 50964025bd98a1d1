package mailtest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

// Recorder is a sqmail.Receiver that keeps all messages in memory. The zero
// Recorder is ready for use.
type Recorder struct {
	// Refuse is asked about every message that has arrived whole. If it
	// returns an error, that is what Receive returns, and the message is not
	// recorded. Nil: all are taken.
	Refuse func(*Message) error

	// MaxSize is the size of the largest message that is taken; a larger one
	// is rejected with 552 5.3.4. 0 means 64 MiB.
	MaxSize int64

	mu       sync.Mutex
	changed  *sync.Cond
	messages []*Message
}

const defaultMaxSize = 64 << 20

// Receive records a message; see sqmail.Receiver.
func (r *Recorder) Receive(_ context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	limit := r.limit()
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return sqmail.Receipt{}, err
	}
	if int64(len(text)) > limit {
		return sqmail.Receipt{}, errTooBig
	}
	m := &Message{Envelope: cloneEnvelope(env), Data: slices.Concat(env.Header, text), Time: time.Now()}
	if r.Refuse != nil {
		if err := r.Refuse(m); err != nil {
			return sqmail.Receipt{}, err
		}
	}
	return sqmail.Receipt{ID: strconv.Itoa(r.record(m)), Time: m.Time}, nil
}

func (r *Recorder) limit() int64 {
	if r.MaxSize > 0 {
		return r.MaxSize
	}
	return defaultMaxSize
}

var errTooBig = &sqmail.Error{
	Op:    "record",
	Class: sqmail.Rejection,
	Reply: sqmail.Reply{Code: 552, Enhanced: sqmail.EnhancedCode{5, 3, 4}, Text: "message too big"},
}

// Messages returns what was recorded so far, in order of arrival.
func (r *Recorder) Messages() []*Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Wait waits until n messages have been recorded in all, and returns them. If
// ctx ends before, it returns those that there are, and an error that tells
// how many.
func (r *Recorder) Wait(ctx context.Context, n int) ([]*Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.init()
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer stop()
	for len(r.messages) < n {
		if err := ctx.Err(); err != nil {
			return slices.Clone(r.messages), fmt.Errorf("mailtest: %d of %d messages: %w", len(r.messages), n, err)
		}
		r.changed.Wait()
	}
	return slices.Clone(r.messages), nil
}

// Reset forgets the messages.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = nil
}

func (r *Recorder) record(m *Message) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.init()
	r.messages = append(r.messages, m)
	r.changed.Broadcast()
	return len(r.messages)
}

// init is called with the lock held.
func (r *Recorder) init() {
	if r.changed == nil {
		r.changed = sync.NewCond(&r.mu)
	}
}
