package smtpd

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sqmail/sqmail"
)

// event writes one event with the session's name and client. What clients
// chose is printable in it, whatever the handler does.
func (s *session) event(level slog.Level, msg string, attrs ...slog.Attr) {
	log := s.srv.log()
	if !log.Enabled(s.ctx, level) {
		return
	}
	all := append(make([]slog.Attr, 0, len(attrs)+6),
		slog.String("session", s.peer.Session),
		slog.String("remote", s.peer.Remote.Addr().String()),
		slog.String("host", clean(s.peer.Name)),
		slog.String("protocol", s.peer.Protocol),
		slog.String("hello", clean(s.peer.Hello)))
	if s.peer.User != "" {
		all = append(all, slog.String("user", clean(s.peer.User)))
	}
	log.LogAttrs(context.WithoutCancel(s.ctx), level, msg, append(all, attrs...)...)
}

// recipientAccepted tells why a recipient is taken, and by what name it came.
// There are many such events: they are for those who ask.
func (s *session) recipientAccepted(path sqmail.Path, seen int) {
	if !s.srv.log().Enabled(s.ctx, slog.LevelDebug) {
		return
	}
	env := &s.tx.env
	s.event(slog.LevelDebug, "recipient accepted", append(s.acceptance(env, seen).attrs(),
		pathAttr("from", env.ReversePath), pathAttr("to", path))...)
}

// lastRecipient stands for all of a message that is refused.
func lastRecipient(env *sqmail.Envelope) slog.Attr {
	if len(env.Recipients) == 0 {
		return slog.Attr{}
	}
	return pathAttr("to", env.Recipients[len(env.Recipients)-1].Path)
}

// clean makes a client's words fit for a log.
func clean(text string) string {
	const most = 1024
	return printable(text[:min(len(text), most)], true)
}

// refuse answers an error of Policy at a stage.
func (s *session) refuse(stage string, err error, attrs ...slog.Attr) {
	s.refuseTimes(1, stage, err, attrs)
}

func pathAttr(name string, path sqmail.Path) slog.Attr {
	return slog.String(name, clean(path.String()))
}

// refuseTimes says what the peer is to hear of err, that often, and tells the
// log the cause. It ends the session if err, or a 421, says so.
func (s *session) refuseTimes(times int, stage string, err error, attrs []slog.Attr) {
	r := wireReply(err)
	s.logRefusal(stage, r, err, attrs...)
	s.told(r, err)
	for range times {
		s.say(r)
	}
	e, _ := errors.AsType[*sqmail.Error](err)
	if e != nil && e.Close || r.Code == 421 { // RFC 5321, 3.8
		s.conn.Linger()
		s.closing, s.dropped = true, true
	}
	if s.tx != nil && stage != "recipient" {
		s.tx.ending, s.tx.reply = sqmail.EndedRefused, r
	}
}

func (s *session) logRefusal(stage string, r sqmail.Reply, err error, attrs ...slog.Attr) {
	level := slog.LevelInfo
	_, classified := errors.AsType[*sqmail.Error](err)
	ours := stage == "message" && r.Code/100 == 4 && r.Enhanced[1] == 3 // X.3: our system (RFC 3463, 3.4)
	if !classified || ours {
		level = slog.LevelWarn // nobody has thought of this error, or a disk is full, a scanner out of order
	}
	filter := ""
	if e, ok := errors.AsType[*sqmail.Error](err); ok && e != nil {
		filter = e.Op
	}
	attrs = append(attrs, s.refusal(stage, filter, r).attrs()...)
	s.event(level, "refused", append([]slog.Attr{
		slog.String("stage", stage), slog.String("reply", printable(r.String(), true)), slog.String("err", clean(err.Error())),
	}, attrs...)...)
}

// decline answers what the server refuses by itself. The condition is named as
// in the logs of qmail-smtpd.
func (s *session) decline(condition string, r sqmail.Reply, attrs ...slog.Attr) {
	s.event(slog.LevelInfo, "refused", append([]slog.Attr{
		slog.String("condition", condition), slog.String("reply", r.String()),
	}, attrs...)...)
	s.say(r)
}

// envelopeAttrs describes a message.
func (s *session) envelopeAttrs(env *sqmail.Envelope, attrs ...slog.Attr) []slog.Attr {
	if !s.srv.log().Enabled(s.ctx, slog.LevelInfo) {
		return nil
	}
	return append(attrs,
		pathAttr("from", env.ReversePath),
		slog.Int("recipients", len(env.Recipients)),
		slog.Bool("tls", s.peer.TLS != nil))
}
