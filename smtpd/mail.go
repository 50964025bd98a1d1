package smtpd

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/sqmail/sqmail"
)

// transaction is what stands between MAIL and the end of a message.
type transaction struct {
	env sqmail.Envelope

	// asked counts the RCPT commands that named a path, octets the memory
	// that those hold that were accepted.
	asked, octets int

	// What became of it, for the log.
	ending    sqmail.Ending // "": nothing yet
	reply     sqmail.Reply  // the last one, if it is not a step's
	id        string        // the message's at the Receiver
	size      int64         // of the message
	told      int           // verdicts of env that the story has
	bodyError bool          // the message was refused before it was the Receiver's

	// accepted are the recipients when the message began. LMTP has a reply for
	// each of these, whatever the Policy makes of them.
	accepted []sqmail.Path

	// few is where env.Recipients begins, for it is mostly short.
	few [2]sqmail.Recipient
}

// mail begins a transaction (RFC 5321, 4.1.1.2).
func (s *session) mail(arg string) {
	if !s.mayMail(arg) {
		return
	}
	path, params, err := parsePathArgument(arg, "FROM:", s.set.loose)
	if err != nil || path.Domain == "" && !path.IsNull() && !s.set.loose {
		s.bad(replySenderPath)
		return
	}
	tx := &transaction{}
	tx.env = sqmail.Envelope{ReversePath: path, Recipients: tx.few[:0], Peer: s.peer}
	if r := s.mailParams(&tx.env, params); r.Code != 0 {
		s.bad(r)
		return
	}
	switch {
	case !tx.env.SMTPUTF8 && needsUTF8(path):
		s.decline("ORIG::SMTPUTF8", replyUTF8Path, pathAttr("from", path))
		return
	case s.set.maxMessage > 0 && tx.env.Size > s.set.maxMessage: // RFC 1870, 6.1
		s.decline("DATA::Invalid_Size", s.set.tooBig, pathAttr("from", path), slog.Int64("size", tx.env.Size))
		s.declined(s.tooBig(sqmail.StageReversePath), path.String())
		tx.ending = sqmail.EndedRefused
		s.logStory(tx)
		return
	}
	s.begins(tx)
	s.checkReversePath(tx)
}

// mayMail reports whether the session is where MAIL can be said, and answers it
// if not.
func (s *session) mayMail(arg string) bool {
	switch {
	case !s.greeted() && !s.set.loose:
		s.bad(replyHelloFirst)
	case s.tx != nil:
		s.say(replyInTransaction)
	case s.refuseForTLS():
		s.declinedMail(sqmail.NeedsTLS(), arg)
	case s.refuseForAuth():
		s.declinedMail(sqmail.NeedsAuth(), arg)
	case s.set.maxTransactions > 0 && s.transactions >= s.set.maxTransactions:
		s.event(slog.LevelInfo, "refused", slog.String("condition", "SNDR::Toomany_Messages"))
		s.sayLast(replyTransactions)
	case s.set.receiver == nil:
		s.refuse("reverse-path", errNoReceiver)
	default:
		return true
	}
	return false
}

// checkReversePath asks the Policy about the reverse-path of a transaction that
// has begun, and answers MAIL.
func (s *session) checkReversePath(tx *transaction) {
	path := tx.env.ReversePath
	if t := s.peer.Trace; t != nil {
		t.Begin(sqmail.StageReversePath, path.String())
	}
	if p := s.policy.reversePath; p != nil {
		s.conn.Watch()
		err := p.CheckReversePath(s.ctx, s.peer, &tx.env)
		s.conn.Unwatch()
		s.follow()
		if err != nil {
			s.refuse("reverse-path", err, pathAttr("from", path))
			s.reset()
			return
		}
	}
	s.peer.Trace.End(sqmail.Reply{})
	s.say(replyReversePath)
}

// begins enters a transaction, reset drops it.
func (s *session) begins(tx *transaction) {
	s.tx = tx
	s.transactions++
	if tx.env.SMTPUTF8 {
		s.setProtocol(true)
	}
}

func (s *session) reset() {
	tx := s.tx
	if tx == nil {
		return
	}
	s.logStory(tx)
	s.tx = nil
	if tx.env.SMTPUTF8 {
		s.setProtocol(false)
	}
	if s.policy.end != nil {
		s.policy.end.EndTransaction(s.peer, &tx.env)
	}
}

var errNoReceiver = &sqmail.Error{Op: "receive", Reply: replyNoReceiver, Err: errors.New("smtpd: Server without Receiver")}

// needsUTF8 reports whether p may be named only with SMTPUTF8 (RFC 6531, 3.4).
func needsUTF8(p sqmail.Path) bool {
	return !isASCII(p.Local) || !isASCII(p.Domain)
}

// rcpt adds a recipient (RFC 5321, 4.1.1.3).
func (s *session) rcpt(arg string) {
	switch {
	case s.refuseForTLS():
		return
	case s.tx == nil:
		s.say(replyMailFirst)
		return
	}
	path, params, err := parsePathArgument(arg, "TO:", s.set.loose)
	if err != nil || path.IsNull() {
		s.bad(replyForwardPath)
		return
	}
	s.tx.asked++
	to := sqmail.Recipient{Path: path}
	if r := s.rcptParams(&to, params); r.Code != 0 {
		s.bad(r)
		return
	}
	if !s.tx.room(&to, len(arg), s.set.maxRecipients) { // RFC 5321, 4.5.3.1.10
		s.decline("RCPT::Toomany_Rcptto", replyTooMuch, pathAttr("from", s.tx.env.ReversePath), pathAttr("to", path))
		s.declined(sqmail.TooManyRecipients(s.set.maxRecipients), path.String())
		return
	}
	if !s.tx.env.SMTPUTF8 && needsUTF8(path) {
		s.decline("RCPT::SMTPUTF8", replyUTF8Path, pathAttr("from", s.tx.env.ReversePath), pathAttr("to", path))
		return
	}
	if t := s.peer.Trace; t != nil {
		t.Begin(sqmail.StageRecipient, path.String())
	}
	s.conn.Watch()
	seen := len(s.tx.env.Verdicts)
	err = s.policy.recipient.CheckRecipient(s.ctx, s.peer, &s.tx.env, &to)
	s.conn.Unwatch()
	s.follow()
	if err != nil {
		s.refuse("recipient", err, pathAttr("from", s.tx.env.ReversePath), pathAttr("to", path))
		return
	}
	s.peer.Trace.End(sqmail.Reply{})
	s.tx.env.Recipients = append(s.tx.env.Recipients, to)
	s.recipientAccepted(path, seen)
	s.say(replyRecipient)
}

// room reports whether one more recipient is within the limit. It makes sure
// that the recipient holds little more memory than it needs: its strings are
// parts of a line of the given length.
func (tx *transaction) room(to *sqmail.Recipient, line, most int) bool {
	const octetsEach = 256
	octets := len(to.Path.Local) + len(to.Path.Domain) + len(to.Original)
	if most > 0 && (tx.asked > most || tx.octets+octets > most*octetsEach) {
		return false
	}
	tx.octets += octets
	if line > 2*octets+octetsEach {
		to.Path.Local, to.Path.Domain = strings.Clone(to.Path.Local), strings.Clone(to.Path.Domain)
		to.Original = strings.Clone(to.Original)
	}
	return true
}
