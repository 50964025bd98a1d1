package smtpd

import (
	"errors"
	"log/slog"

	"github.com/sqmail/sqmail/internal/serve"
)

// startTLS runs STARTTLS (RFC 3207). Whatever the client sent behind the
// command came in cleartext, from the client or from somebody in between: if
// there is anything the session ends without a word. It ends too if the
// handshake fails; there is no way back to cleartext.
func (s *session) startTLS(string) {
	switch {
	case s.peer.TLS != nil:
		s.bad(replyTLSOn)
		return
	case !s.startTLSOffered():
		s.bad(replyNotOffered)
		return
	}
	s.say(replyTLSReady)
	if err := s.conn.StartTLS(s.set.tls); err != nil {
		condition := "TLS::handshake"
		if errors.Is(err, serve.ErrPlaintext) {
			condition = "TLS::injection"
		}
		s.event(slog.LevelInfo, "refused", slog.String("condition", condition), slog.String("err", clean(err.Error())))
		s.closing = true
		return
	}
	s.peer.TLS = s.conn.TLS()
	s.forget()
}

// forget brings the session back to its beginning: what the client said in
// cleartext is void (RFC 3207, 4.2).
func (s *session) forget() {
	s.reset()
	s.peer.Hello, s.base = "", ""
	s.peer.User, s.peer.Mechanism = "", ""
	s.certified()
	s.setProtocol(false)
}

// certified looks at the client's certificate. Only one that has been verified
// can prove anything, and nothing for clients behind a proxy that has it.
func (s *session) certified() {
	state := s.peer.TLS
	if s.relayed || state == nil {
		return
	}
	if err := serve.VerifyClient(s.set.tls, state); err != nil {
		s.event(slog.LevelInfo, "certificate proves nothing", slog.String("err", clean(err.Error())))
	}
	if s.set.certificate == nil || len(state.VerifiedChains) == 0 {
		return
	}
	if user := s.set.certificate(state); user != "" {
		s.peer.User, s.peer.Mechanism = user, "cert"
		s.event(slog.LevelInfo, "authenticated", slog.String("mechanism", "cert"))
	}
}

func (s *session) startTLSOffered() bool {
	return s.set.tls != nil && s.set.startTLS != Off && s.peer.TLS == nil
}

// refuseForTLS answers a command that needs TLS first (RFC 3207, 4).
func (s *session) refuseForTLS() bool {
	if s.set.startTLS != Required || s.peer.TLS != nil {
		return false
	}
	s.decline("TLS::missing", replyTLSFirst)
	return true
}
