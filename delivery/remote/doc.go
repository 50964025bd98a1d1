// Package remote delivers messages to other hosts, by SMTP and LMTP.
//
// An [Agent] hands a message to the mail exchangers of a domain or to a relay,
// and says of each recipient what became of it: accepted only when the peer has
// said so after the final dot, rejected only on the word of the peer or of the
// DNS, deferred in all other cases. If the connection breaks between the final
// dot and the answer the outcome is in doubt, and says so. It keeps RFC 5321
// (5 for whom to call), RFC 3207, RFC 1870, RFC 2033, RFC 2920, RFC 3461,
// RFC 4954, RFC 6152, RFC 6531, RFC 7505 and RFC 8689; the rules, and the
// words of the reports, are those of spec/remote.md.
//
// Its method Deliver has the shape of queue.Deliverer.
//
// # Connections
//
// A connection waits some seconds for the next message to the same address,
// with the same credentials, and under the same TLS rule. One that turns out
// to be dead before MAIL was answered is replaced, once, by a new one. An
// address that did not take a connection twice is left alone for an hour or
// more. Shutdown ends the connections that wait; an Agent that is dropped
// without it holds them until their time is over.
//
// # TLS
//
// What protects a connection is a [TLSRule], chosen for each host by a
// [TLSPolicy]. Without one, TLS is used where it is offered and works. No
// failure of TLS is ever a rejection.
//
// # Why this is not go-smtp's client
//
// The client of go-smtp (v0.25.1) waits for the reply to each command, where
// PIPELINING saves a round trip for each; it always asks for BODY=8BITMIME
// where that is offered; it bounds the lines of a reply, but not the reply; it
// says EHLO again after RSET; and the body goes through net/textproto's
// DotWriter alone, which passes a bare CR. Taking the bytes away from it below
// its net.Conn would be more code than the dialogue is. It is the tests'
// foreign peer, by its server.
package remote
