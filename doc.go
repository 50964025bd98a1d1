// Package sqmail holds the words of mail transport as Go types: what a server
// receives, a queue keeps and a delivery agent hands on.
//
// The packages below it meet only through these types. A server (package
// smtpd) builds an [Envelope], and passes it with the message to a [Receiver];
// the queue is a Receiver, a filter may wrap one, and a program of yours can
// be one in five lines ([ReceiverFunc]). The queue hands a [Message] to a
// delivery agent, which answers with an [Outcome] for each recipient.
//
// # What an error means
//
// Everywhere in this module an error is a deferral (a 4yz reply, "try again")
// unless its chain holds an [*Error] whose class says otherwise. Nothing that
// was not classified on purpose ever turns into a permanent failure. The peer
// is told the fixed sentence of the error's [Reply], never its cause.
//
// # Line ends
//
// Inside this module a message has the line ends of a Unix file: LF. Servers
// convert on the way in, agents on the way out.
package sqmail
