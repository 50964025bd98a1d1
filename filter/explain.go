package filter

import (
	"context"
	"io"

	"github.com/sqmail/sqmail"
)

// Facts are what a client would bring: what [Chain.Explain] is asked about.
type Facts struct {
	// Peer is the client: its address, names, user and encryption as far as
	// they matter.
	Peer *sqmail.Peer

	// From and To are what MAIL and the RCPT commands name.
	From sqmail.Path
	To   []sqmail.Path

	// Message is what it sends, with LF at line ends. Nil: it is not looked at,
	// and the explanation ends before it.
	Message io.Reader
}

// Step is what came of one stage, or of one recipient.
type Step struct {
	Stage string `json:"stage"`
	Input string `json:"input,omitempty"`

	// Verdicts are those of all filters that were asked, in order.
	Verdicts []sqmail.Verdict `json:"verdicts"`

	// Reply is what the client hears of the filters; 250 goes on.
	Reply sqmail.Reply `json:"reply"`
}

// Explain runs the filters on what a client would bring, as they run on a
// session, and tells what each of them says. It does not wait for delays. What
// filters look up or count they look up and count in earnest.
//
// The steps end where the session would: at a refusal, or when no recipient
// was accepted. The error is that of reading the message, or of NewSession.
func (c *Chain) Explain(ctx context.Context, f *Facts) ([]Step, error) {
	begun, err := c.BeginSession(ctx, f.Peer)
	if err != nil {
		return nil, err
	}
	p := begun.(*Policy)
	e := &explainer{p: p}
	p.observe = func(v sqmail.Verdict) { e.seen = append(e.seen, v) }

	env := &sqmail.Envelope{ReversePath: f.From, Peer: f.Peer}
	if !e.step("connect", f.Peer.Remote.Addr().String(), p.CheckConnect(ctx, f.Peer)) ||
		!e.step("hello", f.Peer.Hello, p.CheckHello(ctx, f.Peer)) ||
		!e.step("reverse-path", f.From.String(), p.CheckReversePath(ctx, f.Peer, env)) {
		return e.steps, nil
	}
	for _, to := range f.To {
		r := sqmail.Recipient{Path: to}
		if e.step("recipient", to.String(), p.CheckRecipient(ctx, f.Peer, env, &r)) {
			env.Recipients = append(env.Recipients, r)
		}
	}
	if len(env.Recipients) == 0 || !e.step("data", "", p.CheckData(ctx, f.Peer, env)) || f.Message == nil {
		return e.steps, nil
	}
	return e.steps, e.message(p.FilterBody(ctx, f.Peer, env, f.Message))
}

// explainer collects the steps.
type explainer struct {
	p     *Policy
	seen  []sqmail.Verdict
	steps []Step
}

// step ends a stage, and reports whether the session would go on.
func (e *explainer) step(stage, input string, err error) bool {
	e.steps = append(e.steps, Step{Stage: stage, Input: input, Verdicts: e.seen, Reply: sqmail.ReplyFor(err)})
	e.seen = nil
	return err == nil
}

// message reads the message to the verdicts at its end.
func (e *explainer) message(r io.Reader) error {
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	_, err := io.Copy(io.Discard, r)
	if err != nil && len(e.seen) == 0 {
		return err // no filter's word
	}
	e.step("body", "", err)
	return nil
}
