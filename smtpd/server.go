package smtpd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/internal/serve"
)

// Server is an SMTP server. Its zero value is ready to use; a zero field means
// the default that its comment tells. Fields must not be changed once Serve
// has been called. Methods may be called concurrently.
type Server struct {
	// Addr is where ListenAndServe listens. "": ":25", or ":465" for
	// ListenAndServeTLS.
	Addr string

	// Name is the listener's name in logs and in Peer.Listener. "": "smtpd".
	Name string

	// HelloName is the name of this host in the greeting, in replies and in
	// trace fields. "": the local end of the connection as an address literal
	// (RFC 5321, 4.1.3), or "localhost" if that is not known.
	HelloName string

	// Greeting is what follows the host name in the greeting. "": "ESMTP", or
	// "LMTP".
	Greeting string

	// Receiver takes the messages. Nil: the server takes none, and says 451
	// to MAIL. See also LMTPReceiver.
	Receiver sqmail.Receiver

	// Policy decides what is taken. Nil: recipients are taken from
	// authenticated sessions and from clients with a loopback address; all
	// others are refused with 550 5.7.1, and so are those whose address is not
	// known. To take everything, say so: AcceptAll. Behind a proxy on the
	// same host, which gives all clients its own address, ProxyFrom or a
	// Policy is needed.
	Policy Policy

	// ForPeer, if not nil, is asked for the Server whose settings serve a
	// connection, before anything is said to it: extensions, limits, policy
	// and texts by client. It may set peer.Name, the reverse name of the
	// client. Nil with a nil error: this Server. An error refuses the
	// connection, as CheckConnect does.
	//
	// Of the Server that it returns Addr, Name, Log, ForPeer, ProxyFrom and the
	// limits of connections are not used, nor is TLSConfig for implicit TLS. It should
	// return the same few Servers again and again.
	ForPeer func(ctx context.Context, peer *sqmail.Peer) (*Server, error)

	// ProxyFrom lists the proxies in front of this server, such as
	// "10.0.0.5/32". Each of their connections must begin with a PROXY header,
	// version 1 or 2, before TLS and all else; the addresses that it tells
	// hold for limits, logs and Policy. It is not believed from others. Nil:
	// there are no proxies.
	ProxyFrom []netip.Prefix

	// XCLIENTFrom lists the hosts that may tell with XCLIENT who their client
	// is: address, name, and the user whom they have authenticated (mechanism
	// "xclient"). All are believed; the session begins anew, asks ForPeer and
	// Policy again, and holds the client's certificate for the proxy's. Limits
	// of connections count the proxy. Others hear 550. Nil: nobody may.
	XCLIENTFrom []netip.Prefix

	// TLSConfig is the server's side of TLS. Nil: no TLS. Versions before
	// TLS 1.2 are refused unless its MinVersion allows them. With ClientCAs and
	// ClientAuth RequestClientCert certificates of clients are verified after
	// the handshake: one that those authorities have not issued proves nothing,
	// and the session goes on.
	TLSConfig *tls.Config

	// StartTLS says whether STARTTLS is offered. The zero Mode offers it if
	// TLSConfig is set; Required refuses MAIL, RCPT and AUTH before it, for
	// ever if TLSConfig is nil. Implicit TLS satisfies it.
	StartTLS Mode

	// Certificate, if not nil, is shown the state of a connection whose client
	// has presented a certificate that was verified by TLSConfig, and returns the
	// user whom it authenticates; "": nobody. Such a session has the mechanism
	// "cert", satisfies Authentication: Required, and is not offered AUTH. Nil:
	// certificates authenticate nobody.
	Certificate func(state *tls.ConnectionState) (user string)

	// Verifier checks the credentials of AUTH. Nil: AUTH is not offered.
	Verifier auth.Verifier

	// Authentication says whether AUTH is offered. The zero Mode offers it if
	// Verifier is set; Required refuses MAIL before it, for ever if there is
	// no Verifier.
	Authentication Mode

	// Mechanisms are the SASL mechanisms offered, in that order. Nil: LOGIN
	// and PLAIN.
	Mechanisms []string

	// CleartextAuth offers mechanisms that show the password also without
	// TLS. False: only under TLS, and to clients with a loopback address.
	// StartTLS: Required comes before it.
	CleartextAuth bool

	// LMTP speaks RFC 2033 in place of SMTP: LHLO, and a reply for each
	// recipient after the message.
	LMTP bool

	// Hide lists EHLO keywords that are neither offered nor accepted, such as
	// "SMTPUTF8". PIPELINING and SIZE cannot be hidden.
	Hide []string

	// ClassicReplies writes the enhanced status code at the end of a reply,
	// "(#5.7.1)", as qmail's log readers expect, in place of RFC 2034.
	ClassicReplies bool

	// LooseSyntax takes what RFC 5321 forbids and old clients do: MAIL and RCPT
	// with blanks after the colon, without angle brackets, or with a path that
	// has no domain, and MAIL without a hello.
	LooseSyntax bool

	// BareLF says what becomes of a LF without CR, and of a CR without LF, in
	// a message. The zero value refuses the message and closes the session.
	// Whatever it says, neither ever ends a line before "." or a message.
	BareLF BareLF

	// TraceFor adds the recipient to the Received field of messages that have
	// only one.
	TraceFor bool

	// MaxMessageBytes is the greatest message in octets, line ends counted as
	// one, our trace fields not at all. 0: 64 MiB. Negative: no limit.
	MaxMessageBytes int64

	// TooBigText is added to the 552 that refuses a greater one: a line of
	// printable ASCII. "": nothing.
	TooBigText string

	// MaxRecipients is the number of RCPT commands in a transaction that are
	// looked at; further ones hear 452, and so do those beyond 256 octets for
	// each of that number. 0: 1000. Negative: no limit. A number that is not
	// the default is announced (LIMITS RCPTMAX, RFC 9422).
	MaxRecipients int

	// MaxTransactions is the number of MAIL commands of a session that begin a
	// transaction; the next one hears 421, and the session is closed. It is
	// announced (LIMITS MAILMAX, RFC 9422). 0 or negative: no limit.
	MaxTransactions int

	// MaxHops is the number of Received and Delivered-To fields at which a
	// message is refused as looping. 0: 100. Negative: no limit.
	MaxHops int

	// MaxBadCommands is the number of commands between two messages that may
	// be unknown, malformed or not offered; the next one hears 421, and the
	// session is closed. 0: 10. Negative: no limit.
	MaxBadCommands int

	// MaxAuthFailures is the number of failed AUTH commands at which a
	// session is closed. 0: 3. Negative: no limit.
	MaxAuthFailures int

	// AuthFailureDelay is how long the reply to a failed AUTH is held back.
	// 0: 5 seconds. Negative: not at all.
	AuthFailureDelay time.Duration

	// GreetDelay is how long the greeting is held back. A client that speaks
	// before it is refused with 554. With a delay of 0 that is a client whose
	// words have arrived when the greeting is due.
	GreetDelay time.Duration

	// IdleTimeout is how long a session waits for a whole command. 0: 5
	// minutes (RFC 5321, 4.5.3.2.7). Negative: for ever.
	IdleTimeout time.Duration

	// BodyTimeout is how long the client may pause within a message, and
	// MinRate the octets per second below which its pauses add up to that.
	// 0: 3 minutes, and 100 octets per second. Negative: no bound.
	BodyTimeout time.Duration
	MinRate     int

	// WriteTimeout is how long the client may take to accept a reply. 0: 3
	// minutes. Negative: for ever.
	WriteTimeout time.Duration

	// MaxConnections bounds the connections at a time, MaxPerAddress those of
	// one IP address, and MaxPerNetwork those of one /24 of IPv4 or /64 of
	// IPv6; further ones hear 421. 0: 10,000, 100 and 500. Negative: no
	// limit. Loopback addresses count in the first only. With these defaults
	// 5,000 clients that send an octet a second, in whatever state of a
	// session, hold less than 200 MB. Of TLS handshakes 1,000 may go on at a
	// time; the one that has lasted longest makes room.
	MaxConnections, MaxPerAddress, MaxPerNetwork int

	// Log gets one event per decision and per message. Nil: discarded.
	Log *slog.Logger

	once   sync.Once
	made   *settings
	start  sync.Once
	engine serve.Server
}

// Mode says whether an extension is offered.
type Mode uint8

// The zero Mode offers what the server is equipped for.
const (
	Offered  Mode = iota // if the server has what it takes
	Off                  // neither offered nor accepted
	Required             // offered, and mail refused without it
)

// BareLF says what becomes of a bare LF or CR in a message.
type BareLF uint8

// The zero BareLF refuses.
const (
	RefuseBareLF BareLF = iota // refuse the message, close the session
	RepairBareLF               // make a line end of it
	PassBareLF                 // hand it on as it is
)

// ErrServerClosed is what Serve and its like return after Shutdown or Close.
var ErrServerClosed = serve.ErrServerClosed

// ListenAndServe listens on Addr and serves. The error is never nil; see
// Serve.
func (s *Server) ListenAndServe() error {
	l, err := net.Listen("tcp", orDefault(s.Addr, ":25"))
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// ListenAndServeTLS listens on Addr and serves with implicit TLS (RFC 8314).
// The error is never nil; see ServeTLS.
func (s *Server) ListenAndServeTLS() error {
	l, err := net.Listen("tcp", orDefault(s.Addr, ":465"))
	if err != nil {
		return err
	}
	return s.ServeTLS(l)
}

// Serve accepts connections from l, which it closes, and serves each in a
// goroutine of its own. It returns when l fails, or with ErrServerClosed after
// Shutdown or Close. Several listeners may be served at a time.
func (s *Server) Serve(l net.Listener) error { return s.running().Serve(l) }

// ServeTLS is Serve with implicit TLS: each connection begins with a
// handshake. It fails if TLSConfig is nil.
func (s *Server) ServeTLS(l net.Listener) error { return s.running().ServeTLS(l) }

// ServeConn serves one connection, which it closes, and returns when that is
// over. The error tells why there was no session.
func (s *Server) ServeConn(conn net.Conn) error { return s.running().ServeConn(conn) }

// Shutdown stops accepting, says 421 to the sessions that wait for a command,
// lets those in the midst of a message finish, and waits for them. When ctx
// ends before that it closes what is left and returns ctx's error. A Server
// that was shut down stays so.
func (s *Server) Shutdown(ctx context.Context) error { return s.running().Shutdown(ctx) }

// Close stops accepting, closes all connections, ends the contexts of Policy,
// Receiver and Verifier, and waits for them to return. It may follow a
// Shutdown that failed. A message that the Receiver has not yet taken is not
// taken by the client for delivered.
func (s *Server) Close() error { return s.running().Close() }

// running returns the engine, set up.
func (s *Server) running() *serve.Server {
	s.start.Do(func() {
		s.engine.Name = orDefault(s.Name, "smtpd")
		s.engine.Handler = s.serve
		s.engine.Refuse = refuseConn
		s.engine.Preamble = serve.ProxyHeader(s.ProxyFrom)
		s.engine.TLSConfig = s.TLSConfig
		s.engine.Limits = serve.Limits{Total: s.MaxConnections, PerAddress: s.MaxPerAddress, PerPrefix: s.MaxPerNetwork}
		s.engine.Timeouts = s.settings().timeouts
		s.engine.Log = s.Log
	})
	return &s.engine
}

// refuseConn tells a client why there is no session for it.
func refuseConn(c *serve.Conn, why error) {
	c.Write(replyStyle{}.appendReply(nil, replyTooMany))
}

// serve leads one session.
func (s *Server) serve(ctx context.Context, c *serve.Conn) {
	sess := &session{srv: s, set: s.settings(), ctx: ctx, conn: c, peer: c.Peer()}
	sess.policy = sess.set.policy
	sess.peer.Trace = s.storyOf(ctx)
	sess.run()
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return discard
	}
	return s.Log
}

var discard = slog.New(slog.DiscardHandler)
