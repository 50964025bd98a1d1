package smtpd

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sqmail/sqmail"
)

// ownFilter is the name under which the story has what the server refuses by
// rules of its own. Package filter knows it.
const ownFilter = "smtpd"

// bodyPassed ends the step of the body, which nobody has refused. What follows
// is what the Receiver says, of one recipient or of all.
func (s *session) bodyPassed(to string) {
	t := s.peer.Trace
	if t.Present().Stage == sqmail.StageBody {
		t.End(sqmail.Reply{})
	}
	t.Begin(sqmail.StageEnd, to)
}

// storyOf returns where the story of a session is kept; nil if nobody will read
// it.
func (s *Server) storyOf(ctx context.Context) *sqmail.Trace {
	if !s.log().Enabled(ctx, slog.LevelInfo) {
		return nil
	}
	return new(sqmail.Trace)
}

// follow enters the verdicts that a Policy has left in the envelope since
// tx.told, unless it has entered them itself.
func (s *session) follow() {
	t := s.peer.Trace
	if t == nil || s.tx == nil {
		return
	}
	list := s.tx.env.Verdicts
	if step := t.Present(); len(step.Verdicts) == 0 {
		for _, v := range list[min(s.tx.told, len(list)):] {
			if v.Stage == "" || v.Stage == step.Stage { // others are of the session
				t.Add(v)
			}
		}
	}
	s.tx.told = len(list)
}

// told ends the present step of the story with a refusal. If the Policy has not
// said by which rule, it is told who refused.
func (s *session) told(r sqmail.Reply, err error) {
	t := s.peer.Trace
	step := t.Present()
	if step.Stage == "" || step.Reply.Code != 0 {
		return // it is at its end
	}
	if step.Decided().Action < sqmail.ActionDefer {
		t.Add(s.verdictOf(step.Stage, r, err))
	}
	t.End(r)
	t.Err = causeOf(err)
}

// verdictOf makes a verdict of an error.
func (s *session) verdictOf(stage string, r sqmail.Reply, err error) sqmail.Verdict {
	e, _ := errors.AsType[*sqmail.Error](err)
	v := sqmail.Verdict{Stage: stage, Filter: "policy", Action: sqmail.ActionDefer, Reply: r}
	switch {
	case err == s.set.errTooBig:
		return s.tooBig(stage)
	case err == errLoop, err == errBareLF, err == errNoRecipient, err == errEarly:
		v.Filter, v.Rule = ownFilter, r.Text
	case e != nil && e.Op != "":
		v.Filter = e.Op
	case stage == sqmail.StageEnd:
		v.Filter = "receiver"
	}
	switch {
	case e != nil && e.Close:
		v.Action = sqmail.ActionDrop
	case r.Class() == sqmail.Rejection:
		v.Action = sqmail.ActionReject
	}
	return v
}

// tooBig is the verdict on a message that is too big.
func (s *session) tooBig(stage string) sqmail.Verdict {
	v := sqmail.TooBig(stage, s.set.maxMessage)
	v.Reply = s.set.tooBig
	return v
}

// causeOf is what stands behind a refusal that is not a verdict's; "" if
// nothing does.
func causeOf(err error) string {
	e, ok := errors.AsType[*sqmail.Error](err)
	switch {
	case !ok:
		return err.Error()
	case e.Err != nil:
		return e.Err.Error()
	}
	return ""
}

var errEarly = &sqmail.Error{Op: ownFilter, Class: sqmail.Rejection, Reply: replyEarly, Close: true}

// declined is a step at which the server refuses by itself.
func (s *session) declined(v sqmail.Verdict, input string) {
	if t := s.peer.Trace; t != nil {
		t.Begin(v.Stage, input)
		t.Add(v)
		t.End(v.Reply)
	}
}

// declinedMail is declined for a MAIL that begins no transaction. arg is not
// looked at yet.
func (s *session) declinedMail(v sqmail.Verdict, arg string) {
	if s.peer.Trace == nil {
		return
	}
	path, params, err := parsePathArgument(arg, "FROM:", s.set.loose)
	if err != nil {
		return
	}
	tx := &transaction{env: sqmail.Envelope{ReversePath: path}, ending: sqmail.EndedRefused}
	s.mailParams(&tx.env, params) // as far as they make sense
	s.declined(v, path.String())
	s.logStory(tx)
}

// logStory writes the event of a transaction; tx is nil for a client that was
// turned away before one.
func (s *session) logStory(tx *transaction) {
	t := s.peer.Trace
	if t == nil {
		return
	}
	if tx == nil {
		tx = &transaction{ending: sqmail.EndedRefused}
	}
	t.Outcome, t.ID, t.Octets, t.Reply = s.endingOf(tx), tx.id, tx.size, lastReply(t, tx)
	attrs := []slog.Attr{slog.String("outcome", string(t.Outcome)), slog.String("reply", printable(t.Reply.String(), true))}
	if tx.id != "" {
		attrs = append(attrs, slog.String("id", clean(tx.id)))
	}
	attrs = append(attrs, pathAttr("from", tx.env.ReversePath), slog.Int("recipients", len(tx.env.Recipients)), slog.Int64("size", tx.size))
	s.event(slog.LevelInfo, "transaction", append(attrs, slog.Any("trace", t.Ended(s.peer, &tx.env)))...)
	t.Forget()
}

// endingOf says what became of a transaction.
func (s *session) endingOf(tx *transaction) sqmail.Ending {
	switch {
	case tx.ending == sqmail.EndedAccepted:
		return tx.ending
	case s.dropped:
		return sqmail.EndedDropped
	case tx.ending != "":
		return tx.ending
	case tx.asked > 0 && len(tx.env.Recipients) == 0:
		return sqmail.EndedRefused
	}
	return sqmail.EndedLeft
}

// lastReply is what the client heard last of a transaction.
func lastReply(t *sqmail.Trace, tx *transaction) sqmail.Reply {
	if tx.reply.Code != 0 {
		return tx.reply
	}
	if n := len(t.Steps); n > 0 {
		return t.Steps[n-1].Reply
	}
	return sqmail.Reply{}
}
