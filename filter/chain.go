package filter

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

// Chain asks filters in order. It fits smtpd.Policy; sessions share it. Its
// fields must not change from when it is first used.
type Chain struct {
	// Filters in the order in which they are asked at each stage.
	Filters []Filter

	// NewSession, if not nil, is called for each connection, to set Vars and
	// Relayed by its rules. An error refuses the connection, as a deferral if
	// it is not an [*sqmail.Error] that says otherwise.
	NewSession func(ctx context.Context, s *Session) error

	// Log gets one event for each verdict that refuses, and at level debug for
	// each that rests on a rule. Nil: discarded.
	Log *slog.Logger

	once   sync.Once
	staged [stages][]Filter // Filters by stage
	texts  sync.Map         // of OnceInChain
	sieves sync.Map         // of sieveOf
}

// CheckRecipient refuses: a Chain is asked through BeginSession. It is there to
// make a Chain an smtpd.Policy.
func (c *Chain) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return errors.New("filter: a Chain was asked without a session")
}

// BeginSession returns the policy of one session.
func (c *Chain) BeginSession(ctx context.Context, peer *sqmail.Peer) (interface {
	CheckRecipient(ctx context.Context, peer *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error
}, error) {
	p := &Policy{chain: c, s: Session{Peer: peer, chain: c}}
	if peer.Trace != nil {
		p.rec = new(recorder)
		p.s.rec = p.rec
		p.verdict = slices.Clone(peer.Trace.Present().Verdicts) // of the connection's rules
	}
	return c.begin(ctx, p)
}

// begin lets a session begin.
func (c *Chain) begin(ctx context.Context, p *Policy) (*Policy, error) {
	if c.NewSession != nil {
		if err := c.NewSession(ctx, &p.s); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Policy is a [Chain] at work on one session. It fits the optional interfaces
// of package smtpd, stage for stage.
type Policy struct {
	chain   *Chain
	s       Session
	verdict []sqmail.Verdict // of the stages before the transaction
	answer  sqmail.Verdict   // the last one that refused
	rec     *recorder        // nil: nobody wants to know
	more    int              // verdicts that the envelope has no room for
	usual   int              // how many verdicts the last message had

	observe func(sqmail.Verdict) // of Explain: is shown every verdict, and nothing waits
}

// Session returns the facts that the filters see.
func (p *Policy) Session() *Session { return &p.s }

// Refusal returns the verdict that refused last, with its rule; the zero
// Verdict if none has.
func (p *Policy) Refusal() sqmail.Verdict { return p.answer }

// CheckConnect asks the filters that look at connections.
func (p *Policy) CheckConnect(ctx context.Context, _ *sqmail.Peer) error {
	return p.ask(ctx, atConnect, "", func(ctx context.Context, f Filter) (sqmail.Verdict, error) {
		return f.(ConnectFilter).Connect(ctx, &p.s)
	})
}

// CheckHello asks the filters that look at hello names.
func (p *Policy) CheckHello(ctx context.Context, _ *sqmail.Peer) error {
	p.s.begin(nil)
	p.s.greeted = true
	p.verdict = slices.DeleteFunc(p.verdict, func(v sqmail.Verdict) bool { return v.Stage == "hello" })
	return p.ask(ctx, atHello, "", func(ctx context.Context, f Filter) (sqmail.Verdict, error) {
		return f.(HelloFilter).Hello(ctx, &p.s)
	})
}

// CheckReversePath asks the filters that look at reverse-paths.
func (p *Policy) CheckReversePath(ctx context.Context, _ *sqmail.Peer, env *sqmail.Envelope) error {
	p.s.begin(env)
	if t := p.s.Peer.Trace; t != nil {
		t.Unknown = p.s.Unknown
	}
	for _, v := range p.verdict {
		env.Verdicts = append(env.Verdicts, v)
		if v.Action == sqmail.ActionTag {
			env.Header = append(env.Header, v.Header...)
		}
	}
	return p.ask(ctx, atReversePath, "", func(ctx context.Context, f Filter) (sqmail.Verdict, error) {
		return f.(ReversePathFilter).ReversePath(ctx, &p.s)
	})
}

// CheckRecipient asks the filters that look at recipients.
func (p *Policy) CheckRecipient(ctx context.Context, _ *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error {
	p.s.Envelope = env
	p.s.Recipients++
	input := ""
	if p.rec != nil {
		input = to.Path.String()
	}
	return p.ask(ctx, atRecipient, input, func(ctx context.Context, f Filter) (sqmail.Verdict, error) {
		return f.(RecipientFilter).Recipient(ctx, &p.s, to)
	})
}

// CheckData asks the filters that look at whole envelopes.
func (p *Policy) CheckData(ctx context.Context, _ *sqmail.Peer, env *sqmail.Envelope) error {
	p.s.Envelope = env
	return p.ask(ctx, atData, "", func(ctx context.Context, f Filter) (sqmail.Verdict, error) {
		return f.(DataFilter).Data(ctx, &p.s)
	})
}

// stage is when a filter is asked.
type stage uint8

const (
	atConnect stage = iota
	atHello
	atReversePath
	atRecipient
	atData
	atBody
	stages
)

// String returns the name of the stage in verdicts.
func (s stage) String() string {
	return [...]string{"connect", "hello", "reverse-path", "recipient", "data", "body"}[s]
}

// at returns the filters that are asked at a stage.
func (c *Chain) at(s stage) []Filter {
	c.once.Do(c.sort)
	return c.staged[s]
}

// sort sorts the filters by stage. If none says for whom to relay, one that
// relays for nobody has the last word.
func (c *Chain) sort() {
	decided := false
	for _, f := range c.Filters {
		for s := range stages {
			if s.asks(f) {
				c.staged[s] = append(c.staged[s], f)
			}
		}
		_, decides := f.(RelayFilter)
		decided = decided || decides
	}
	if !decided {
		c.staged[atRecipient] = append(c.staged[atRecipient], new(RcptHosts))
	}
}

// asks reports whether a filter is asked at a stage.
func (s stage) asks(f Filter) (asked bool) {
	switch s {
	case atConnect:
		_, asked = f.(ConnectFilter)
	case atHello:
		_, asked = f.(HelloFilter)
	case atReversePath:
		_, asked = f.(ReversePathFilter)
	case atRecipient:
		_, asked = f.(RecipientFilter)
	case atData:
		_, asked = f.(DataFilter)
	case atBody:
		_, asked = f.(BodyFilter)
	}
	return asked
}

// ask asks each filter until one refuses or accepts.
func (p *Policy) ask(ctx context.Context, s stage, input string, call func(context.Context, Filter) (sqmail.Verdict, error)) error {
	if p.rec != nil {
		ctx = p.rec.in(ctx)
		defer func() { p.rec.flush(p.s.Peer.Trace, s == atConnect || s == atHello) }()
	}
	filters := p.chain.at(s)
	if len(filters) == 0 {
		return nil
	}
	begin, before := time.Now(), time.Duration(0)
	for _, f := range filters {
		v, err := p.askOne(ctx, f, s, input, call)
		if err == nil && v.Action == sqmail.ActionPass && v.Rule == "" && instant(f) && p.observe == nil {
			continue // not even the time it took
		}
		now := time.Since(begin)
		if err == nil && v.Action == sqmail.ActionPass && v.Rule == "" && p.observe == nil {
			before = now
			continue // there is nothing to tell
		}
		v.Stage, v.Filter, v.Took = s.String(), f.Name(), now-before
		before = now
		if done, err := p.settle(ctx, v, err); done || err != nil {
			return err
		}
		if v.Action == sqmail.ActionDelay {
			before = time.Since(begin) // what it waited is not the next one's time
		}
	}
	return nil
}

// instant reports whether a filter waits for nobody and takes less time than a
// look at the clock does. What it takes counts as the next one's.
func instant(f Filter) bool {
	switch f.(type) {
	case *Tarpit, MaxRecipients, RelaySuffix, *BadRcptTo, *BadMailFrom, *OwnLiterals:
		return true
	}
	return false
}

// askOne asks one filter, or recalls what it has said.
func (p *Policy) askOne(ctx context.Context, f Filter, s stage, input string, call func(context.Context, Filter) (sqmail.Verdict, error)) (v sqmail.Verdict, err error) {
	if p.rec == nil {
		if v, err = call(ctx, f); err != nil {
			v, err = p.judged(v, err)
		}
		return v, err
	}
	question := p.question(f, s.String(), input)
	if question != "" && p.rec.replay {
		return p.replayed(question), nil
	}
	v, err = call(ctx, f)
	v, err = p.judged(v, err)
	p.record(question, v)
	return v, err
}

// judged makes the verdict of an error. In a replay what is not known lets the
// matter go on.
func (p *Policy) judged(v sqmail.Verdict, err error) (sqmail.Verdict, error) {
	switch {
	case err == nil:
		return v, nil
	case p.rec != nil && p.rec.replay && errors.Is(err, ErrNotRecorded):
		return sqmail.Verdict{Rule: notRecorded, Input: questionOf(err)}, nil
	}
	v.Action, v.Reply = actionFor(err), sqmail.ReplyFor(err)
	return v, err
}

// settle acts on one verdict; done means that no further filter is asked.
func (p *Policy) settle(ctx context.Context, v sqmail.Verdict, err error) (done bool, _ error) {
	if err != nil {
		err = &sqmail.Error{Op: v.Filter, Class: v.Reply.Class(), Reply: v.Reply, Err: err}
	} else {
		err = v.Err()
	}
	p.note(ctx, v, err)
	if err != nil {
		p.answer = v
		return true, err
	}
	switch v.Action {
	case sqmail.ActionAccept:
		return true, nil
	case sqmail.ActionTag:
		if p.s.Envelope != nil {
			p.s.Envelope.Header = append(p.s.Envelope.Header, v.Header...)
		}
	case sqmail.ActionDelay:
		if p.observe == nil {
			return false, wait(ctx, v.Delay)
		}
	}
	return false, nil
}

func actionFor(err error) sqmail.Action {
	if sqmail.ClassOf(err) == sqmail.Rejection {
		return sqmail.ActionReject
	}
	return sqmail.ActionDefer
}

// note keeps a verdict with the transaction and logs it.
func (p *Policy) note(ctx context.Context, v sqmail.Verdict, err error) {
	if p.observe != nil {
		p.observe(v)
	}
	if v.Action == sqmail.ActionPass && v.Rule == "" {
		return
	}
	p.s.Peer.Trace.Add(v)
	p.keep(v)
	level := slog.LevelInfo
	if v.Action < sqmail.ActionDefer {
		level = slog.LevelDebug
	}
	if p.chain.Log == nil || p.s.dry || !p.chain.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("session", p.s.Peer.Session), slog.String("stage", v.Stage), slog.String("filter", v.Filter),
		slog.String("action", v.Action.String()), slog.String("rule", v.Rule), slog.String("input", v.Input),
	}
	if v.File != "" {
		attrs = append(attrs, slog.String("file", v.File), slog.Int("line", v.Line))
	}
	if cause := errors.Unwrap(err); cause != nil {
		attrs = append(attrs, slog.Any("err", cause))
	}
	p.chain.Log.LogAttrs(ctx, level, "verdict", attrs...)
}

// maxVerdicts is how many verdicts go with a message; most have a few.
const (
	maxVerdicts = 100
	fewVerdicts = 6
)

// keep keeps a verdict with the message, or for the next one. There is room for
// so many; the last one counts those that there is no room for.
func (p *Policy) keep(v sqmail.Verdict) {
	list := &p.verdict
	if p.s.Envelope != nil {
		list = &p.s.Envelope.Verdicts
	}
	if len(*list) < maxVerdicts {
		if p.more = 0; *list == nil {
			*list = make([]sqmail.Verdict, 0, cmp.Or(p.usual, fewVerdicts))
		}
		*list = append(*list, v)
		p.usual = len(*list)
		return
	}
	p.more++
	(*list)[maxVerdicts-1] = sqmail.Verdict{Stage: "end", Filter: "trace", Rule: "further verdicts: " + strconv.Itoa(p.more+1)}
}

// wait waits, or ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// FilterBody returns a reader of body that shows it to the scanners, and
// returns their verdict at its end.
func (p *Policy) FilterBody(ctx context.Context, _ *sqmail.Peer, env *sqmail.Envelope, body io.Reader) io.Reader {
	p.s.Envelope = env
	return newBody(ctx, p, body)
}
