package pop3

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

// Server is a POP3 server. Its zero value is ready to use; a zero field means
// the default that its comment tells. Fields must not be changed once a
// method has been called. Methods may be called concurrently.
type Server struct {
	// Addr is where ListenAndServe listens. "": ":110", or ":995" for
	// ListenAndServeTLS.
	Addr string

	// Name is the listener's name in logs and in Peer.Listener. "": "pop3".
	Name string

	// ForPeer, if not nil, is asked for the Server whose settings serve a
	// connection, before anything is said to it. It may set peer.Name, the
	// reverse name of the client. Nil with a nil error: this Server. An error
	// sends the client away: with -ERR [SYS/PERM] if it is a rejection, else
	// with -ERR [SYS/TEMP].
	//
	// Of the Server that it returns Addr, Name, Log, ForPeer, ProxyFrom, the
	// timeouts and the limits of connections are not used. It should return the same few
	// Servers again and again.
	ForPeer func(ctx context.Context, peer *sqmail.Peer) (*Server, error)

	// ProxyFrom lists the proxies in front of this server, such as
	// "10.0.0.5/32". Each of their connections must begin with a PROXY header,
	// version 1 or 2, before TLS and all else; the addresses that it tells
	// hold for limits and logs. It is not believed from others. Nil: there are
	// no proxies.
	ProxyFrom []netip.Prefix

	// HostName is the name of this host in APOP's timestamp. "": "localhost".
	HostName string

	// Verifier checks what clients show. Its Identity names the maildir. Nil:
	// nobody can log in, now.
	Verifier auth.Verifier

	// Open opens the maildrop of a user. Nil: the Open method of a Maildirs
	// without limits of its own.
	Open func(ctx context.Context, id auth.Identity) (Maildrop, error)

	// TLSConfig is the server's side of TLS. Nil: no TLS.
	TLSConfig *tls.Config

	// STLS says whether STLS is offered. The zero Mode offers it if TLSConfig
	// is set; with Required a client that tries to log in before it is sent
	// away.
	STLS Mode

	// APOP offers APOP, for which the Verifier must know passwords in clear.
	APOP bool

	// NoPassword refuses logins that show the password: USER, AUTH PLAIN.
	NoPassword bool

	// CleartextAuth takes passwords also without TLS. False: only under TLS,
	// and from clients with a loopback address.
	CleartextAuth bool

	// AuthFailureDelay is how long the reply to a failed login is held back.
	// 0: 5 seconds. Negative: not at all.
	AuthFailureDelay time.Duration

	// MaxBadCommands is the number of commands in a session that are unknown
	// or malformed; the next is the last. 0: 20. Negative: no limit.
	MaxBadCommands int

	// IdleTimeout is how long a session waits for a whole command. 0: 20
	// minutes; RFC 1939, 3 asks for 10 at least. Negative: for ever.
	IdleTimeout time.Duration

	// WriteTimeout is how long the client may take for 32 KiB of what it has
	// asked for. 0: 3 minutes. Negative: for ever.
	WriteTimeout time.Duration

	// MaxConnections bounds the connections at a time, MaxPerAddress those of
	// one IP address, and MaxPerNetwork those of one /24 of IPv4 or /64 of
	// IPv6; further ones hear -ERR. 0: 10,000, 100 and 500. Negative: no
	// limit. Loopback addresses count in the first only. Of TLS handshakes
	// 1,000 may go on at a time; the one that has lasted longest makes room.
	MaxConnections, MaxPerAddress, MaxPerNetwork int

	// Log gets one event per login, and per session that had one. Nil:
	// discarded.
	Log *slog.Logger

	once     sync.Once
	engine   serve.Server
	maildirs Maildirs
	log      *slog.Logger
}

// Mode says whether an extension is offered.
type Mode uint8

// The zero Mode offers what the server is equipped for.
const (
	Offered  Mode = iota // if the server has what it takes
	Off                  // neither offered nor accepted
	Required             // offered, and no login without it
)

const (
	defaultFailureDelay = 5 * time.Second
	defaultBadCommands  = 20
	defaultIdle         = 20 * time.Minute
)

// ListenAndServe listens on Addr and serves connections that begin in clear.
// It always returns an error; see Serve.
func (s *Server) ListenAndServe() error { return s.listen(":110", s.Serve) }

// ListenAndServeTLS is ListenAndServe for connections that begin with a TLS
// handshake (RFC 8314, 3.3).
func (s *Server) ListenAndServeTLS() error { return s.listen(":995", s.ServeTLS) }

func (s *Server) listen(addr string, serve func(net.Listener) error) error {
	if s.Addr != "" {
		addr = s.Addr
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serve(ln)
}

// Serve accepts connections from ln, and closes it at the end. It returns
// ErrServerClosed after Shutdown or Close, else the listener's error. Several
// listeners may be served at a time.
func (s *Server) Serve(ln net.Listener) error { return s.serving().Serve(ln) }

// ServeTLS is Serve for connections that begin with a TLS handshake. It needs
// TLSConfig.
func (s *Server) ServeTLS(ln net.Listener) error { return s.serving().ServeTLS(ln) }

// ServeConn serves one connection and returns when it is closed. The error
// tells why there was no session.
func (s *Server) ServeConn(c net.Conn) error { return s.serving().ServeConn(c) }

// Shutdown stops accepting. Sessions that wait for a command are ended without
// removing anything; a command that is being served is finished first. When
// ctx ends, Shutdown closes what is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error { return s.serving().Shutdown(ctx) }

// Close closes the listeners and all connections, and waits for the sessions
// to end. The error is nil.
func (s *Server) Close() error { return s.serving().Close() }

func (s *Server) serving() *serve.Server {
	s.once.Do(func() {
		if s.log = s.Log; s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		s.engine.Name = s.Name
		if s.Name == "" {
			s.engine.Name = "pop3"
		}
		s.engine.Handler = s.handle
		s.engine.Preamble = serve.ProxyHeader(s.ProxyFrom)
		s.engine.Refuse = func(c *serve.Conn, _ error) { c.WriteString(replyTooMany) }
		s.engine.TLSConfig = s.TLSConfig
		s.engine.Limits = serve.Limits{Total: s.MaxConnections, PerAddress: s.MaxPerAddress, PerPrefix: s.MaxPerNetwork}
		s.engine.Timeouts = serve.Timeouts{Idle: orDefault(s.IdleTimeout, defaultIdle), Write: s.WriteTimeout}
		s.engine.Log = s.Log
	})
	return &s.engine
}

func (s *Server) handle(ctx context.Context, c *serve.Conn) {
	x := &session{srv: s, log: s.log, ctx: ctx, conn: c}
	defer x.end()
	x.run()
}

// open opens the maildrop of id.
func (s *Server) open(ctx context.Context, id auth.Identity) (Maildrop, error) {
	if s.Open != nil {
		return s.Open(ctx, id)
	}
	return s.maildirs.Open(ctx, id)
}
