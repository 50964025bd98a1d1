package smtpd

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/wire"
)

// data takes a message (RFC 5321, 4.1.1.4).
func (s *session) data(string) {
	if r := s.beforeMessage(); r.Code != 0 {
		s.say(r)
		return
	}
	if err := s.checkData(); err != nil {
		s.refuseData(err)
		return
	}
	s.say(replyData)
	s.conn.BeginBody()
	s.receive(&dotSource{wire.NewDotReader(s.conn.Reader(), wire.Policy(s.set.bareLF))})
}

// beforeMessage holds DATA and the first BDAT against the state of the
// session.
func (s *session) beforeMessage() sqmail.Reply {
	switch {
	case s.tx == nil:
		return replyMailFirst
	case len(s.tx.env.Recipients) == 0 && s.tx.asked > 0:
		return replyNoRecipient // RFC 5321, 4.1.1.4
	case len(s.tx.env.Recipients) == 0:
		return replyRecipients
	}
	return sqmail.Reply{}
}

// checkData asks the Policy about the whole envelope.
func (s *session) checkData() error {
	if s.set.lmtp {
		for _, to := range s.tx.env.Recipients {
			s.tx.accepted = append(s.tx.accepted, to.Path)
		}
	}
	s.peer.Trace.Begin(sqmail.StageData, "")
	if s.policy.data == nil {
		s.peer.Trace.End(sqmail.Reply{})
		return nil
	}
	env := &s.tx.env
	s.conn.Watch()
	defer s.conn.Unwatch()
	err := s.policy.data.CheckData(s.ctx, s.peer, env)
	if err == nil && len(env.Recipients) == 0 {
		err = errNoRecipient
	}
	s.follow()
	if err == nil {
		s.peer.Trace.End(sqmail.Reply{})
	}
	return err
}

func (s *session) refuseData(err error) {
	s.refuse("data", err, pathAttr("from", s.tx.env.ReversePath))
	s.reset()
}

var errNoRecipient = &sqmail.Error{Op: "data", Class: sqmail.Rejection, Reply: replyNoRecipient}

// source is where a message comes from: the octets behind DATA, or chunks.
type source interface {
	io.Reader

	// skip reads past what the client is about to send anyway, before it
	// can be answered that the message is refused: at most that many octets.
	skip(most int64) error

	// final reports whether the command that is to be answered now is the
	// message's last.
	final() bool
}

// dotSource is the message behind DATA.
type dotSource struct{ *wire.DotReader }

func (d *dotSource) final() bool { return true }

func (d *dotSource) skip(most int64) error {
	n, err := io.CopyN(io.Discard, d.DotReader, most)
	if err == io.EOF {
		return nil
	}
	if n == most {
		return errSkipTooMuch
	}
	return err
}

var errSkipTooMuch = errors.New("smtpd: client goes on sending a message that is refused")

// receive hands the transaction's message to the Receiver, and answers.
func (s *session) receive(src source) {
	env := &s.tx.env
	s.trace(env)
	b := &body{s: s, src: src}
	s.peer.Trace.Begin(sqmail.StageBody, "")
	receipt, each, err := s.handOver(env, b)
	s.tx.size = b.size
	s.follow()
	switch {
	case b.lost, b.err == errAborted: // by a command that is answered next
		s.messageLost(env, b)
	case err != nil:
		s.refuseMessage(env, b, err)
	default:
		s.settled(env, b, receipt, each)
	}
	s.reset()
}

// handOver calls the Receiver. The error decides about the message: that of
// the body, of the Policy's reader or of the Receiver, the first of them; nil
// means that the Receiver has the message, and that it was read to its end. A
// Receiver that tells recipients apart has its errors in each.
func (s *session) handOver(env *sqmail.Envelope, b *body) (receipt sqmail.Receipt, each []error, err error) {
	defer s.conn.Unwatch() // begun by the body's end
	last := &remembered{Reader: b}
	if p := s.policy.body; p != nil {
		last.Reader = p.FilterBody(s.ctx, s.peer, env, b)
		if c, ok := last.Reader.(io.Closer); ok {
			defer c.Close()
		}
	}
	if r, ok := s.set.receiver.(LMTPReceiver); ok && s.set.lmtp {
		receipt, each = receiveEach(s.ctx, r, env, last)
	} else {
		receipt, err = s.set.receiver.Receive(s.ctx, env, last)
	}
	if err == nil && last.err == nil { // it did not read to the end
		io.Copy(io.Discard, last)
	}
	verdict := b.err
	if verdict == nil || verdict == io.EOF {
		verdict = last.err
	}
	if verdict == nil || verdict == io.EOF {
		return receipt, each, err
	}
	s.tx.bodyError = true
	if err == nil && (each == nil || slices.Contains(each, nil)) {
		s.event(slog.LevelError, "receiver took a message that is refused", slog.String("id", clean(receipt.ID)))
	}
	return receipt, nil, verdict
}

// skipLimit is how much more of a refused message is read: as much as a
// message may have.
func (s *session) skipLimit() int64 {
	if s.set.maxMessage == 0 {
		return defaultMaxMessage
	}
	return s.set.maxMessage + 1<<16
}

// remembered remembers how reading ended.
type remembered struct {
	io.Reader
	err error
}

func (w *remembered) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.Reader.Read(p)
	w.err = err
	return n, err
}

// refuseMessage answers a message that nobody took, once the client has sent
// what it is sending. After octets that may mean one thing to us and another to
// the client, and when it goes on for too long, the session is over.
func (s *session) refuseMessage(env *sqmail.Envelope, b *body, err error) {
	if b.err == nil || b.err == s.set.errTooBig || b.err == errLoop {
		if skipErr := b.src.skip(s.skipLimit()); skipErr != nil {
			b.fail(skipErr)
			s.closing = true
		}
	}
	if b.lost {
		s.messageLost(env, b)
		return
	}
	if s.closing {
		s.conn.Linger()
		s.dropped = true
	}
	if !s.tx.bodyError {
		s.bodyPassed("")
	}
	s.refuseTimes(s.replies(b), "message", err, s.envelopeAttrs(env, slog.Int64("size", b.size), lastRecipient(env)))
}

// messageLost ends a transaction that the client has broken off.
func (s *session) messageLost(env *sqmail.Envelope, b *body) {
	s.event(slog.LevelInfo, "message lost", s.envelopeAttrs(env, slog.Int64("size", b.size), slog.String("err", clean(b.err.Error())))...)
	if b.lost {
		s.lost(b.err)
	}
}

// replies is how many replies the end of a message has: one, or in LMTP one
// for each RCPT that was accepted (RFC 2033, 4.2), and none for recipients that
// the Policy has added since.
func (s *session) replies(b *body) int {
	if s.set.lmtp && b.src.final() {
		return len(s.tx.accepted)
	}
	return 1
}

// settled answers a message that is the Receiver's, for all recipients or for
// some.
func (s *session) settled(env *sqmail.Envelope, b *body, receipt sqmail.Receipt, each []error) {
	s.bads = 0
	s.bodyPassed("")
	if each == nil || slices.Contains(each, nil) {
		s.event(slog.LevelInfo, "message accepted", s.envelopeAttrs(env, slog.String("id", clean(receipt.ID)), slog.Int64("size", b.size))...)
	}
	r := taken(receipt)
	told := s.tx.outcomes(each)
	for i := range s.replies(b) {
		if i < len(told) && told[i] != nil {
			to := s.tx.accepted[i]
			s.bodyPassed(to.String())
			s.refuse("message", told[i], pathAttr("from", env.ReversePath), pathAttr("to", to))
			continue
		}
		s.say(r)
	}
	for i := len(s.tx.accepted); i < len(each); i++ { // those that the Policy has added
		if err := each[i]; err != nil {
			s.logRefusal("message", wireReply(err), err, pathAttr("from", env.ReversePath), pathAttr("to", env.Recipients[i].Path))
		}
	}
	if each == nil || slices.Contains(each, nil) {
		s.tx.ending, s.tx.reply, s.tx.id = sqmail.EndedAccepted, r, receipt.ID
	}
}

// taken is the reply to a message that a Receiver has taken.
func taken(receipt sqmail.Receipt) sqmail.Reply {
	at := receipt.Time
	if at.IsZero() {
		at = time.Now()
	}
	r := sqmail.Reply{Code: 250, Enhanced: sqmail.EnhancedCode{2, 0, 0}}
	r.Text = "ok " + strconv.FormatInt(at.Unix(), 10)
	if receipt.ID != "" {
		r.Text += " qp " + receipt.ID
	}
	return r
}

// trace writes our trace field before whatever the Policy has put there; but
// what tells of a Received-SPF check stands above it (RFC 7208, 9.1).
func (s *session) trace(env *sqmail.Envelope) {
	recipient := ""
	if s.set.traceFor && len(env.Recipients) == 1 {
		recipient = env.Recipients[0].Path.String()
	}
	peer := *s.peer
	if env.SenderVerified {
		peer.Protocol += "M" // spec/smtpd.md 7.1
	}
	spf, rest := cutReceivedSPF(env.Header)
	header := append(make([]byte, 0, 256+len(env.Header)), spf...)
	header = appendReceived(header, &peer, s.helloName(), recipient, time.Now())
	env.Header = append(header, rest...)
}

// cutReceivedSPF takes a Received-SPF field at the beginning off a header.
func cutReceivedSPF(header []byte) (field, rest []byte) {
	if _, found := cutPrefixFold(string(header[:min(len(header), 13)]), "Received-SPF:"); !found {
		return nil, header
	}
	end := 0
	for {
		n := bytes.IndexByte(header[end:], '\n')
		if n < 0 {
			return header, nil
		}
		end += n + 1
		if end == len(header) || header[end] != ' ' && header[end] != '\t' {
			return header[:end], header[end:]
		}
	}
}
