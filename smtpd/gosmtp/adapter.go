package gosmtp

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
)

// Adapter is a backend as Policy and Receiver of an smtpd.Server. It must be
// both, or be behind a Policy and a Receiver that pass on all that they are
// asked. It serves any number of servers.
type Adapter struct {
	settings *smtp.Server
	sessions sync.Map // *sqmail.Peer to *session, from BeginSession to EndSession
}

// Adapt returns an Adapter of a backend.
func Adapt(b smtp.Backend) *Adapter { return &Adapter{settings: smtp.NewServer(b)} }

var (
	_ smtpd.SessionPolicy     = (*Adapter)(nil)
	_ smtpd.LMTPReceiver      = (*Adapter)(nil)
	_ smtpd.HelloPolicy       = (*session)(nil)
	_ smtpd.AuthPolicy        = (*session)(nil)
	_ smtpd.ReversePathPolicy = (*session)(nil)
	_ smtpd.EndPolicy         = (*session)(nil)
)

// BeginSession returns the Policy of one session.
func (a *Adapter) BeginSession(_ context.Context, peer *sqmail.Peer) (smtpd.Policy, error) {
	s := &session{adapter: a, peer: peer}
	a.sessions.Store(peer, s)
	return s, nil
}

// CheckRecipient is not asked by a server, which asks the session's Policy. It
// defers.
func (a *Adapter) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return errNoSession
}

// Receive hands a message to the session that it came in by. Messages of
// other sessions are deferred.
func (a *Adapter) Receive(_ context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	s, err := a.sessionOf(env)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	return accepted("data", s.inner.Data(newCRLFReader(body)))
}

// ReceiveEach is Receive for LMTP.
func (a *Adapter) ReceiveEach(_ context.Context, env *sqmail.Envelope, body io.Reader, outcome func(int, error)) (sqmail.Receipt, error) {
	s, err := a.sessionOf(env)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	inner, ok := s.inner.(smtp.LMTPSession)
	if !ok {
		return accepted("data", s.inner.Data(newCRLFReader(body)))
	}
	c := newCollector(s.rcpts, outcome)
	err = inner.LMTPData(newCRLFReader(body), c)
	if c.end() {
		return sqmail.Receipt{}, errStatus
	}
	return accepted("data", err)
}

func (a *Adapter) sessionOf(env *sqmail.Envelope) (*session, error) {
	if v, ok := a.sessions.Load(env.Peer); ok {
		if s := v.(*session); s.inner != nil {
			return s, nil
		}
	}
	return nil, errNoSession
}

var (
	errNoSession = errors.New("gosmtp: no session of the backend")
	errStatus    = errors.New("gosmtp: SetStatus for a recipient who was not named, or too often")
	errLeft      = &sqmail.Error{
		Op: "gosmtp", Close: true, Err: errors.New("the backend has closed the connection"),
		Reply: sqmail.Reply{Code: 421, Enhanced: sqmail.EnhancedCode{4, 3, 2}, Text: "closing"},
	}
)
