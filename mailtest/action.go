package mailtest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Stage is a point in a session where a [Peer] can be told what to do.
type Stage string

// The stages of a session, in their order.
const (
	Connect  Stage = "connect"  // before the greeting
	Hello    Stage = "hello"    // HELO, EHLO, LHLO
	StartTLS Stage = "starttls" // STARTTLS
	Auth     Stage = "auth"     // AUTH, when the credentials are there
	Mail     Stage = "mail"     // MAIL
	Rcpt     Stage = "rcpt"     // RCPT
	Data     Stage = "data"     // DATA, or the first BDAT
	Body     Stage = "body"     // the message is there whole; LMTP: each of its recipients
	Rset     Stage = "rset"     // RSET
	Noop     Stage = "noop"     // NOOP
	Quit     Stage = "quit"     // QUIT
	Unknown  Stage = "unknown"  // any other verb
)

// Action is what a [Peer] does in place of its usual answer. Delay, Slow,
// DropAfter and Take can stand before the others, or alone.
type Action struct {
	mu   sync.Mutex
	deed deed
}

// deed is what an Action says.
type deed struct {
	delay     time.Duration
	rate      int
	dropAfter int
	take      bool
	reply     string
	end       ending
}

// ending is how a session ends for its client.
type ending uint8

const (
	goesOn ending = iota
	hangs
	stalls
	drops
	closes
	halfCloses
	garbles
)

func (a *Action) set(change func(*deed)) *Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.deed)
	return a
}

func (a *Action) get() deed {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.deed
}

// Reply gives a reply: its code, the enhanced status code or "", and the text,
// whose lines are separated by LF. What a code of 2yz or 3yz answers has
// happened, what another answers has not; 421 closes the connection.
func (a *Action) Reply(code int, enhanced, text string) {
	a.set(func(d *deed) { d.reply = formatReply(code, enhanced, text) })
}

// Raw gives a reply as it stands: to be malformed, too long, without an end.
func (a *Action) Raw(reply string) { a.set(func(d *deed) { d.reply = reply }) }

// Hang reads what the client sends and answers nothing, until the client goes
// or the test ends.
func (a *Action) Hang() { a.set(func(d *deed) { d.end = hangs }) }

// Stall neither reads nor writes, until the test ends: the client's writes
// come to stand when the buffers are full.
func (a *Action) Stall() { a.set(func(d *deed) { d.end = stalls }) }

// Drop resets the connection.
func (a *Action) Drop() { a.set(func(d *deed) { d.end = drops }) }

// Close closes the connection in order, without a reply.
func (a *Action) Close() { a.set(func(d *deed) { d.end = closes }) }

// HalfClose ends the peer's direction of the connection in order, without a
// reply, and goes on reading until the client goes or the test ends.
func (a *Action) HalfClose() { a.set(func(d *deed) { d.end = halfCloses }) }

// BadTLS answers the client's TLS handshake with what is none. At the stage
// StartTLS that is after the reply 220, at the stage Connect it is for a peer
// with implicit TLS.
func (a *Action) BadTLS() { a.set(func(d *deed) { d.end = garbles }) }

// Delay waits before whatever is done.
func (a *Action) Delay(wait time.Duration) *Action { return a.set(func(d *deed) { d.delay = wait }) }

// Slow makes the connection, from here on, carry n octets a second in each
// direction.
func (a *Action) Slow(n int) *Action { return a.set(func(d *deed) { d.rate = n }) }

// DropAfter makes the connection, from here on, end with a reset when n more
// octets have been read.
func (a *Action) DropAfter(n int) *Action { return a.set(func(d *deed) { d.dropAfter = n }) }

// Take makes the peer, at the stage Body, record the message whatever it
// answers: the client is left in doubt.
func (a *Action) Take() *Action { return a.set(func(d *deed) { d.take = true }) }

// formatReply writes a reply with CRLF after each line.
func formatReply(code int, enhanced, text string) string {
	var b strings.Builder
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		if enhanced != "" {
			line = enhanced + " " + line
		}
		fmt.Fprintf(&b, "%03d%s%s\r\n", code, sep, line)
	}
	return b.String()
}
