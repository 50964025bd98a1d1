// Package delivery decides how each recipient is reached, and hands messages
// to the agents that reach them.
//
// A [Router] is qmail's routing as tables in memory: which domains are local
// and which virtual, which relay takes the rest. It looks nothing up and reads
// no files, is asked again before each attempt, and tells with [Router.Explain]
// which rules decided. It fits queue.Router.
//
// [Agents] sends a message to the agent of its channel, and fits
// queue.Deliverer; so does each agent. The agents themselves are in
// delivery/local (maildirs, mboxes, programs, forwards) and delivery/remote
// (SMTP and LMTP).
//
// # Addresses
//
// Tables hold addresses and domains in the unquoted form of qmail's control
// files ([sqmail.Path.Unquoted]), and are compared without regard to ASCII
// case.
package delivery
