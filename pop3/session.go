package pop3

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/internal/serve"
	"github.com/sqmail/sqmail/internal/wire"
)

// The longest lines, CRLF not included. RFC 2449, 4 allows 255 octets; but a
// password may be as long as the Verifier is given, and a response of AUTH is
// that in base64.
const (
	maxCommand  = auth.MaxPassword + 16
	maxResponse = 12288
)

// session is one connection. It is in the AUTHORIZATION state while drop is
// nil, then in the TRANSACTION state (RFC 1939, 3).
type session struct {
	srv  *Server // whose settings hold
	log  *slog.Logger
	ctx  context.Context
	conn *serve.Conn
	peer *sqmail.Peer

	timestamp string // of APOP; "": not offered
	user      string // from USER

	drop      Maildrop
	deleted   []bool // by message
	highest   int    // the highest number deleted, for LAST
	retrieved int

	bad  int
	over bool // no further command is read
}

// verb is a command: what serves it, and the state in which it is known.
type verb struct {
	serve func(x *session, arg string)
	state state
}

type state uint8

const (
	always state = iota
	beforeLogin
	afterLogin
)

var verbs = map[string]verb{
	"CAPA": {(*session).capa, always},
	"NOOP": {(*session).noop, always},
	"QUIT": {(*session).quit, always},

	"USER": {(*session).userCommand, beforeLogin},
	"PASS": {(*session).passCommand, beforeLogin},
	"APOP": {(*session).apopCommand, beforeLogin},
	"AUTH": {(*session).authCommand, beforeLogin},
	"STLS": {(*session).stls, beforeLogin},

	"STAT": {(*session).stat, afterLogin},
	"LIST": {(*session).list, afterLogin},
	"UIDL": {(*session).uidl, afterLogin},
	"RETR": {(*session).retr, afterLogin},
	"TOP":  {(*session).top, afterLogin},
	"DELE": {(*session).dele, afterLogin},
	"LAST": {(*session).last, afterLogin},
	"RSET": {(*session).rset, afterLogin},
}

// run leads the session to its end.
func (x *session) run() {
	x.peer = x.conn.Peer()
	x.setProtocol()
	if x.admit() {
		x.greet()
	}
	for !x.over {
		line, err := x.conn.ReadLine(maxCommand)
		if err == nil {
			x.dispatch(line)
			continue
		}
		x.lineError(err)
	}
}

// admit asks whose settings serve this client, and reports whether any do.
func (x *session) admit() bool {
	if x.srv.ForPeer == nil {
		return true
	}
	srv, err := x.srv.ForPeer(x.ctx, x.peer)
	if err != nil {
		x.over = true
		x.event(slog.LevelInfo, "client refused", "err", err)
		if sqmail.ClassOf(err) == sqmail.Rejection {
			x.say(replyNotForYou)
		} else {
			x.say(replyNotNow)
		}
		return false
	}
	if srv != nil {
		x.srv = srv
	}
	return true
}

// end frees what the session holds, and logs what it was.
func (x *session) end() {
	if x.drop == nil {
		return
	}
	if err := x.drop.Close(); err != nil {
		x.event(slog.LevelWarn, "maildrop not closed", "err", err)
	}
	x.event(slog.LevelInfo, "session ended", "messages", len(x.deleted), "retrieved", x.retrieved)
}

func (x *session) greet() {
	if !x.srv.APOP {
		x.say("+OK POP3 ready\r\n")
		return
	}
	x.timestamp = auth.NewChallenge(x.srv.HostName)
	x.say("+OK " + x.timestamp + "\r\n")
}

// dispatch serves a command.
func (x *session) dispatch(line []byte) {
	word, arg, _ := bytes.Cut(line, []byte(" "))
	v, known := verbs[strings.ToUpper(string(word))]
	switch {
	case !known && x.drop == nil:
		x.wrong(replyLoginOnly)
	case !known:
		x.wrong(replyUnknown)
	case v.state == afterLogin && x.drop == nil:
		x.wrong(replyLoginOnly)
	case v.state == beforeLogin && x.drop != nil:
		x.wrong(replyLoggedIn)
	default:
		v.serve(x, string(bytes.TrimLeft(arg, " ")))
	}
}

// lineError answers a line that is no command, or ends the session.
func (x *session) lineError(err error) {
	switch {
	case errors.Is(err, wire.ErrLineTooLong):
		x.wrong(replyTooLong)
	case errors.Is(err, wire.ErrBareCR), errors.Is(err, wire.ErrNUL):
		x.wrong(replyCharacters)
	case errors.Is(err, wire.ErrBareLF):
		x.conn.Linger()
		x.final(replyBareLF)
	case errors.Is(err, serve.ErrIdle):
		x.final(replyIdle)
	case errors.Is(err, serve.ErrServerClosed):
		x.final(replyShutdown)
	default:
		x.over = true
	}
}

// say sends a reply. That it cannot be sent shows at the next read.
func (x *session) say(reply string) { x.conn.WriteString(reply) }

// final sends the reply that ends the session.
func (x *session) final(reply string) {
	x.say(reply)
	x.over = true
}

// wrong answers a command that the client should not have sent.
func (x *session) wrong(reply string) {
	x.bad++
	if most := orDefault(x.srv.MaxBadCommands, defaultBadCommands); most > 0 && x.bad > most {
		x.final(replyTooManyBad)
		return
	}
	x.say(reply)
}

func (x *session) noop(string) { x.say(replyOK) }

// event logs with what names the session.
func (x *session) event(level slog.Level, what string, args ...any) {
	x.log.With("session", x.conn.ID(), "listener", x.peer.Listener, "protocol", x.peer.Protocol,
		"remote", x.peer.Remote.String(), "user", x.peer.User).Log(x.ctx, level, what, args...)
}

// setProtocol follows the state of the encryption.
func (x *session) setProtocol() {
	x.peer.TLS = x.conn.TLS()
	x.peer.Protocol = "POP3"
	if x.peer.TLS != nil {
		x.peer.Protocol = "POP3S"
	}
}
