package sqmail

import (
	"crypto/tls"
	"net/netip"
)

// Peer is who is at the other end of a session. A server fills it in as it
// learns; it is the session's, and not to be changed by others, but that they
// may add to its Trace.
type Peer struct {
	// Session names the session in logs, unique in the life of a server.
	Session string

	// Listener is the name of the server that accepted the connection.
	Listener string

	// Remote and Local are the ends of the connection; an IPv4 address mapped
	// into IPv6 is unmapped. Behind a proxy they are the original ones. The
	// zero AddrPort: not known (an in-memory connection).
	Remote, Local netip.AddrPort

	// Name is the reverse name of Remote in lower case, without a dot at the
	// end; "" if it was not looked up or there is none.
	Name string

	// Hello is the argument of the last HELO or EHLO; "" before.
	Hello string

	// Protocol is how mail comes in, in the words of RFC 3848: SMTP, ESMTP,
	// ESMTPS, ESMTPSA, LMTP, QMTP … It follows the state of the session.
	Protocol string

	// TLS is the state of the connection's encryption; nil means cleartext.
	TLS *tls.ConnectionState

	// User is the authenticated identity, Mechanism how it was proven (in
	// lower case: "plain"); "" means: nobody has authenticated.
	User, Mechanism string

	// Trace is where the session's story is kept: whoever decides something
	// adds to it. Nil: nobody wants to know.
	Trace *Trace
}
