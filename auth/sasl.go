package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-sasl"

	"github.com/sqmail/sqmail"
)

// The longest user name and password that an [Exchange] takes, in octets. RFC
// 4616, 2 asks for 255; tokens in place of passwords are longer.
const (
	MaxUser     = 255
	MaxPassword = 4096
)

// ErrMechanism is the error of a mechanism that [Start] does not know: 504.
var ErrMechanism = errors.New("auth: unknown mechanism")

// ErrMalformed is the error of a client's response that breaks the rules of
// the mechanism: 501. Nobody has been asked about it.
var ErrMalformed = errors.New("auth: malformed response")

// Mechanisms returns the names of the SASL mechanisms that [Start] knows, in
// upper case, in the order in which qmail-smtpd announces them.
func Mechanisms() []string { return []string{"LOGIN", "PLAIN", "CRAM-MD5"} }

// An Exchange is the server's side of one SASL exchange. It is a
// [sasl.Server]. It serves one goroutine, and once.
type Exchange struct {
	server   sasl.Server
	identity Identity
	user     string
	over     bool
	verify   func(c Credentials) error
}

// Start begins an exchange. The mechanism's name may be in any case; the
// error is ErrMechanism if it is not one of [Mechanisms]. host is the name of
// the server in challenges, peer the session for the Verifier; it may be nil.
func Start(ctx context.Context, v Verifier, mechanism, host string, peer *sqmail.Peer) (*Exchange, error) {
	e := &Exchange{}
	mechanism = strings.ToLower(mechanism)
	e.verify = func(c Credentials) (err error) {
		c.Mechanism, c.Peer = mechanism, peer
		if !validName(c.User) || !validPassword(c.Password) && c.Challenge == "" {
			return ErrMalformed
		}
		e.user = c.User
		e.identity, err = v.Verify(ctx, &c)
		if err == nil && e.identity.Name == "" {
			e.identity.Name = c.User
		}
		return err
	}
	switch mechanism {
	case MechanismPlain:
		e.server = &plainServer{inner: sasl.NewPlainServer(e.plain)}
	case MechanismLogin:
		e.server = &loginServer{exchange: e}
	case MechanismCRAMMD5:
		e.server = &cramServer{exchange: e, challenge: NewChallenge(host)}
	default:
		return nil, fmt.Errorf("%w %q", ErrMechanism, mechanism)
	}
	return e, nil
}

// Next takes the client's response, decoded from base64, and returns the next
// challenge, or done with a nil error once the client is authenticated. The
// first call's response is the initial response; nil means that there was
// none, and is another thing than an empty one.
//
// The error is ErrMalformed, or the Verifier's. After an error, or once it is
// done, the exchange is over.
func (e *Exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	if e.over {
		return nil, true, ErrMalformed
	}
	challenge, done, err = e.server.Next(response)
	e.over = done || err != nil
	if err != nil {
		return nil, true, err
	}
	return challenge, done, nil
}

// Identity returns who has been authenticated. It is zero before.
func (e *Exchange) Identity() Identity { return e.identity }

// User returns the name that the client gave, for the log of a failure; "" if
// the exchange did not come so far. It is not proven, nor safe to print raw.
func (e *Exchange) User() string { return e.user }

// plain is asked by go-sasl. An authorization identity other than the
// authentication identity would be a wish to act for somebody else (RFC 4616,
// 2): nobody may.
func (e *Exchange) plain(identity, user, password string) error {
	if identity != "" && identity != user {
		e.user = user
		return Rejected("authorization identity differs from the user")
	}
	return e.verify(Credentials{User: user, Password: password})
}

// plainServer guards go-sasl's server against what it does not check.
type plainServer struct {
	inner sasl.Server
	asked bool
}

func (s *plainServer) Next(response []byte) ([]byte, bool, error) {
	if response == nil && !s.asked {
		s.asked = true
		return s.inner.Next(nil)
	}
	if len(response) > 2*MaxUser+MaxPassword+2 || bytes.Count(response, []byte{0}) != 2 {
		return nil, true, ErrMalformed
	}
	return s.inner.Next(response)
}

// loginServer speaks LOGIN, which has no RFC: two prompts, two answers.
type loginServer struct {
	exchange *Exchange
	asked    bool
	user     []byte
}

func (s *loginServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case response == nil && !s.asked:
		s.asked = true
		return []byte("Username:"), false, nil
	case s.user == nil:
		if !validName(string(response)) {
			return nil, true, ErrMalformed
		}
		s.user = bytes.Clone(response)
		return []byte("Password:"), false, nil
	}
	err := s.exchange.verify(Credentials{User: string(s.user), Password: string(response)})
	return nil, true, err
}

// cramServer speaks CRAM-MD5 (RFC 2195).
type cramServer struct {
	exchange  *Exchange
	challenge string
	asked     bool
}

func (s *cramServer) Next(response []byte) ([]byte, bool, error) {
	if !s.asked {
		s.asked = true
		if response != nil { // RFC 4954, 4: the server begins
			return nil, true, ErrMalformed
		}
		return []byte(s.challenge), false, nil
	}
	// A user name may hold blanks, the digest does not.
	at := bytes.LastIndexByte(response, ' ')
	if at < 0 || !isHexMD5(string(response[at+1:])) {
		return nil, true, ErrMalformed
	}
	c := Credentials{User: string(response[:at]), Challenge: s.challenge, Response: string(response[at+1:])}
	return nil, true, s.exchange.verify(c)
}

// validName bounds what reaches stores and logs: text without NUL, not empty.
func validName(s string) bool {
	return s != "" && len(s) <= MaxUser && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// validPassword lets through octets that are not UTF-8: old passwords are not.
func validPassword(s string) bool {
	return s != "" && len(s) <= MaxPassword && strings.IndexByte(s, 0) < 0
}

func isHexMD5(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}
