package pop3

import (
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
)

// errNoVerifier is for the log of a server that knows nobody.
var errNoVerifier = errors.New("pop3: no Verifier")

func (x *session) userCommand(arg string) {
	switch {
	case !x.mayLogin(true):
	case !validName(arg):
		x.wrong(replySyntax)
	default:
		x.user = arg
		x.say(replyOK)
	}
}

// passCommand takes the password with all blanks but those before it.
func (x *session) passCommand(arg string) {
	switch {
	case !x.mayLogin(true):
	case x.user == "":
		x.wrong(replyNoUser)
	case arg == "" || len(arg) > auth.MaxPassword:
		x.wrong(replySyntax)
	default:
		x.login(&auth.Credentials{Mechanism: auth.MechanismUser, User: x.user, Password: arg})
	}
}

func (x *session) apopCommand(arg string) {
	name, digest, _ := strings.Cut(arg, " ")
	digest = strings.TrimLeft(digest, " ")
	switch {
	case x.timestamp == "":
		x.wrong(replyNoAPOP)
	case !x.mayLogin(false):
	case !validName(name) || digest == "":
		x.wrong(replySyntax)
	default:
		x.login(&auth.Credentials{Mechanism: auth.MechanismAPOP, User: name, Challenge: x.timestamp, Response: digest})
	}
}

// mayLogin answers, and says no, if the client may not log in in this way now.
// A client that tries without TLS where TLS is required is sent away.
func (x *session) mayLogin(password bool) bool {
	switch {
	case x.srv.STLS == Required && x.peer.TLS == nil:
		x.event(slog.LevelInfo, "login refused", "err", "TLS is required")
		x.final(replyNeedTLS)
	case password && x.srv.NoPassword:
		x.wrong(replyNoPassword)
	case password && !x.private():
		x.wrong(replyNoCleartext)
	default:
		return true
	}
	return false
}

// takesPasswords reports whether a password may be shown now.
func (x *session) takesPasswords() bool {
	return !x.srv.NoPassword && (x.srv.STLS != Required || x.peer.TLS != nil) && x.private()
}

// private reports whether nobody can listen, or nobody minds.
func (x *session) private() bool {
	return x.peer.TLS != nil || x.srv.CleartextAuth || x.peer.Remote.Addr().IsLoopback()
}

// validName bounds what reaches stores and logs.
func validName(s string) bool {
	return s != "" && len(s) <= auth.MaxUser && utf8.ValidString(s)
}

// login checks credentials, which a client may show once in a session.
func (x *session) login(c *auth.Credentials) {
	c.Peer = x.peer
	id, err := auth.Identity{}, errNoVerifier
	if x.srv.Verifier != nil {
		id, err = x.srv.Verifier.Verify(x.ctx, c)
	}
	if err == nil && id.Name == "" {
		id.Name = c.User
	}
	x.settle(c.Mechanism, c.User, id, err)
}

// settle ends an attempt to log in: with the maildrop open, or the session
// over.
func (x *session) settle(mechanism, user string, id auth.Identity, err error) {
	switch {
	case err == nil:
		x.peer.User, x.peer.Mechanism = id.Name, mechanism
		x.openDrop(id)
	case errors.Is(err, auth.ErrRejected):
		x.event(slog.LevelInfo, "login rejected", "mechanism", mechanism, "name", user, "err", err)
		x.pause()
		x.final(replyRejected)
	default:
		x.event(slog.LevelWarn, "login deferred", "mechanism", mechanism, "name", user, "err", err)
		x.final(replyUndecided)
	}
}

// openDrop begins the TRANSACTION state.
func (x *session) openDrop(id auth.Identity) {
	drop, err := x.srv.open(x.ctx, id)
	if err != nil {
		x.event(slog.LevelError, "maildrop not opened", "mechanism", x.peer.Mechanism, "err", err)
		x.final(replyByClass(err, replyNoDrop, replyNeverDrop))
		return
	}
	x.drop, x.deleted = drop, make([]bool, drop.Len())
	x.event(slog.LevelInfo, "login accepted", "mechanism", x.peer.Mechanism, "messages", len(x.deleted))
	x.say(replyOK)
}

// replyByClass chooses the sentence for an error; what nobody has classified
// is temporary.
func replyByClass(err error, temporary, permanent string) string {
	if sqmail.ClassOf(err) == sqmail.Rejection {
		return permanent
	}
	return temporary
}

// pause makes guessing slow.
func (x *session) pause() {
	d := orDefault(x.srv.AuthFailureDelay, defaultFailureDelay)
	if d < 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.ctx.Done():
	}
}
