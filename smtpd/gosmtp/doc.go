// Package gosmtp runs a backend that was written for
// github.com/emersion/go-smtp on package smtpd's engine. Who has a server of
// go-smtp changes one line,
//
//	log.Fatal(server.ListenAndServe())
//
// into
//
//	log.Fatal(gosmtp.From(server).ListenAndServe())
//
// and keeps the rest: [From] takes over the backend and the settings.
// [NewServer] begins with a backend alone, and an [Adapter] is a Policy and a
// Receiver for those who put more around it, such as a chain of filters.
//
// # What stays
//
// Sessions begin at the first hello, and anew at the hello after STARTTLS. Mail,
// Rcpt, Data, LMTPData, Auth, Reset and Logout are called for what they are
// named after, by one goroutine at a time; Reset is called after each
// transaction, Logout once. Data reads the message as the client sent it, dots
// undone, its lines ended by CRLF, and without the trace field that smtpd
// writes. An *smtp.SMTPError, wrapped or not, is answered with its code and
// text.
//
// # What differs
//
//   - An error that is not an SMTPError is a deferral, after Data too, where
//     go-smtp says 554; and the client never hears its text.
//   - An SMTPError with a 2yz code is a success. Of Data its text is told to the
//     client as the name of the message; of Mail and Rcpt it is not told. One
//     with 421 ends the session, one with another code is a deferral. Replies
//     always have an enhanced status code.
//   - The Conn of NewSession is one that go-smtp has made, for this session, but
//     over a connection of which only the ends are real: RemoteAddr, LocalAddr
//     and Hostname tell the truth, which for Hostname is the first hello. Server
//     has the settings, Session is nil. Nothing can be read or written; after
//     Close or Reject the session ends with its next command. Its
//     TLSConnectionState never reports TLS: ask [Peer] for that, for the
//     authenticated user, and for what else is known.
//   - Paths keep the quotes of a quoted local-part, so that each is one that can
//     be sent on.
//   - MailOptions.Auth is always nil: the parameter is a claim that anybody can
//     make. The parameters of RRVS, DELIVERBY, MT-PRIORITY and BINARYMIME are
//     not offered.
//   - A message in chunks is read by Data in the same goroutine. If the client
//     breaks it off, or the message is refused, Data's reader fails; what Data
//     returns then does not count.
//   - A mechanism that AuthMechanisms does not name is refused without a call of
//     Auth. Failed logins are held back for five seconds, and the third ends the
//     session. The user's name is known to logs and trace fields for PLAIN and
//     LOGIN; for others it is "unknown".
//   - LMTPData: replies are sent when it has returned. SetStatus for whom was not
//     named by Rcpt defers every recipient that has no status yet; it does not
//     panic.
//   - Limits and timeouts that are 0 are smtpd's, not without bound.
//   - A panic ends its session with 421, a Shutdown ends idle sessions, and all
//     that smtpd promises of the wire holds.
package gosmtp
