package smtpd_test

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/smtpd"
)

// reject is a rejection that says so to the client; the cause it does not say.
func reject(code int, text string) error {
	return &sqmail.Error{
		Class: sqmail.Rejection, Err: errors.New("a secret"),
		Reply: sqmail.Reply{Code: code, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: text},
	}
}

// drop is a refusal that ends the session.
func drop(code int) error {
	return &sqmail.Error{
		Class: sqmail.Rejection, Close: true,
		Reply: sqmail.Reply{Code: code, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "go away"},
	}
}

// rules is a Policy that decides by words in what it is asked about.
type rules struct{}

func (rules) decide(text string) error {
	switch {
	case strings.Contains(text, "reject"):
		return reject(550, "no")
	case strings.Contains(text, "drop"):
		return drop(550)
	case strings.Contains(text, "vague"):
		return errors.New("a secret")
	case strings.Contains(text, "wrapped"):
		return errors.Join(errors.New("a secret"), reject(553, "no"))
	case strings.Contains(text, "leave"):
		return &sqmail.Error{Reply: sqmail.Reply{Code: 421, Enhanced: sqmail.EnhancedCode{4, 7, 0}, Text: "later"}}
	}
	return nil
}

func (r rules) CheckHello(_ context.Context, peer *sqmail.Peer) error { return r.decide(peer.Hello) }

func (r rules) CheckReversePath(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope) error {
	return r.decide(env.ReversePath.Local)
}

func (r rules) CheckRecipient(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error {
	if to.Path.Local == "alias" {
		to.Path = sqmail.PathOf("joe@example.org")
	}
	return r.decide(to.Path.Local)
}

func (r rules) CheckData(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope) error {
	if env.ReversePath.Domain == "empty.test" {
		env.Recipients = nil
	}
	if env.ReversePath.Domain == "copied.test" {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf("archive@example.org")})
	}
	return r.decide(strings.ReplaceAll(env.ReversePath.Domain, "data-", ""))
}

func (r rules) FilterBody(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, body io.Reader) io.Reader {
	return &scanner{Reader: body, rules: r}
}

// scanner decides about a message when it has seen it whole.
type scanner struct {
	io.Reader
	rules rules
	seen  string
}

func (s *scanner) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.seen += string(p[:n])
	if err == io.EOF {
		if verdict := s.rules.decide(s.seen); verdict != nil {
			err = verdict
		}
	}
	return n, err
}

// closed refuses connections.
type closed struct{ rules }

func (closed) CheckConnect(context.Context, *sqmail.Peer) error { return reject(550, "not you") }

// vague gives every session a Policy that refuses connections with an error
// that says nothing.
type vague struct{ rules }

func (vague) BeginSession(context.Context, *sqmail.Peer) (smtpd.Policy, error) {
	return nil, errors.New("a secret")
}

func refusingPeers(context.Context, *sqmail.Peer) (*smtpd.Server, error) {
	return nil, reject(571, "not here")
}

// panics is a Policy with a bug.
type panics struct{}

func (panics) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	panic("a bug")
}

var brokenVerifier = auth.VerifierFunc(func(context.Context, *auth.Credentials) (auth.Identity, error) {
	return auth.Identity{}, reject(550, "no user of mine, but that is for the log")
})

// brokenReceiver reads nothing.
var brokenReceiver = sqmail.ReceiverFunc(func(context.Context, *sqmail.Envelope, io.Reader) (sqmail.Receipt, error) {
	return sqmail.Receipt{}, errors.New("a secret")
})

// lazyReceiver takes messages and reads nothing of them.
var lazyReceiver = sqmail.ReceiverFunc(func(context.Context, *sqmail.Envelope, io.Reader) (sqmail.Receipt, error) {
	return sqmail.Receipt{ID: "lazy"}, nil
})

// hastyReceiver refuses when it has seen five octets.
var hastyReceiver = sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	io.ReadFull(body, make([]byte, 5))
	return sqmail.Receipt{}, reject(554, "seen enough")
})

// carelessReceiver takes messages whether or not they could be read.
var carelessReceiver = sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	io.Copy(io.Discard, body)
	return sqmail.Receipt{ID: "careless"}, nil
})

var panickingReceiver = sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	body.Read(make([]byte, 3))
	panic("a bug")
})
