package queue

import (
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/sqmail/sqmail"
)

// Store is where a [Queue] keeps messages: a delay queue with leases. One
// contract serves a process's memory, a directory and a cluster.
//
// # Who calls, and when
//
// Any number of goroutines call any method at any time. The Store is the
// authority on what is in the queue; a Queue keeps nothing that it cannot
// rebuild from it. A process that only submits calls Begin and the methods of
// Draft. A process that delivers calls Lease in a loop. Tools call the rest.
//
// # Durability
//
// Each method says what is on stable storage when it returns nil. "Durable"
// means: survives the loss of power in that instant, as data and as directory
// entry. What is not called durable may be lost, but nothing else with it.
//
// # Start
//
// A store that was opened takes messages at once, while it still finds out what
// it holds; [Stats] says Loading then. A message is leased as soon as all is
// known that was recorded about it, never before, and Open, Hold, Release,
// Retry, Remove and Replaces of a message that may be there, and Scan, wait
// until that is known, or fail with ctx's error. If it cannot be found out, the
// store is closed: every call fails with an error that is ErrClosed and wraps
// the cause.
//
// # Errors
//
// An error is a deferral unless it says otherwise (see package sqmail). A full
// or failing disk makes Begin, Write and Commit fail with an [sqmail.Error]
// whose reply is 452 4.3.1 (no space) or 451 4.3.0; they work again when the
// cause is gone. A damaged message is reported by Scan and skipped by Lease;
// it never keeps the others from being leased.
//
// queuetest.Run checks all of this.
type Store interface {
	// Begin starts a new message. The Draft holds resources until its Commit
	// or Abort; it is aborted when ctx ends before that.
	Begin(ctx context.Context) (Draft, error)

	// Lease waits until a message is due that is neither leased, held nor
	// parked, and leases it to the caller for ttl. Messages that were never
	// leased before are not kept waiting by a crowd of older ones that are
	// due again, nor those by a stream of new ones. It fails with ctx's error,
	// or ErrClosed.
	Lease(ctx context.Context, ttl time.Duration) (Lease, error)

	// Wake makes up to n messages that are parked under key due at once, the
	// longest parked first, and returns how many it woke. n < 0: all.
	Wake(key string, n int) int

	// Open returns a message as it is now, leased or not. The caller closes
	// it; until then it can be read, even if it leaves the queue. ErrNotFound
	// if it is not in the queue (any more).
	Open(ctx context.Context, id ID) (*Message, error)

	// Scan yields the messages in the queue in order of arrival, without
	// holding up anything else: what arrives or leaves during the scan may be
	// seen or not. A damaged message yields an error, and the scan goes on.
	// Entries are read one at a time; Scan's memory does not grow with the
	// queue.
	Scan(ctx context.Context) iter.Seq2[*Entry, error]

	// Hold keeps a message from being leased until Release, and ends its
	// parking; a lease in progress goes on to its end. Both are durable, and do
	// nothing to a message that is in that state. ErrNotFound if it is not in
	// the queue.
	Hold(ctx context.Context, id ID) error
	Release(ctx context.Context, id ID) error

	// Retry makes a message due at the given time, zero meaning now, and all
	// its pending recipients with it: the last Attempt of each has that time as
	// its Due. If it is leased this takes effect when the lease ends, in place
	// of the time that the holder gives (Park included); if it is held, when it
	// is released. It ends parking. ErrNotFound if it is not in the queue.
	Retry(ctx context.Context, id ID, at time.Time) error

	// Remove deletes a message, durably. A lease on it is lost. ErrNotFound
	// if it is not in the queue.
	Remove(ctx context.Context, id ID) error

	// Stats counts what is in the queue, without reading it.
	Stats() Stats

	// Close ends all waiting calls with ErrClosed, ends the leases as if the
	// process had died, and frees the store for another process. Calls that
	// are writing end first. Afterwards every call fails: those on a Lease with
	// ErrLeaseLost, the others with ErrClosed.
	Close() error
}

// Draft is a message that is being written. It is used by one goroutine.
type Draft interface {
	// Write appends to the message; lines end in LF. Nothing is durable yet.
	io.Writer

	// Commit is the single instant of acceptance: when it returns nil the
	// message and its envelope are durable, and the queue is responsible for
	// every recipient. When it returns an error nothing is kept, with one
	// exception that no store can avoid: if the process dies inside Commit,
	// the message may be there afterwards. The Draft is finished either way.
	Commit(ctx context.Context, s Submission) (ID, error)

	// Abort drops the draft. It does nothing after Commit.
	Abort()
}

// Submission is what is known of a message when it is committed.
type Submission struct {
	// Envelope must have at least one recipient, else Commit fails with a
	// rejection. The store copies it.
	Envelope *sqmail.Envelope `json:"envelope"`

	// Arrived is the message's time of birth. Zero: now.
	Arrived time.Time `json:"arrived,omitzero"`

	// Due is when the message may first be leased. Zero: at once.
	Due time.Time `json:"due,omitzero"`

	// Held commits the message in the state that Hold makes.
	Held bool `json:"held,omitempty"`

	// Journal holds the attempts that were made before, for a message that
	// comes from another queue. Commit fails if one is at a recipient that the
	// envelope does not have.
	Journal []Attempt `json:"journal,omitempty"`

	// Replaces names a message that this one takes the place of, as a bounce
	// does: it is removed in the same durable step, so that after a crash
	// there is one or the other, never both and never none. Commit fails with
	// ErrNotFound if it is not in the queue. 0: none.
	Replaces ID `json:"-"`
}

// Lease is the right to work on one message, for a time. Its methods are
// called by one goroutine at a time.
//
// Every Lease has a fencing token: if it runs out, or its message is removed,
// then every later call fails with ErrLeaseLost and changes nothing, even when
// another holder has the message by then.
//
// Retry, Park and Done end the lease, also when they return an error; so does
// whatever returns ErrLeaseLost. A lease that nobody ends runs out, and its
// message is due again. Durable outcomes are never undone by that.
type Lease interface {
	// Entry is the message's state when it was leased. The caller may read it
	// until the lease ends, and must not change it.
	Entry() *Entry

	// Content is the message, envelope's header fields first; Entry.Size is
	// its length. It is valid until the lease ends.
	Content() io.ReaderAt

	// Extend makes the lease run out at ttl from now.
	Extend(ttl time.Duration) error

	// Checkpoint adds attempts to the journal. They are durable when it
	// returns nil. When it fails they may or may not be. What happened has
	// happened: Checkpoint, Retry and Done do their work even if ctx has ended.
	// An attempt at a recipient that the envelope does not have is an error.
	Checkpoint(ctx context.Context, attempts []Attempt) error

	// Retry adds attempts as Checkpoint does, and gives the message back, to
	// be leased again at the given time.
	Retry(ctx context.Context, attempts []Attempt, at time.Time) error

	// Park gives the message back, to be leased again when Wake is called
	// with key or at the given time, whatever is first. Parking is forgotten
	// when the store is closed: the message is then due as it was before.
	Park(key string, until time.Time) error

	// Done adds attempts as Checkpoint does, and removes the message, durably:
	// every recipient is settled.
	Done(ctx context.Context, attempts []Attempt) error
}

// Message is a message opened for reading.
type Message struct {
	*Entry

	// Content is as Lease.Content.
	Content io.ReaderAt

	io.Closer
}

// Entry is what a [Store] knows of a message.
type Entry struct {
	ID       ID              `json:"id"`
	Envelope sqmail.Envelope `json:"envelope"`
	Arrived  time.Time       `json:"arrived"`
	Size     int64           `json:"size"` // octets of Content

	// Due is when the message is to be leased next.
	Due time.Time `json:"due"`

	// Held, Leased and Parked tell what keeps it from being leased; Parked is
	// the key.
	Held   bool   `json:"held,omitempty"`
	Leased bool   `json:"leased,omitempty"`
	Parked string `json:"parked,omitempty"`

	// Journal holds the attempts so far, in the order in which they were
	// recorded. A store may forget all but the first and the last eight
	// deferrals of a recipient.
	Journal []Attempt `json:"journal,omitempty"`
}

// Attempt is one line of a message's journal: what became of one recipient,
// when, where, and what was said.
type Attempt struct {
	// Recipient is its index in the message's envelope.
	Recipient int `json:"recipient"`

	// Number counts the recipient's attempts, from 1.
	Number int `json:"number"`

	// At is when the attempt ended.
	At time.Time `json:"at"`

	// Status is the recipient's state from then on.
	Status Status `json:"status"`

	// Due is the next attempt, while Status is Pending.
	Due time.Time `json:"due,omitzero"`

	// Outcome is the agent's answer. Its Recipient is not used.
	Outcome sqmail.Outcome `json:"outcome"`
}

// Status is the state of a recipient in the queue.
type Status uint8

// The states. Every recipient begins as Pending, and ends in exactly one of
// the others.
const (
	Pending   Status = iota // to be tried (again)
	Delivered               // handed on
	Failed                  // given up; it stands in the bounce
	Removed                 // taken out by an administrator
)

var statusNames = [...]string{"pending", "delivered", "failed", "removed"}

// String returns the state's name in lower case.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "unknown"
}

// MarshalText returns the state's name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *Status) UnmarshalText(text []byte) error {
	for i, name := range statusNames {
		if name == string(text) {
			*s = Status(i)
			return nil
		}
	}
	return errors.New("queue: unknown recipient status")
}

// ID is a message's number in a [Store], never 0, and never given twice.
// Later messages have higher numbers.
type ID uint64

// String returns the number in decimal.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// ParseID reads what ID.String wrote.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, errors.New("queue: not a message number: " + strconv.Quote(s))
	}
	return ID(n), nil
}

// Stats counts messages. A message is in exactly one of the first five.
type Stats struct {
	Fresh    int `json:"fresh"`    // due, never leased yet
	Deferred int `json:"deferred"` // waiting for their time
	Parked   int `json:"parked"`
	Leased   int `json:"leased"`
	Held     int `json:"held"`

	Quarantined int   `json:"quarantined"` // damaged records put aside since the start
	Bytes       int64 `json:"bytes"`       // storage in use

	// Loading says that the store was just opened and does not know yet of all
	// messages in it: the counts grow.
	Loading bool `json:"loading,omitempty"`
}

// Errors of a Store.
var (
	ErrNotFound  = errors.New("queue: no such message")
	ErrLeaseLost = errors.New("queue: lease lost")
	ErrClosed    = errors.New("queue: store closed")
)
