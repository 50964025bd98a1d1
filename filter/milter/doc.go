// Package milter asks milters, the mail filters of sendmail and Postfix, about
// sessions and messages.
//
// A [Filter] is a filter for the stages connect, hello, reverse-path,
// recipient and body. Put it last in a filter.Chain, so that the milter hears
// only of recipients that the others let in.
//
// # What becomes of answers
//
//	continue           go on
//	accept             the milter is not asked again: about the session, if it
//	                   says so at connect or hello, else about the message
//	reject             550 5.7.1 (554 in place of the greeting)
//	tempfail           451 4.7.1
//	reply code         that reply; 421 closes the session as well
//	discard            554 5.7.1: no message vanishes
//	add, insert field  the field stands before the message
//
// Messages are on their way to the queue while the milter sees them, so that
// nothing in them can be changed any more. A milter that changes or removes
// a field gets its will if the message has no such field: then there is nothing
// to remove, or one to add. Everything else (a field that is there, the
// body, the reverse-path, recipients, quarantine) cannot be done, and defers
// the message, unless IgnoreChanges is set. A milter that says from the start
// that it needs more than that is not asked at all; each message is deferred, and
// the log says why.
//
// # Promises
//
//   - A milter that cannot be reached, breaks off, is slow, or says what nobody
//     understands is a deferral; or, if Pass is set, the message goes on and a
//     warning is logged. It is found out once for each message.
//   - There is one connection for each session, which ends with the session's
//     context. If it is lost, the next message has a new one.
//   - Answers are bounded, in octets and in time, "progress" included.
//   - A milter sees the message as it comes: fields unfolded as they were
//     written, lines of the body ended by CRLF, the trace field of this server
//     left out.
package milter
