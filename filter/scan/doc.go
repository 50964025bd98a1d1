// Package scan has filters that ask a daemon about messages: [Clamd] about
// viruses, [Spamd] and [Rspamd] about spam.
//
// Each is a filter.BodyFilter: it goes in a filter.Chain, or is used alone:
// Body gives a scanner, which is given the message and then asked for its
// verdict.
//
// # Promises
//
//   - A daemon that cannot be reached, is slow, breaks off or says what
//     nobody understands is a deferral; or, if Pass is set, the message goes
//     on, and a warning is logged.
//   - There is one connection for each message, and it is closed on all
//     paths. Every wait ends with the context, and with Timeout.
//   - Answers are bounded, and what they add to a header cannot make a second
//     field of one.
//   - No message is held in memory. Clamd is shown it while it passes. Spamd
//     and rspamd count the time that the client takes as theirs (spamd even
//     holds a process for it), so that slow clients would never get
//     their mail in: for these the message is put by, in a file without a name,
//     and sent when it is complete.
//
// A field that says that a message is spam can also be written by its sender:
// what stands in the message cannot be taken out any more. The fields of this
// package stand before the message, so the first of a name counts.
package scan
