// Package filter decides what mail comes in, and can tell why.
//
// A [Filter] looks at one thing: the hello name, the reverse-path, a recipient,
// the message. It has a method for each stage at which it wants to be asked
// ([ConnectFilter], [HelloFilter], [ReversePathFilter], [RecipientFilter],
// [DataFilter], [BodyFilter]), and answers with a [sqmail.Verdict]: the action,
// the reply, and the rule with its file and line that decided. Each filter of
// this package is a plain Go value that needs no file, and works alone.
//
// A [Chain] asks its filters in order and is the policy of a server: it fits
// smtpd.Policy. The first verdict that refuses ends the matter. Whatever is
// decided is one event in the log, and is kept with the message, so that it
// can be asked for later.
//
// # Relay clients
//
// Most filters look only at strangers. A session is a relay client if its user
// has authenticated or the rules of its connection say so
// ([Session.RelayClient]); it may send to any domain, and is not asked for its
// hello name, its domain's address and the like.
//
// # Where to start
//
// In the order in which they are best asked (smtpd.md, 4.5): [OwnLiterals], [DNSLists],
// [BadHello], [SenderDomain], [RcptHosts], [Tarpit], [Recipients], [SPF],
// [LocalSender] and [RelaySuffix] for relay clients, [BadMailFrom],
// [BadRcptTo], [MaxRecipients], and [Greylist] last; [BadMIMEType] and
// [BadLoaderType] look at messages. Package compile makes the databases that
// some of them look things up in ([CDB]); packages greylist and policy remember
// who has tried before; package callout asks the next server for mailboxes.
//
// # Explaining, and deciding again
//
// [Chain.Explain] runs the filters on what a client would bring, and nobody
// remembers it ([Session.DryRun]). In a session the verdicts go into the Trace of
// its peer, and so does what others have answered: DNS, if the filters' Resolver
// is one of [RecordDNS], and daemons and stores, asked by an [OutsideFilter]. The
// server logs the Trace; a [LogReader] finds it in the log, and [Chain.Replay]
// decides again by other rules, asking nobody.
//
// # Promises
//
//   - An error of a filter is a deferral; the client hears a fixed sentence.
//     (Greylisting alone lets mail in when it is out of order.)
//   - No filter holds a message in memory, and none costs more than in
//     proportion to what it reads.
//   - Without a filter that says for whom to relay ([RcptHosts], or another
//     [RelayFilter]) a Chain relays for nobody but relay clients.
package filter
