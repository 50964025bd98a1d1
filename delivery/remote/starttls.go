package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

// startTLS secures the session as its rule says (RFC 3207; spec/remote.md 6.1).
func (s *session) startTLS(ctx context.Context, inClear bool) *failure {
	mode := s.call.tls().Mode
	switch {
	case mode == TLSNever, mode == TLSIfOffered && (inClear || !s.ext.startTLS):
		return nil
	case !s.ext.startTLS:
		return &failure{text: "I wasn't able to negotiate a TLS connection with: " + visible(s.call.name) + ". (#4.7.4)", next: true}
	}
	r, err := s.command("STARTTLS")
	switch {
	case err != nil:
		return s.weak(s.died(err))
	case r.code != 220 && mode == TLSRequired:
		f := deferral(s.connected("STARTTLS was rejected"))
		f.reply, f.next = r, true
		return f
	case r.code == 421:
		return s.weak(s.died(nil))
	case r.code != 220:
		return nil // go on in the clear
	case s.br.Buffered() > 0:
		// Somebody put words into the peer's mouth that would seem to have
		// come over TLS.
		s.broken = true
		return s.tlsError(errors.New("more than a reply to STARTTLS"))
	}
	if f := s.handshake(ctx); f != nil {
		return s.weak(f)
	}
	return s.hello()
}

// weak marks a failure that the clear can cure.
func (s *session) weak(f *failure) *failure {
	f.clear = s.call.tls().Mode == TLSIfOffered
	return f
}

// handshake puts TLS on the connection. What was learnt before is forgotten.
func (s *session) handshake(ctx context.Context) *failure {
	c := tls.Client(s.raw, s.call.tls().config(s.call.name, s.call.host))
	s.raw.SetDeadline(time.Now().Add(s.agent.timeout()))
	if err := c.HandshakeContext(ctx); err != nil {
		s.broken = true
		return s.tlsError(err)
	}
	s.conn, s.secure = c, true
	s.br.Reset(c)
	s.ext = extensions{}
	return nil
}

// tlsError is the failure for TLS that did not come about, or not with whom we
// want to talk. It is never a rejection.
func (s *session) tlsError(err error) *failure {
	f := &failure{err: err, next: true}
	name := visible(s.call.name)
	if e, ok := errors.AsType[certError](err); ok {
		f.text = e.Error() + name + ". (#4.7.5)"
	} else {
		f.text = "TLS connection/protocol error for host: " + name + ". (#4.7.5)"
	}
	return f
}
