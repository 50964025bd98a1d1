package gosmtp

import (
	"context"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
)

// session is the Policy of one session, and the backend's Session below it.
type session struct {
	adapter *Adapter
	peer    *sqmail.Peer
	inner   smtp.Session // nil before the hello
	ends    *ends
	tls     bool     // inner has begun under TLS
	rcpts   []string // as Rcpt has been told, of those that it has taken
}

// CheckHello begins the backend's session.
func (s *session) CheckHello(context.Context, *sqmail.Peer) error {
	if s.inner != nil && s.tls == (s.peer.TLS != nil) {
		return s.left()
	}
	s.logout() // STARTTLS: what was said before is void
	conn, ends := newConn(s.adapter.settings, s.peer)
	if conn == nil {
		return errNoSession
	}
	inner, err := s.adapter.settings.Backend.NewSession(conn)
	if err = refusal("hello", err); err != nil {
		return err
	}
	if ends.closed() {
		return errLeft
	}
	if inner == nil {
		return errNoSession
	}
	s.inner, s.ends, s.tls = inner, ends, s.peer.TLS != nil
	return nil
}

// left is an error if the backend has closed the connection.
func (s *session) left() error {
	if s.inner == nil {
		return errNoSession
	}
	if s.ends.closed() {
		return errLeft
	}
	return nil
}

// CheckReversePath calls Mail. A server with LooseSyntax may ask before a
// hello.
func (s *session) CheckReversePath(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope) error {
	if s.inner == nil {
		if err := s.CheckHello(ctx, peer); err != nil {
			return err
		}
	}
	if err := s.left(); err != nil {
		return err
	}
	return s.refused("reverse-path", s.inner.Mail(env.ReversePath.String(), mailOptions(env)))
}

// CheckRecipient calls Rcpt.
func (s *session) CheckRecipient(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
	if err := s.left(); err != nil {
		return err
	}
	name := to.Path.String()
	if err := s.refused("recipient", s.inner.Rcpt(name, rcptOptions(to))); err != nil {
		return err
	}
	s.rcpts = append(s.rcpts, name)
	return nil
}

// refused is what the backend's answer means, unless it has closed the
// connection as well.
func (s *session) refused(stage string, err error) error {
	if s.ends.closed() {
		return errLeft
	}
	return refusal(stage, err)
}

// EndTransaction calls Reset.
func (s *session) EndTransaction(*sqmail.Peer, *sqmail.Envelope) {
	s.rcpts = nil
	if s.inner != nil {
		s.inner.Reset()
	}
}

// EndSession calls Logout.
func (s *session) EndSession(*sqmail.Peer) {
	defer s.adapter.sessions.Delete(s.peer)
	s.logout()
}

// logout ends the backend's session. What its error could tell, nobody can do
// anything about.
func (s *session) logout() {
	if inner := s.inner; inner != nil {
		s.inner = nil
		inner.Logout()
	}
}

func mailOptions(env *sqmail.Envelope) *smtp.MailOptions {
	return &smtp.MailOptions{
		Body: smtp.BodyType(env.Body), Size: env.Size,
		RequireTLS: env.RequireTLS, UTF8: env.SMTPUTF8,
		Return: smtp.DSNReturn(env.Return), EnvelopeID: env.EnvelopeID,
	}
}

func rcptOptions(to *sqmail.Recipient) *smtp.RcptOptions {
	o := &smtp.RcptOptions{}
	for _, n := range []struct {
		bit  sqmail.Notify
		name smtp.DSNNotify
	}{
		{sqmail.NotifyNever, smtp.DSNNotifyNever},
		{sqmail.NotifyDelay, smtp.DSNNotifyDelayed},
		{sqmail.NotifyFailure, smtp.DSNNotifyFailure},
		{sqmail.NotifySuccess, smtp.DSNNotifySuccess},
	} {
		if to.Notify&n.bit != 0 {
			o.Notify = append(o.Notify, n.name)
		}
	}
	if kind, address, ok := strings.Cut(to.Original, ";"); ok {
		o.OriginalRecipientType, o.OriginalRecipient = smtp.DSNAddressType(strings.ToUpper(kind)), address
	}
	return o
}
