package smtpd

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/internal/wire"
)

// maxAuthLine is the longest response to a challenge, CRLF included (RFC 4954,
// 4).
const maxAuthLine = 12288

// authCommand runs AUTH (RFC 4954).
func (s *session) authCommand(arg string) {
	mechanism, initial, _ := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	switch {
	case !s.authPossible():
		s.authDeclined("setup", replyAuthOff)
		return
	case !s.greeted():
		s.bad(replyHelloFirst)
		return
	case s.refuseForTLS():
		return
	case s.authenticated():
		s.bad(replyAuthOn)
		return
	case s.tx != nil:
		s.say(replyInTransaction)
		return
	case mechanism == "":
		s.bad(replyArgument)
		return
	case !slices.Contains(s.mechanismNames(), mechanism):
		s.authDeclined("Auth_Meth", replyMechanism)
		return
	case !s.mechanismAllowed(mechanism):
		s.authDeclined("Auth_Meth", replyAuthClear)
		return
	}
	exchange, err := s.startExchange(mechanism)
	switch {
	case errors.Is(err, auth.ErrMechanism):
		s.bad(replyMechanism)
		return
	case err != nil:
		s.authError("", mechanism, err)
		return
	}
	if r, err := s.exchange(exchange, initial); err != nil {
		s.authError(exchange.User(), mechanism, err)
	} else if r.Code != 0 {
		s.bad(r)
	} else if !s.closing {
		s.authDone(exchange, mechanism)
	}
}

// authDeclined answers an AUTH that cannot be begun.
func (s *session) authDeclined(why string, r sqmail.Reply) {
	s.event(slog.LevelInfo, "authentication refused", slog.String("condition", "AUTH::"+why), slog.String("reply", r.String()))
	s.bad(r)
}

// exchange leads the dialogue of a mechanism to its end. It returns a reply if
// the client breaks it off or breaks its rules, and an error from whoever judges
// the credentials; when the connection is lost it sets s.closing.
func (s *session) exchange(e Exchange, initial string) (sqmail.Reply, error) {
	var response []byte
	if initial != "" {
		var err error
		if response, err = decodeInitial(initial); err != nil {
			return replyAuthSyntax, nil
		}
	}
	for {
		s.conn.Watch()
		challenge, done, err := e.Next(response)
		s.conn.Unwatch()
		switch {
		case errors.Is(err, auth.ErrMalformed):
			return replyAuthSyntax, nil
		case err != nil || done:
			return sqmail.Reply{}, err
		}
		s.sayPlain(334, base64.StdEncoding.EncodeToString(challenge))
		line, err := s.conn.ReadLine(maxAuthLine - len("\r\n"))
		switch {
		case errors.Is(err, wire.ErrLineTooLong):
			return replyAuthLong, nil
		case err != nil:
			return s.lineError(nil, err), nil
		case string(line) == "*":
			return replyAuthCancelled, nil
		}
		if response, err = decodeBase64(line); err != nil {
			return replyAuthSyntax, nil
		}
	}
}

// decodeInitial decodes an initial response, where "=" stands for an empty
// one.
func decodeInitial(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	return decodeBase64([]byte(s))
}

// decodeBase64 is strict: the alphabet, the padding, nothing else.
func decodeBase64(b []byte) ([]byte, error) {
	if strings.ContainsAny(string(b), "\r\n") { // the library would skip them
		return nil, errSyntax
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(out, b)
	return out[:n], err
}

// authDone is the end of a successful exchange.
func (s *session) authDone(e Exchange, mechanism string) {
	s.peer.User = e.Identity().Name
	s.peer.Mechanism = strings.ToLower(mechanism)
	s.setProtocol(false)
	s.event(slog.LevelInfo, "authenticated", slog.String("mechanism", s.peer.Mechanism))
	s.say(replyAuthOK)
}

// authError answers credentials that nobody vouched for. Only what a Verifier
// calls rejected is told so; everything else is temporary.
func (s *session) authError(user, mechanism string, err error) {
	r := s.authReply(err)
	s.event(slog.LevelInfo, "authentication refused",
		slog.String("condition", "AUTH::"+strings.ToLower(mechanism)),
		slog.String("user", clean(user)), slog.String("reply", printable(r.String(), true)), slog.String("err", clean(err.Error())))
	if r.Class() != sqmail.Rejection && !errors.Is(err, auth.ErrRejected) {
		s.say(r)
		return
	}
	s.authFailures++
	s.pause(s.set.authDelay)
	if most := s.set.maxAuth; most > 0 && s.authFailures >= most {
		s.sayLast(replyAuthFailures)
		return
	}
	s.say(r)
}

// authReply is what the client hears of an error. An AuthPolicy has words of
// its own.
func (s *session) authReply(err error) sqmail.Reply {
	e, _ := errors.AsType[*sqmail.Error](err)
	switch {
	case s.policy.auth != nil && e != nil && e.Reply.Code >= 400 && e.Reply.Code <= 599 && e.Reply.Class() == e.Class:
		return e.Reply
	case errors.Is(err, auth.ErrRejected):
		return replyAuthFailed
	}
	return replyAuthDeferred
}

// startExchange begins the exchange of a mechanism that is offered.
func (s *session) startExchange(mechanism string) (Exchange, error) {
	if p := s.policy.auth; p != nil {
		return p.StartAuth(s.ctx, s.peer, mechanism)
	}
	return auth.Start(s.ctx, s.set.verifier, mechanism, s.helloName(), s.peer)
}

// authPossible reports whether there is somebody to ask about credentials.
func (s *session) authPossible() bool {
	if s.set.auth == Off {
		return false
	}
	if s.policy.auth != nil {
		return len(s.mechanismNames()) > 0
	}
	return s.set.verifier != nil
}

// mechanismNames are the mechanisms that there are, in capitals.
func (s *session) mechanismNames() []string {
	if p := s.policy.auth; p != nil {
		return upperAll(p.Mechanisms(s.peer))
	}
	return s.set.mechanisms
}

// authOffered reports whether the state of the session allows AUTH.
func (s *session) authOffered() bool {
	return !s.authenticated() && !(s.set.startTLS == Required && s.peer.TLS == nil) && s.authPossible()
}

// mechanismAllowed reports whether a mechanism may be used on this connection:
// those that show the password need TLS, or a client on this host.
func (s *session) mechanismAllowed(name string) bool {
	return s.peer.TLS != nil || s.set.cleartextAuth || isLocal(s.peer) || !auth.ShowsPassword(name)
}

// mechanisms returns what EHLO offers.
func (s *session) mechanisms() string {
	if !s.authOffered() {
		return ""
	}
	line := ""
	for _, name := range s.mechanismNames() {
		if s.mechanismAllowed(name) {
			line += " " + name
		}
	}
	return line
}

func (s *session) authenticated() bool { return s.peer.Mechanism != "" }

// refuseForAuth answers MAIL if it needs authentication first (RFC 4954, 6).
func (s *session) refuseForAuth() bool {
	if s.set.auth != Required || s.authenticated() {
		return false
	}
	s.decline("AUTH::missing", replyAuthFirst)
	return true
}
