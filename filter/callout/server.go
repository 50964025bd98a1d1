package callout

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// Dialer makes connections. [net.Dialer] fits.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Server is a mail server that knows mailboxes. It may be used concurrently; its
// fields must not change then.
type Server struct {
	// Address is where it is, host:port.
	Address string

	// HelloName is what we call ourselves. "": localhost.
	HelloName string

	// TLS is for STARTTLS, which is used if the server offers it. Nil: it is
	// not used. Without a ServerName the host of Address is taken.
	TLS *tls.Config

	// RequireTLS makes a server that does not offer STARTTLS an error.
	RequireTLS bool

	// Dialer connects. Nil: a net.Dialer.
	Dialer Dialer

	// Timeout is how long a dialogue may take, waiting for others included.
	// 0: 30 seconds.
	Timeout time.Duration

	// MaxRunning is how many dialogues there are at a time; further ones wait.
	// 0: 20.
	MaxRunning int

	// MaxAge is how long an answer counts for those who ask again; errors do
	// not. 10,000 answers are kept at most. 0: one minute. Negative: the server
	// is asked each time.
	MaxAge time.Duration

	once    sync.Once
	slots   chan struct{}
	answers answers
}

const (
	defaultTimeout = 30 * time.Second
	defaultRunning = 20
	defaultMaxAge  = time.Minute
)

var _ filter.Mailboxes = (*Server)(nil)

// HasMailbox asks whether the server takes mail for a recipient: whether it
// answers RCPT with 2yz. Only 550, 551 and 553 say that it does not, and these
// neither with an enhanced status code 5.7.z, which is about who asks.
func (s *Server) HasMailbox(ctx context.Context, _ *filter.Session, to sqmail.Path) (bool, error) {
	mailbox, age := to.String(), cmp.Or(s.MaxAge, defaultMaxAge)
	if known, found := s.answers.find(mailbox); found {
		return known, nil
	}
	s.once.Do(func() { s.slots = make(chan struct{}, cmp.Or(s.MaxRunning, defaultRunning)) })
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Timeout, defaultTimeout))
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, s.failed(ctx.Err())
	}
	known, err := s.call(ctx, to)
	if err != nil {
		return false, s.failed(cmp.Or(ctx.Err(), err))
	}
	if age > 0 {
		s.answers.keep(mailbox, known, age)
	}
	return known, nil
}

func (s *Server) failed(err error) error { return fmt.Errorf("callout: %s: %w", s.Address, err) }

var errUnprintable = errors.New("the recipient cannot be named in a command")

// call leads a dialogue.
func (s *Server) call(ctx context.Context, to sqmail.Path) (known bool, err error) {
	if _, err := sqmail.ParsePath(to.String()); err != nil || to.IsNull() {
		return false, errUnprintable
	}
	dialer := s.Dialer
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	nc, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return false, err
	}
	d := newDialogue(nc)
	defer func() { d.conn.Close() }()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	if err := s.begin(ctx, d); err != nil {
		return false, err
	}
	return d.ask(to)
}

// begin takes a dialogue to where mail can be sent.
func (s *Server) begin(ctx context.Context, d *dialogue) error {
	if _, err := d.expect(220); err != nil {
		return err
	}
	name := cmp.Or(s.HelloName, "localhost")
	if err := d.hello(name); err != nil {
		return err
	}
	switch {
	case s.TLS != nil && d.offers("STARTTLS"):
		if err := d.startTLS(ctx, s.tlsConfig()); err != nil {
			return err
		}
		return d.hello(name)
	case s.RequireTLS:
		return errors.New("STARTTLS is not offered")
	}
	return nil
}

func (s *Server) tlsConfig() *tls.Config {
	if s.TLS.ServerName != "" {
		return s.TLS
	}
	config := s.TLS.Clone()
	config.ServerName, _, _ = net.SplitHostPort(s.Address)
	return config
}
