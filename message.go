package sqmail

import (
	"io"
	"time"
)

// Message is an attempt's work: a message, and those of its recipients that
// are to get it by one route now. An agent only reads it, and not after it
// has returned.
type Message struct {
	// ID names the message in the queue, for logs.
	ID string

	// Envelope holds the parameters of the message. Its Recipients are those
	// of this attempt alone, with the paths that the route makes of them.
	Envelope Envelope

	// Route is where the queue's router sends these recipients.
	Route Route

	// Content is the message as it is to be delivered, header fields of the
	// envelope included; its lines end in LF. Reading it costs no copy of the
	// whole, and may be done by several goroutines.
	Content io.ReaderAt

	// Size is the length of Content in octets.
	Size int64

	// Arrived is when the queue took the message.
	Arrived time.Time

	// Attempt counts the attempts for these recipients, from 1.
	Attempt int

	// Progress, if not nil, is called by an agent whenever the next hop shows
	// that it is there: it accepts a connection, replies, takes a piece of the
	// message. The queue takes an attempt without that for one that hangs, and
	// does not count it among those that work. It is cheap, and any goroutine
	// may call it until the attempt is over.
	Progress func()
}

// Reader returns a reader of the whole message.
func (m *Message) Reader() *io.SectionReader { return io.NewSectionReader(m.Content, 0, m.Size) }

// Outcomes returns o for every recipient: the answer of an agent that can only
// say one thing of a message. Those who get none in an answer are deferred.
func (m *Message) Outcomes(o Outcome) []Outcome {
	all := make([]Outcome, len(m.Envelope.Recipients))
	for i := range all {
		all[i] = o
		all[i].Recipient = i
	}
	return all
}

// Route says how a recipient is reached.
type Route struct {
	// Channel chooses the agent: "local", "remote", or a name of yours.
	Channel string `json:"channel"`

	// Destination is what limits and back-off apply to, and what a connection
	// may be shared for: a domain, a relay. Recipients of a message with
	// equal Routes go in one transaction.
	Destination string `json:"destination"`

	// Relay is the host that takes the mail, instead of the mail exchangers
	// of the recipient's domain. The zero Relay: those.
	Relay Relay `json:"relay,omitzero"`
}

// The channels that the queue counts on: what is local, what is remote.
const (
	ChannelLocal  = "local"
	ChannelRemote = "remote"
)

// Relay is a fixed next hop.
type Relay struct {
	// Host is a domain name, an address, or an address literal in brackets.
	Host string `json:"host,omitempty"`

	// Port is the TCP port; 0 means the protocol's own.
	Port uint16 `json:"port,omitempty"`

	// Protocol is "smtp", "smtps", "lmtp", "qmtp" or "qmtps"; "" is "smtp".
	Protocol string `json:"protocol,omitempty"`

	// User and Password authenticate us to the relay; both "" means: don't.
	User     string `json:"-"`
	Password string `json:"-"`
}

// Outcome is what became of one recipient in one attempt.
type Outcome struct {
	// Recipient is its index in the attempt's Message.Envelope.Recipients.
	Recipient int `json:"recipient"`

	// Class is Accepted for delivered, Rejection for failed for good, and
	// Deferral for anything else.
	Class Class `json:"class"`

	// Reply is what the next hop answered, if one did.
	Reply Reply `json:"reply,omitzero"`

	// Text is the agent's report, one or more lines, for bounces and logs.
	Text string `json:"text,omitempty"`

	// Where is the place that was tried: a host with its address, a maildir.
	Where string `json:"where,omitempty"`

	// InDoubt says that the message was handed over whole but the answer was
	// lost: it may arrive twice.
	InDoubt bool `json:"inDoubt,omitempty"`

	// Notifies says that the next hop took the recipient's NOTIFY parameter,
	// and with it the duty to report success (RFC 3461, 5.2.1).
	Notifies bool `json:"notifies,omitempty"`
}

// Routing is what a router makes of one recipient.
type Routing struct {
	// Route says how the recipient is reached.
	Route Route `json:"route"`

	// Deliver is the path that the agent is given: completed, and rewritten
	// where a virtual domain says so.
	Deliver Path `json:"deliver"`

	// Display is the path that reports to the sender show.
	Display Path `json:"display"`
}
