package gosmtp_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/gosmtp"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// backend notes what it is asked, and answers by words in what it is asked
// about.
type backend struct {
	mu     sync.Mutex
	notes  []string
	onConn func(*smtp.Conn)
}

func (b *backend) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

func (b *backend) want(t *testing.T, notes ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got, want := strings.Join(b.notes, "\n"), strings.Join(notes, "\n"); got != want {
		t.Errorf("the backend was asked:\n%s\nwant:\n%s", got, want)
	}
}

func (b *backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	b.note("begin %s", c.Hostname())
	if b.onConn != nil {
		b.onConn(c)
	}
	return &session{b: b, c: c}, answer(c.Hostname())
}

// session is a plain Session.
type session struct {
	b *backend
	c *smtp.Conn
}

func (s *session) Reset()        { s.b.note("reset") }
func (s *session) Logout() error { s.b.note("logout"); return errors.New("of no interest") }

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.b.note("mail %s %s %d %t %s %s %t %t", from, o.Body, o.Size, o.UTF8, o.Return, o.EnvelopeID, o.RequireTLS, o.Auth != nil)
	if strings.HasPrefix(from, "close") {
		s.c.Close()
	}
	return answer(from)
}

func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	s.b.note("rcpt %s %v %s %s", to, o.Notify, o.OriginalRecipientType, o.OriginalRecipient)
	return answer(to)
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.b.note("data %q %v", text, err)
	if err != nil {
		return err
	}
	return answer(string(text))
}

// answer is what the words "busy", "no", "fine", "odd" and "vague" stand for.
func answer(text string) error {
	switch {
	case strings.Contains(text, "busy"):
		return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "later"}
	case strings.Contains(text, "no"):
		return fmt.Errorf("wrapped: %w", &smtp.SMTPError{Code: 550, Message: "not\nhere", EnhancedCode: smtp.NoEnhancedCode})
	case strings.Contains(text, "fine"):
		return &smtp.SMTPError{Code: 250, Message: "number 7"}
	case strings.Contains(text, "odd"):
		return &smtp.SMTPError{Code: 354, Message: "what"}
	case strings.Contains(text, "leave"):
		return &smtp.SMTPError{Code: 421, Message: "bye"}
	case strings.Contains(text, "vague"):
		return errors.New("a secret")
	}
	return nil
}

// withAuth adds AUTH to a session.
type withAuth struct{ session }

func (s *withAuth) AuthMechanisms() []string {
	return []string{sasl.Plain, sasl.Login, sasl.OAuthBearer, "MUTE"}
}

func (s *withAuth) Auth(mechanism string) (sasl.Server, error) {
	s.b.note("auth %s", mechanism)
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(s.check), nil
	case sasl.Login:
		return &loginServer{check: s.check}, nil
	case sasl.OAuthBearer:
		return sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			s.b.note("token %s", o.Token)
			return nil
		}), nil
	}
	return nil, smtp.ErrAuthUnsupported
}

func (s *withAuth) check(_, user, password string) error {
	switch {
	case user == "ann":
		return errors.New("a secret")
	case password != "secret":
		return smtp.ErrAuthFailed
	}
	s.b.note("user %s", user)
	return nil
}

// loginServer is the LOGIN that backends write for themselves.
type loginServer struct {
	check func(identity, user, password string) error
	user  *string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case response == nil:
		return []byte("User"), false, nil
	case l.user == nil:
		user := string(response)
		l.user = &user
		return []byte("Password"), false, nil
	}
	return nil, true, l.check("", *l.user, string(response))
}

type authBackend struct{ backend }

func (b *authBackend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &withAuth{session{b: &b.backend, c: c}}, nil
}

// start runs a backend with the settings of a server of go-smtp, and offers
// TLS.
func start(t *testing.T, b smtp.Backend, configure ...func(*smtp.Server)) *smtpdtest.Server {
	s := smtp.NewServer(b)
	s.EnableSMTPUTF8, s.EnableDSN, s.EnableREQUIRETLS = true, true, true
	for _, f := range configure {
		f(s)
	}
	return smtpdtest.NewServer(t, nil, func(server *smtpd.Server) {
		from := gosmtp.From(s)
		server.Policy, server.Receiver, server.LMTP, server.Hide = from.Policy, from.Receiver, from.LMTP, from.Hide
		server.CleartextAuth, server.MaxMessageBytes = from.CleartextAuth, from.MaxMessageBytes
		server.AuthFailureDelay = -1
	})
}
