// Package callout asks the mail server that is next on a message's way which
// mailboxes exist, by a dialogue that ends before a message: as qmail-smtpam
// does, and as gateways do that have no list of the users behind them. Spec:
// filter.md, 7.5.
//
// A [Server] is a source of filter.Recipients.
//
// # Promises
//
//   - Whatever the server does but to say that it takes a recipient, or that it
//     does not, is an error, and so a deferral: no mail is rejected because a
//     server is away, out of order, or refuses to talk to us.
//   - A dialogue is bounded in time and memory, and so are the number of them
//     and the answers that are kept for a while.
package callout
