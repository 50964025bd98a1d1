package remote

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/wire"
)

// A transaction hands one message to some of its recipients (RFC 5321, 3.3).
type transaction struct {
	session *session
	message *sqmail.Message
	content content
	utf8    bool  // SMTPUTF8 is used
	to      []int // indexes of recipients

	answers []reply  // to RCPT, in the order of to
	mail    *failure // MAIL was refused, or the session ended before
	data    reply    // the answer to DATA; code 0: it was not sent

	final  *failure // what became of the message, if not accepted
	ok     reply    // what the peer said when it accepted
	finals []reply  // LMTP: one for each accepted recipient, as far as they came
}

// groupSize is how many octets of commands go in one piece. The replies to
// them fit any socket's buffer, so that nobody waits for the other for ever
// (RFC 2920, 3.1).
const groupSize = 4096

// lastWordsTimeout is how long the reason is waited for when a peer stops
// taking the message.
const lastWordsTimeout = 10 * time.Second

// run does the whole transaction. What came of it is in t.
func (t *transaction) run(ctx context.Context) {
	s := t.session
	release := s.watch(ctx)
	defer release()
	s.served++
	if t.final = t.begin(); t.final != nil {
		return
	}
	if t.final = t.envelope(); t.final != nil {
		return
	}
	accepted := t.accepted()
	switch {
	case accepted == 0:
		t.final = t.giveUp()
	case t.data.code >= 400:
		t.final = s.refused("", t.data)
		t.final.text = s.ip + " failed on DATA command"
		if t.data.code == 451 {
			t.final.text = s.ip + " message was greylisted"
		}
	case t.data.code/100 != 3:
		t.final = s.died(errMalformed) // the body would be taken for commands
	default:
		t.final = t.body(accepted)
	}
}

// begin checks what need not be asked, and clears away what an earlier
// transaction left open.
func (t *transaction) begin() *failure {
	s := t.session
	if limit := s.ext.limit; limit > 0 && t.content.wireSize > limit {
		return rejection(s.connected("message too large (#5.3.4)"))
	}
	if t.message.Envelope.RequireTLS && !s.ext.requireTLS {
		return rejection(s.connected("it does not offer REQUIRETLS (#5.7.30)"))
	}
	if !s.reset {
		return nil
	}
	s.reset = false
	r, err := s.command("RSET")
	if err != nil || r.code/100 != 2 {
		return t.lost(err)
	}
	return nil
}

// lost is the failure for a session that ended. Before MAIL is answered, one
// that has been used before may only have been too old.
func (t *transaction) lost(err error) *failure {
	f := t.session.died(err)
	f.retry = t.session.reused
	f.next = false
	return f
}

// envelope sends MAIL, RCPT and DATA, as many at a time as the peer takes, and
// reads the answers. Its failure is that of MAIL, or of the session.
func (t *transaction) envelope() *failure {
	s := t.session
	last := len(t.to) + 1 // 0 is MAIL, then RCPT, last DATA
	for next, answered := 0, 0; next <= last; next++ {
		if next == last && answered == next && t.accepted() == 0 {
			return nil
		}
		s.out = t.command(s.out, next)
		if s.ext.pipelining && len(s.out) < groupSize && next < last {
			continue
		}
		if err := s.send(); err != nil {
			return t.lostAt(answered, err)
		}
		for ; answered <= next; answered++ {
			r, err := s.read(s.agent.timeout())
			if err != nil {
				return t.lostAt(answered, err)
			}
			if f := t.answer(answered, r); f != nil {
				return f
			}
		}
		if t.mail != nil {
			return t.mail
		}
	}
	return nil
}

// command appends the i-th command of the envelope.
func (t *transaction) command(b []byte, i int) []byte {
	switch {
	case i == 0:
		return t.mailCommand(b)
	case i <= len(t.to):
		return t.rcptCommand(b, &t.message.Envelope.Recipients[t.to[i-1]])
	}
	return append(b, "DATA\r\n"...)
}

// answer takes the reply to the i-th command. A failure ends the session: a
// peer that says 421 is leaving, and who is not decided yet is deferred.
func (t *transaction) answer(i int, r reply) *failure {
	s := t.session
	switch {
	case i == 0 && r.code >= 400:
		what := "sender was rejected"
		if r.code < 500 {
			what = "sender was greylisted"
		}
		t.mail = s.refused(what, r)
		t.mail.retry = r.code == 421 && s.reused
	case i == 0:
		s.reset = true
	case i <= len(t.to):
		if t.mail == nil {
			t.answers = append(t.answers, r)
		}
	default:
		t.data = r
		if r.code/100 == 3 && t.mail != nil {
			return s.died(errMalformed) // it refused MAIL, and wants the message
		}
	}
	switch {
	case r.code != 421 || i > len(t.to):
		return nil
	case t.mail != nil:
		return t.mail
	}
	return s.refused("connection died", r)
}

// lostAt is the failure for a session that ended before the i-th answer.
func (t *transaction) lostAt(i int, err error) *failure {
	if t.mail != nil {
		return t.mail
	}
	f := t.lost(err)
	f.retry = f.retry && i == 0
	return f
}

func (t *transaction) accepted() int {
	n := 0
	for _, r := range t.answers {
		if r.code < 400 {
			n++
		}
	}
	return n
}

// giveUp is what becomes of a message that has no recipient left. A peer that
// was sent DATA and agreed gets an empty message (RFC 2920, 3.1).
func (t *transaction) giveUp() *failure {
	s := t.session
	switch {
	case t.data.code/100 != 3:
	case s.call.lmtp:
		s.broken = true // it would not answer for nobody (RFC 2033, 4.2)
	default:
		if _, err := s.command("."); err == nil {
			s.reset = false
		}
	}
	return rejection("Giving up on " + s.ip + ".")
}

// body sends the message, and waits for the peer to take responsibility.
func (t *transaction) body(accepted int) *failure {
	s := t.session
	if f := t.send(); f != nil {
		s.broken = true
		return f
	}
	if s.call.lmtp {
		return t.lmtpFinals(accepted)
	}
	r, err := s.read(s.agent.finalTimeout())
	if err != nil {
		return t.inDoubt(err)
	}
	s.reset = false
	return t.verdict(r)
}

// send sends the message with its final dot.
func (t *transaction) send() *failure {
	s := t.session
	w := wire.NewDotWriter(s)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for m, at := t.message, int64(0); at < m.Size; {
		n, err := m.Content.ReadAt((*buf)[:min(int64(len(*buf)), m.Size-at)], at)
		if n == 0 {
			s.raw.Close() // the peer must not see an end
			s.broken = true
			w.Abort()
			return unreadable(errors.Join(io.ErrUnexpectedEOF, err))
		}
		at += int64(n)
		if _, err := w.Write((*buf)[:n]); err != nil {
			w.Abort()
			return t.brokenOff(err)
		}
	}
	if err := w.Close(); err != nil {
		return t.brokenOff(err)
	}
	return nil
}

// brokenOff is the failure for a message that could not be sent to its end.
// The peer may have told why before it closed the connection.
func (t *transaction) brokenOff(cause error) *failure {
	s := t.session
	if r, err := s.read(lastWordsTimeout); err == nil && r.code >= 400 {
		return t.verdict(r)
	}
	f := s.died(cause)
	f.next = false
	return f
}

// verdict is what a final reply means; nil: accepted.
func (t *transaction) verdict(r reply) *failure {
	s := t.session
	switch {
	case r.code/100 == 2:
		t.ok = r
		return nil
	case r.code < 400:
		return t.inDoubt(errMalformed)
	}
	f := s.refused("", r)
	f.text = s.ip + " failed after I sent the message"
	return f
}

// inDoubt is the failure for a final reply that did not come: the peer may or
// may not have the message.
func (t *transaction) inDoubt(err error) *failure {
	f := t.session.died(err)
	f.text = t.session.connected("connection died. Possible duplicate! (#4.4.2)")
	f.next, f.inDoubt = false, true
	return f
}

// lmtpFinals reads a reply for each accepted recipient (RFC 2033, 4.2).
func (t *transaction) lmtpFinals(accepted int) *failure {
	s := t.session
	for range accepted {
		r, err := s.read(s.agent.finalTimeout())
		if err != nil {
			return t.inDoubt(err)
		}
		t.finals = append(t.finals, r)
	}
	s.reset = false
	return nil
}

// acceptedText is the report for a recipient that got the message.
func (t *transaction) acceptedText(r reply) string {
	how := " accepted message"
	if t.session.secure {
		how = " TLS transmitted message accepted"
	}
	return t.session.ip + how + ".\nRemote host said: " + r.text + "\n"
}
