package gosmtp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/smtpd"
)

// Mechanisms are those of the backend's session, if it has any.
func (s *session) Mechanisms(*sqmail.Peer) []string {
	if a, ok := s.inner.(smtp.AuthSession); ok {
		return a.AuthMechanisms()
	}
	return nil
}

// StartAuth calls Auth.
func (s *session) StartAuth(_ context.Context, _ *sqmail.Peer, mechanism string) (smtpd.Exchange, error) {
	a, ok := s.inner.(smtp.AuthSession)
	if !ok {
		return nil, auth.ErrMechanism
	}
	server, err := a.Auth(mechanism)
	if err = refusal("auth", err); err != nil {
		return nil, err
	}
	if server == nil {
		return nil, errNoSession
	}
	return &exchange{server: server, mechanism: mechanism}, nil
}

// exchange is the backend's side of an AUTH command. It reads along for the
// user's name.
type exchange struct {
	server    sasl.Server
	mechanism string
	user      string
}

func (e *exchange) Next(response []byte) ([]byte, bool, error) {
	e.listen(response)
	challenge, done, err := e.server.Next(response)
	return challenge, done, authRefusal(err)
}

// listen takes the user's name from the first response.
func (e *exchange) listen(response []byte) {
	if response == nil || e.user != "" {
		return
	}
	switch e.mechanism {
	case sasl.Plain: // authorization identity, NUL, user, NUL, password
		if parts := strings.Split(string(response), "\x00"); len(parts) == 3 {
			e.user = parts[1]
		}
	case sasl.Login:
		e.user = string(response)
	}
	if len(e.user) > auth.MaxUser {
		e.user = e.user[:auth.MaxUser]
	}
}

func (e *exchange) User() string { return e.user }

func (e *exchange) Identity() auth.Identity {
	if e.user == "" {
		return auth.Identity{Name: "unknown"}
	}
	return auth.Identity{Name: e.user}
}

// authRefusal is refusal for AUTH. An unknown error is a deferral here too,
// but as go-smtp's users return one for a wrong password, it counts as that.
func authRefusal(err error) error {
	if err = refusal("auth", err); err == nil {
		return nil
	}
	if errors.Is(err, sasl.ErrUnexpectedClientResponse) {
		return fmt.Errorf("%w: %w", auth.ErrMalformed, err)
	}
	if _, known := errors.AsType[*sqmail.Error](err); known {
		return err
	}
	return &sqmail.Error{
		Op:    "auth",
		Reply: sqmail.Reply{Code: 454, Enhanced: sqmail.EnhancedCode{4, 7, 0}, Text: "authentication not possible now"},
		Err:   fmt.Errorf("%w: %w", err, auth.ErrRejected),
	}
}
