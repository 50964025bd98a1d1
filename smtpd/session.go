package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/serve"
	"github.com/sqmail/sqmail/internal/wire"
)

// maxCommandLine is the longest command, CRLF not included: 512 octets (RFC
// 5321, 4.5.3.1.4), and room for the longest path and all parameters.
const maxCommandLine = 4096

// session is one connection. All its methods run on one goroutine, those of
// Policy, Receiver and Verifier too.
type session struct {
	srv    *Server // whose listener it is
	set    *settings
	policy *stages
	ctx    context.Context
	conn   *serve.Conn
	peer   *sqmail.Peer
	line   []byte // where replies are put together

	trusted bool         // may name its client with XCLIENT
	relayed bool         // has done so
	began   bool         // the Policy has let the session begin
	base    string       // SMTP, ESMTP or LMTP, by the hello; "" before
	tx      *transaction // nil outside of one

	pending      []byte // a command that was read in the midst of BDAT chunks
	bads         int    // bad commands since the last message
	authFailures int
	transactions int  // begun so far
	closing      bool // no further command is read
	dropped      bool // it was we who ended the session
}

// run leads the session from greeting to end.
func (s *session) run() {
	defer s.rescue()
	defer s.end()
	if !s.begin() {
		return
	}
	for !s.closing {
		line, err := s.nextCommand()
		if err == nil {
			s.dispatch(line)
		} else {
			s.badLine(line, err)
		}
	}
}

// badLine answers a line that cannot be a command. It is not part of run, whose
// variables lie below all that a session does: a hundred octets there have made
// the stacks of 5,000 sessions twice as large.
//
//go:noinline
func (s *session) badLine(start []byte, err error) {
	if r := s.lineError(start, err); r.Code != 0 {
		s.bad(r)
	}
}

// end lets the Policy go.
func (s *session) end() {
	s.conn.Unwatch() // after a panic
	s.reset()
	if s.began && s.policy.end != nil {
		s.policy.end.EndSession(s.peer)
	}
	s.began = false
}

// rescue ends a session in which a Policy or a Receiver has panicked, in words,
// and keeps the panic from the other sessions.
func (s *session) rescue() {
	v := recover()
	if v == nil {
		return
	}
	s.event(slog.LevelError, "panic", slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	s.sayLast(replyBug)
}

// begin finds out by what rules the session runs, and greets. It reports
// whether there is to be a dialogue.
func (s *session) begin() bool {
	s.setProtocol(false)
	if err := s.configure(); err != nil {
		s.refuseConnection(err)
		return false
	}
	talks, err := s.conn.Talks(s.set.greetDelay)
	switch {
	case talks:
		s.event(slog.LevelInfo, "refused", slog.String("stage", "connect"), slog.String("condition", "SNDR::Early_Talker"))
		s.peer.Trace.Begin(sqmail.StageConnect, s.peer.Remote.Addr().String())
		s.told(replyEarly, errEarly)
		s.dropped = true
		s.logStory(nil)
		s.sayLast(replyEarly)
		return false
	case err != nil:
		s.lost(err)
		return false
	}
	s.trusted = s.mayXClient()
	s.greet()
	return true
}

func (s *session) greet() { s.sayPlain(220, s.helloName()+" "+s.set.greeting) }

// configure asks for the settings of this client, and whether it may come in.
func (s *session) configure() error {
	if t := s.peer.Trace; t != nil {
		t.Begin(sqmail.StageConnect, s.peer.Remote.Addr().String())
	}
	if hook := s.srv.ForPeer; hook != nil {
		s.conn.Watch()
		server, err := hook(s.ctx, s.peer)
		s.conn.Unwatch()
		if err != nil {
			return err
		}
		if server != nil {
			s.set = server.settings()
			s.conn.SetTimeouts(s.set.timeouts)
		}
	}
	s.policy = s.set.policy
	s.certified()
	if p := s.policy.session; p != nil {
		s.conn.Watch()
		own, err := p.BeginSession(s.ctx, s.peer)
		s.conn.Unwatch()
		if err != nil {
			return err
		}
		s.policy = stagesOf(own)
	}
	s.began = true
	if p := s.policy.connect; p != nil {
		s.conn.Watch()
		err := p.CheckConnect(s.ctx, s.peer)
		s.conn.Unwatch()
		if err != nil {
			return err
		}
	}
	s.peer.Trace.End(sqmail.Reply{})
	return nil
}

// refuseConnection says in place of the greeting that there is no session.
func (s *session) refuseConnection(err error) {
	r := wireReply(err)
	r.Enhanced = enhancedOf(r)
	r.Code = 421 // RFC 5321, 3.8 and 3.1
	if sqmail.ClassOf(err) == sqmail.Rejection {
		r.Code = 554
	}
	s.logRefusal("connect", r, err)
	s.told(r, err)
	s.logStory(nil)
	s.sayLast(r)
}

// nextCommand returns the next command line.
func (s *session) nextCommand() ([]byte, error) {
	if line := s.pending; line != nil {
		s.pending = nil
		return line, nil
	}
	return s.conn.ReadLine(maxCommandLine)
}

// lineError returns the reply to a line that cannot be a command. If the session
// cannot go on it ends it itself: nothing more can be read, or the line was to
// be a BDAT, and nobody knows how many octets of a message follow.
func (s *session) lineError(start []byte, err error) sqmail.Reply {
	r := sqmail.Reply{}
	switch {
	case errors.Is(err, wire.ErrLineTooLong):
		r = replyLineTooLong
	case errors.Is(err, wire.ErrBareCR), errors.Is(err, wire.ErrNUL):
		r = replyCharacters
	case errors.Is(err, wire.ErrBareLF):
		s.sayLast(replyBareLine)
	default:
		s.lost(err)
	}
	if r.Code != 0 && isChunk(start) {
		s.sayLast(r)
		return sqmail.Reply{}
	}
	return r
}

// lost ends the session after a failed read.
func (s *session) lost(err error) {
	switch {
	case errors.Is(err, serve.ErrServerClosed):
		s.say(replyShutdown)
		s.dropped = true
	case errors.Is(err, serve.ErrIdle), errors.Is(err, serve.ErrSlow):
		s.say(replyIdle)
		s.dropped = true
	}
	s.closing = true
}

// say queues a reply; it goes out with the next read that waits.
func (s *session) say(r sqmail.Reply) {
	style := s.set.style
	style.utf8 = s.tx != nil && s.tx.env.SMTPUTF8
	s.send(style.appendReply(s.line[:0], r))
}

// sayPlain queues a reply that has no enhanced status code.
func (s *session) sayPlain(code int, lines ...string) {
	s.send(appendPlain(s.line[:0], code, lines...))
}

func (s *session) send(reply []byte) {
	if _, err := s.conn.Write(reply); err != nil {
		s.closing = true
	}
	if cap(reply) <= maxReplyLine {
		s.line = reply
	}
}

// sayLast queues the reply that ends the session, and lets the client finish
// what it is sending, so that it sees the reply.
func (s *session) sayLast(r sqmail.Reply) {
	s.say(r)
	s.conn.Linger()
	s.closing, s.dropped = true, true
}

// bad answers a command that the client should not have sent.
func (s *session) bad(r sqmail.Reply) {
	s.bads++
	if most := s.set.maxBad; most > 0 && s.bads > most {
		s.event(slog.LevelInfo, "refused", slog.String("condition", "SNDR::Bad_Commands"))
		s.sayLast(replyBadCommands)
		return
	}
	s.say(r)
}

// pause waits, or until the client is gone or the session ends.
func (s *session) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	s.conn.Watch()
	defer s.conn.Unwatch()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// greeted reports whether the client has said a hello.
func (s *session) greeted() bool { return s.base != "" }

// setProtocol brings the peer's trace keyword up to date.
func (s *session) setProtocol(utf8 bool) {
	base := s.base
	if base == "" {
		base = "SMTP"
		if s.set.lmtp {
			base = "LMTP"
		}
	}
	s.peer.Protocol = protocol(base, s.peer.TLS != nil, s.authenticated(), utf8)
}

// helloName is the name of this host.
func (s *session) helloName() string {
	if s.set.helloName != "" {
		return s.set.helloName
	}
	return addressLiteral(s.peer.Local.Addr())
}

// addressLiteral is the name of a host that has none (RFC 5321, 4.1.3).
func addressLiteral(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return "localhost"
	case addr.Is4():
		return "[" + addr.String() + "]"
	}
	return "[IPv6:" + addr.WithZone("").String() + "]"
}
