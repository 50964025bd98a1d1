package smtpdtest

import (
	"context"
	"io"
	"strconv"
	"sync"

	"github.com/sqmail/sqmail"
)

// Message is a message that a [Recorder] has taken.
type Message struct {
	// Envelope is a copy, complete with the header fields that stand before
	// the message. Its Peer is a copy too.
	Envelope sqmail.Envelope

	// Body is the message as it came; its lines end in LF.
	Body string
}

// Recorder is a Receiver that keeps messages in memory and numbers them from
// 1. Its zero value is ready; its methods may be called concurrently.
type Recorder struct {
	mu       sync.Mutex
	messages []*Message
}

// Receive keeps a message.
func (r *Recorder) Receive(_ context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	m := &Message{Envelope: *env, Body: string(text)}
	if env.Peer != nil {
		peer := *env.Peer
		m.Envelope.Peer = &peer
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	return sqmail.Receipt{ID: strconv.Itoa(len(r.messages))}, nil
}

// Messages returns what has been taken so far, in order.
func (r *Recorder) Messages() []*Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages[:len(r.messages):len(r.messages)]
}
