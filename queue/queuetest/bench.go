package queuetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

const ttl = time.Minute

// envelope returns one with a recipient for each address.
func envelope(to ...string) *sqmail.Envelope {
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("sender@example.org")}
	for _, addr := range to {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(addr)})
	}
	return env
}

// richEnvelope has something in every field.
func richEnvelope() *sqmail.Envelope {
	return &sqmail.Envelope{
		ReversePath: sqmail.PathOf("a b@exämple.org"),
		Recipients: []sqmail.Recipient{
			{Path: sqmail.PathOf("ann@example.net"), Notify: sqmail.NotifySuccess | sqmail.NotifyDelay, Original: "rfc822;Ann@example.net"},
			{Path: sqmail.PathOf("postmaster")},
			{Path: sqmail.PathOf("ann@example.net")},
		},
		Size: 1 << 40, Body: sqmail.BodyBinary, SMTPUTF8: true, RequireTLS: true,
		Return: sqmail.ReturnHeaders, EnvelopeID: "id\x00+ü",
		Header: []byte("Received: from here\n\tby there\n"),
		Verdicts: []sqmail.Verdict{{
			Stage: "connect", Filter: "rbl", Action: sqmail.ActionTag, Delay: time.Second, Header: "X-Tag: 1\n",
			Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "later\nreally"},
			Rule:  "rule", Input: "1.2.3.4", File: "control/rbls", Line: 7, Took: time.Millisecond,
		}},
	}
}

// attempt returns one with something in every field.
func attempt(recipient, number int, status queue.Status) queue.Attempt {
	a := queue.Attempt{Recipient: recipient, Number: number, At: time.Now(), Status: status, Outcome: sqmail.Outcome{
		Recipient: recipient, Class: sqmail.Deferral, Text: "connected but\ngreeting failed", Where: "mx.example.net (192.0.2.1)",
		Reply: sqmail.Reply{Code: 421, Enhanced: sqmail.EnhancedCode{4, 3, 2}, Text: "closing"}, InDoubt: number%2 == 0, Notifies: number%3 == 1,
	}}
	if status == queue.Pending {
		a.Due = time.Now().Add(time.Hour)
	}
	return a
}

// commit puts a message with this text in the queue.
func (b *bench) commit(text string, s queue.Submission) queue.ID {
	b.Helper()
	if s.Envelope == nil {
		s.Envelope = envelope("ann@example.net")
	}
	id, err := b.draft(text).Commit(b.ctx, s)
	if err != nil {
		b.Fatalf("Commit: %v", err)
	}
	return id
}

func (b *bench) draft(text string) queue.Draft {
	b.Helper()
	d, err := b.Store.Begin(b.ctx)
	if err != nil {
		b.Fatalf("Begin: %v", err)
	}
	if _, err := io.WriteString(d, text); err != nil {
		b.Fatalf("Write: %v", err)
	}
	return d
}

// lease leases the next message, which must be due now.
func (b *bench) lease() queue.Lease {
	b.Helper()
	l := b.tryLease(0)
	if l == nil {
		b.Fatal("Lease: nothing is due")
	}
	return l
}

// tryLease waits for a lease for so long, and returns nil if none came.
func (b *bench) tryLease(wait time.Duration) queue.Lease {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, wait+time.Nanosecond)
	defer cancel()
	l, err := b.Store.Lease(ctx, ttl)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		b.Fatalf("Lease: %v", err)
	}
	return l
}

// leaseOf leases the next message, and checks which one it is.
func (b *bench) leaseOf(id queue.ID) queue.Lease {
	b.Helper()
	l := b.lease()
	if got := l.Entry().ID; got != id {
		b.Fatalf("leased message %v, want %v", got, id)
	}
	return l
}

// idle checks that nothing becomes due for so long.
func (b *bench) idle(d time.Duration) {
	b.Helper()
	if l := b.tryLease(d); l != nil {
		b.Fatalf("message %v was leased", l.Entry().ID)
	}
}

// atOnce checks that nothing waited for a timer since start: in a bubble, time
// would go on even to one of a year.
func (b *bench) atOnce(start time.Time) {
	b.Helper()
	if d := time.Since(start); d >= time.Second {
		b.Errorf("it took %v, and should be at once", d)
	}
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("unexpected error: %v", err)
	}
}

func (b *bench) fails(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("got error %v, want %v", err, want)
	}
}

// entry opens a message and returns its state.
func (b *bench) entry(id queue.ID) *queue.Entry {
	b.Helper()
	m, err := b.Store.Open(b.ctx, id)
	if err != nil {
		b.Fatalf("Open(%v): %v", id, err)
	}
	defer m.Close()
	return m.Entry
}

// gone checks that a message is not in the queue.
func (b *bench) gone(id queue.ID) {
	b.Helper()
	m, err := b.Store.Open(b.ctx, id)
	if err == nil {
		m.Close()
	}
	b.fails(err, queue.ErrNotFound)
}

// text reads a message as a whole.
func (b *bench) text(r io.ReaderAt, size int64) string {
	b.Helper()
	text, err := io.ReadAll(io.NewSectionReader(r, 0, size+1))
	if err != nil {
		b.Fatalf("reading the message: %v", err)
	}
	if int64(len(text)) != size {
		b.Errorf("message has %d octets, its Size is %d", len(text), size)
	}
	return string(text)
}

// scan returns the numbers of the messages in the queue.
func (b *bench) scan() []queue.ID {
	b.Helper()
	var ids []queue.ID
	for e, err := range b.Store.Scan(b.ctx) {
		if err != nil {
			b.Fatalf("Scan: %v", err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// stats checks the five counts of messages, when the store knows of all.
func (b *bench) stats(want queue.Stats) {
	b.Helper()
	got := b.Store.Stats()
	for ; got.Loading; got = b.Store.Stats() {
		time.Sleep(time.Millisecond)
	}
	got.Bytes, got.Quarantined = 0, 0
	if got != want {
		b.Errorf("Stats: %+v, want %+v", got, want)
	}
}

// same compares two values as a reader of their JSON would, so that nil and
// empty slices, or times in different zones, are the same.
func (b *bench) same(what string, got, want any) {
	b.Helper()
	if g, w := plain(got), plain(want); !bytes.Equal(g, w) {
		b.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func plain(v any) []byte {
	if attempts, ok := v.([]queue.Attempt); ok {
		c := make([]queue.Attempt, len(attempts))
		for i, a := range attempts {
			a.At, a.Due, a.Outcome.Recipient = a.At.UTC(), a.Due.UTC(), 0
			c[i] = a
		}
		v = c
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// big returns a message of about n octets, no two lines of it alike.
func big(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(time.Duration(i * 7919).String())
		b.WriteByte('\n')
	}
	return b.String()
}
