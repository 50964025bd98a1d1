// Package queue keeps each message it has accepted until every recipient is
// delivered, bounced or removed by an administrator.
//
// A [Queue] is a [sqmail.Receiver]: what it receives is durable in its
// [Store] when Receive returns nil. [Queue.Run] delivers it: a [Router] says
// where each recipient goes, a [Deliverer] makes the attempts, a [Schedule]
// says when to try again, and what cannot be delivered within the Lifetime is
// reported to the sender as [Bounces] say. A Store, a Deliverer and a call of
// Run are a working queue; every other field has a default.
//
// # Promises
//
// Every recipient ends exactly once. An outcome is durable before the next
// step depends on it; one that the Store does not take is remembered, so that a
// message is delivered twice only if the process dies between a delivery and
// its record. What nobody classified is a deferral: a plain error, a panic, an
// outcome that is missing.
//
// No message outlives its lifetime by more than a minute, and none waits for
// an attempt that has stalled: the Queue looks at the clock itself, and goes on
// without a Deliverer that does not return. Messages that wait for a
// destination are woken when it has room, and looked at every other hour in any
// case. Only a message that another process has leased from a shared Store, and
// died with, is waited for longer: three minutes, until that lease runs out.
//
// A slow or dead destination holds up no other, be it known as such or not: an
// attempt that hears nothing of the next hop for a moment does not count for
// its channel's Concurrency any more, but for a greater number of attempts
// that hang ([Queue].Silent), some of which is kept for mail that has just
// come. A destination begins with one attempt at a time, gets more as it
// answers, and is left alone when it does not ([Limits]). If more new dead
// destinations come than may hang, about three a second by default, and from
// many accounts, then mail waits for a destination that has never answered,
// but not for one that has. Those who wait for one are served in turn, by
// [Queue].Account, and so are those who wait for a channel.
//
// Memory does not grow with the queue, but for some 200 octets for each
// message that waits for a slot, of which there are up to 262,144 (further ones
// are called when there is room), and the state of up to 10,000 destinations
// without work.
//
// # Outcomes
//
// A program that wants to act on what becomes of its mail sets Queue.Outcome,
// which is told of every recipient; senders get Bounces. Stats, Channels and
// Destinations are the numbers for a monitor, Open and Scan read messages with
// the journal of their attempts.
//
// # Events
//
// Log gets these events, for each message in the order of qmail's log; only
// "new msg", which is logged when the message is durable, may come after the
// start of its first delivery. The
// attributes id, from and to are the message's number, its reverse-path and a
// recipient; delivery numbers the attempts at single recipients. Foreign text
// has LF as "/", other control characters as "_", and is cut at 1,000 octets.
//
//	new msg             id bytes from recipients [session]
//	starting delivery   delivery id channel destination to
//	delivery success    … where code reply text took [in doubt] [err]
//	delivery failure    … where code reply text took [in doubt] [err]
//	delivery deferral   … due where code reply text took [in doubt] [err]
//	stalled             … took: the attempt took too long and is cancelled
//	abandoned           … took: nor did it end then
//	trouble routing     id to class err
//	recipient removed   id to
//	bounce msg          id bounce kind to
//	double bounce: discarding, triple bounce: discarding   id
//	end msg             id
//	removed msg         id
//	lease lost          id
//	trouble …           err [id]: the Store or the Receiver of bounces failed
//	panic               in panic stack
package queue
