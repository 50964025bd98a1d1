package remote

import (
	"strings"

	"github.com/sqmail/sqmail"
)

// settle turns what came of a transaction into outcomes. It returns the
// recipients that are to be offered again at once, because the peer takes no
// more in one transaction, or because its connection was too old.
func (d *delivery) settle(t *transaction) (again []int) {
	if t.final != nil && t.final.retry {
		return t.to
	}
	final := 0 // the next of t.finals
	for i, to := range t.to {
		if i >= len(t.answers) || t.answers[i].code < 400 {
			d.settleAccepted(t, to, final)
			final++
			continue
		}
		if tooMany(t.answers[i]) && t.final == nil && !t.session.broken {
			again = append(again, to)
			continue
		}
		d.outcomes[to] = t.refusedRecipient(to, t.answers[i])
	}
	return again
}

// settleAccepted is for a recipient that the peer did not refuse: it fares as
// the message does. final is its place among them.
func (d *delivery) settleAccepted(t *transaction, to, final int) {
	f := t.final
	r := t.ok
	if t.session.call.lmtp && final < len(t.finals) {
		r = t.finals[final]
		f = t.verdict(r)
	}
	if f != nil {
		d.outcomes[to] = t.failed(to, f)
		return
	}
	d.outcomes[to] = sqmail.Outcome{
		Recipient: to,
		Class:     sqmail.Accepted,
		Reply:     r.public(),
		Text:      t.acceptedText(r),
		Where:     t.session.call.where(),
		Notifies:  t.session.ext.dsn,
	}
}

func (t *transaction) failed(to int, f *failure) sqmail.Outcome {
	f.where = t.session.call.where()
	return f.outcome(to)
}

// refusedRecipient is the outcome of a recipient that the peer refused. As
// in the report of qmail-remote, what became of the message follows if that is
// no better (spec/remote.md 1).
func (t *transaction) refusedRecipient(to int, r reply) sqmail.Outcome {
	s := t.session
	f := s.refused("", r)
	f.text = s.ip + " does not like recipient"
	if r.code == 421 || r.code == 450 {
		f.text = s.ip + " probably greylisting"
	}
	o := t.failed(to, f)
	if m := t.final; m != nil && (m.class == sqmail.Rejection || f.class == sqmail.Deferral) {
		o.Text += m.report()
	}
	return o
}

// tooMany reports whether a peer takes no more recipients in one transaction
// (RFC 5321, 4.5.3.1.10).
func tooMany(r reply) bool {
	if r.code == 452 {
		return !strings.HasPrefix(text(r), "4.2.") // the mailbox is full
	}
	return r.code == 552 && strings.HasPrefix(text(r), "5.5.3")
}

// outcome is a failure as the outcome of one recipient.
func (f *failure) outcome(to int) sqmail.Outcome {
	o := sqmail.Outcome{
		Recipient: to,
		Class:     f.class,
		Text:      f.report(),
		Where:     f.where,
		InDoubt:   f.inDoubt,
	}
	if f.reply.code != 0 {
		o.Reply = f.reply.public()
	}
	return o
}
