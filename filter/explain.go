package filter

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sqmail/sqmail"
)

// Facts are what a client would bring: what [Chain.Explain] is asked about.
type Facts struct {
	// Peer is the client: its address, names, user and encryption as far as
	// they matter. It is not changed. Nil: nothing is known of it.
	Peer *sqmail.Peer

	// From and To are what MAIL and the RCPT commands name, Size the parameter
	// of MAIL.
	From sqmail.Path
	To   []sqmail.Path
	Size int64

	// Message is what it sends, with LF at line ends. Nil: it is not looked at,
	// and the explanation ends before it.
	Message io.Reader

	// Unknown is how many recipients of the session were refused before
	// because they do not exist.
	Unknown int

	// Limits are those of the server.
	Limits Limits
}

// Limits are what a server refuses by itself, before or behind the filters.
// Zero values refuse nothing.
type Limits struct {
	// MaxRecipients of a transaction, and MaxBytes of a message.
	MaxRecipients int
	MaxBytes      int64

	// NeedTLS refuses MAIL in cleartext, NeedAuth MAIL of strangers.
	NeedTLS, NeedAuth bool
}

// Explain runs the filters on what a client would bring, as they run on a
// session, and tells what each of them says. It does not wait for delays, and
// nobody is told who would remember ([Session.DryRun]): a greylist is looked at,
// others say whom they would ask. What filters look up they look up in earnest,
// and scanners see the message.
//
// Each step has the verdicts of all filters that were asked, and the error of one
// that could not decide. The steps end where the session would: at a refusal, or when no recipient
// was accepted. The error is that of reading the message, or of NewSession.
func (c *Chain) Explain(ctx context.Context, f *Facts) ([]sqmail.Step, error) {
	e := &explainer{facts: f, last: sqmail.StageBody}
	if f.Message == nil {
		e.last = sqmail.StageData
	}
	err := e.run(ctx, c, nil)
	return e.steps, err
}

// explainer leads a session that nobody has.
type explainer struct {
	facts  *Facts
	last   string        // the stage at which the client would be done
	unread *sqmail.Trace // whose message is not known any more; nil: that of facts is

	p      *Policy
	client sqmail.Peer // as it will be
	peer   sqmail.Peer // as it is at this stage
	env    sqmail.Envelope
	seen   []sqmail.Verdict
	steps  []sqmail.Step
	over   bool // the session ends here
}

// run leads the session to its end. The error is not one that a client would
// hear of.
func (e *explainer) run(ctx context.Context, c *Chain, rec *recorder) error {
	e.client = orZero(e.facts.Peer)
	e.peer = e.client
	e.peer.Trace, e.peer.User, e.peer.Mechanism, e.peer.Hello = nil, "", "", ""
	e.p = &Policy{chain: c, rec: rec, s: Session{Peer: &e.peer, chain: c, dry: true, rec: rec, Unknown: e.facts.Unknown}}
	e.p.observe = func(v sqmail.Verdict) { e.seen = append(e.seen, v) }
	if _, err := c.begin(ctx, e.p); err != nil {
		return err
	}
	if !e.connect(ctx) || e.last == sqmail.StageConnect || !e.hello(ctx) || e.last == sqmail.StageHello || !e.mail(ctx) {
		return nil
	}
	for i, to := range e.facts.To {
		if e.recipient(ctx, i, to); e.over {
			return nil
		}
	}
	if e.last == sqmail.StageRecipient || len(e.env.Recipients) == 0 {
		return nil
	}
	if !e.step(sqmail.StageData, "", 0, func() error { return e.p.CheckData(ctx, &e.peer, &e.env) }) || e.last == sqmail.StageData {
		return nil
	}
	if e.unread != nil {
		e.unreadBody(ctx)
		return nil
	}
	return e.message(ctx)
}

func orZero(p *sqmail.Peer) sqmail.Peer {
	if p == nil {
		return sqmail.Peer{}
	}
	return *p
}

func (e *explainer) connect(ctx context.Context) bool {
	return e.step(sqmail.StageConnect, e.peer.Remote.Addr().String(), 0, func() error { return e.p.CheckConnect(ctx, &e.peer) })
}

// hello says the client's name, and then who its user is: authentication follows
// the hello.
func (e *explainer) hello(ctx context.Context) bool {
	e.peer.Hello = e.client.Hello
	ok := e.step(sqmail.StageHello, e.peer.Hello, 0, func() error { return e.p.CheckHello(ctx, &e.peer) })
	e.peer.User, e.peer.Mechanism = e.client.User, e.client.Mechanism
	return ok
}

func (e *explainer) mail(ctx context.Context) bool {
	e.env = sqmail.Envelope{ReversePath: e.facts.From, Size: e.facts.Size, Peer: &e.peer}
	return e.step(sqmail.StageReversePath, e.env.ReversePath.String(), 0, func() error {
		if v := e.facts.Limits.mail(&e.peer, &e.env); v.Action != sqmail.ActionPass {
			return e.decide(v)
		}
		return e.p.CheckReversePath(ctx, &e.peer, &e.env)
	})
}

func (e *explainer) recipient(ctx context.Context, i int, to sqmail.Path) {
	r := sqmail.Recipient{Path: to}
	ok := e.step(sqmail.StageRecipient, to.String(), i, func() error {
		if most := e.facts.Limits.MaxRecipients; most > 0 && i >= most {
			return e.decide(sqmail.TooManyRecipients(most))
		}
		return e.p.CheckRecipient(ctx, &e.peer, &e.env, &r)
	})
	if ok {
		e.env.Recipients = append(e.env.Recipients, r)
	}
}

// decide enters a verdict of the server.
func (e *explainer) decide(v sqmail.Verdict) error {
	e.seen = append(e.seen, v)
	return v.Err()
}

// mail is what a server says to MAIL by itself.
func (l *Limits) mail(peer *sqmail.Peer, env *sqmail.Envelope) sqmail.Verdict {
	switch {
	case l.NeedTLS && peer.TLS == nil:
		return sqmail.NeedsTLS()
	case l.NeedAuth && peer.User == "" && peer.Mechanism == "":
		return sqmail.NeedsAuth()
	case l.MaxBytes > 0 && env.Size > l.MaxBytes:
		return sqmail.TooBig(sqmail.StageReversePath, l.MaxBytes)
	}
	return sqmail.Verdict{}
}

// step leads through one stage, and reports whether the session would go on.
// n counts the recipients.
func (e *explainer) step(stage, input string, n int, check func() error) bool {
	if own := ownStep(e.unread, stage, n); own != nil {
		e.steps = append(e.steps, *own)
		e.over = own.Decided().Action == sqmail.ActionDrop
		return false
	}
	err := check()
	s := sqmail.Step{Stage: stage, Input: input, Verdicts: e.seen, Reply: sqmail.ReplyFor(err)}
	if err != nil {
		s.Reply = heard(stage, err)
		known, _ := errors.AsType[*sqmail.Error](err)
		if known != nil && known.Err != nil {
			s.Cause = fmt.Sprintf("%.500s", known.Err.Error())
		}
		e.over = known != nil && known.Close || s.Reply.Code == 421
	}
	e.seen, e.steps = nil, append(e.steps, s)
	return err == nil
}

// heard is what a client hears of an error: what package smtpd makes of it.
func heard(stage string, err error) sqmail.Reply {
	r := sqmail.ReplyFor(err)
	if r.Code < 400 || r.Code > 599 {
		r = sqmail.ReplyFor(&sqmail.Error{})
	}
	if stage == sqmail.StageConnect { // RFC 5321, 3.1 and 3.8
		r.Code = 421
		if sqmail.ClassOf(err) == sqmail.Rejection {
			r.Code = 554
		}
	}
	return r
}

// message reads the message to the verdicts at its end.
func (e *explainer) message(ctx context.Context) (failed error) {
	e.step(sqmail.StageBody, "", 0, func() error {
		counted := &limited{src: e.facts.Message, most: e.facts.Limits.MaxBytes}
		r := e.p.FilterBody(ctx, &e.peer, &e.env, counted)
		if c, ok := r.(io.Closer); ok {
			defer c.Close()
		}
		_, err := io.Copy(io.Discard, r)
		switch {
		case counted.over:
			return e.decide(sqmail.TooBig(sqmail.StageBody, counted.most))
		case err != nil && counted.failed != nil:
			failed = err
		}
		return err
	})
	if failed != nil {
		e.steps = e.steps[:len(e.steps)-1]
	}
	return failed
}

// limited is a message that may be too long.
type limited struct {
	src     io.Reader
	n, most int64
	over    bool
	failed  error
}

var errTooLong = errors.New("filter: message is too long")

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.src.Read(p)
	l.n += int64(n)
	if l.over = l.over || l.most > 0 && l.n > l.most; l.over {
		return 0, errTooLong
	}
	if err != nil && err != io.EOF {
		l.failed = err
	}
	return n, err
}
