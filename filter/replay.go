package filter

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/sqmail/sqmail"
)

// Replayed is what became of a transaction under other rules.
type Replayed struct {
	// Steps are what the filters say now. They end where the session would, or
	// where nothing is known of it: a recipient whom a client never named
	// because its hello was refused cannot be decided on.
	Steps []sqmail.Step `json:"steps"`

	// Changes are the steps at which the client would hear something else:
	// another code, or that and the end of the session. Moved are those at
	// which it would hear the same refusal by another rule.
	Changes []Change `json:"changes,omitempty"`
	Moved   []Change `json:"moved,omitempty"`

	// Unknown are the questions to which the Trace has no answer, each once. What
	// depends on them was taken to let the matter go on.
	Unknown []string `json:"unknown,omitempty"`
}

// Change is a step before and after.
type Change struct {
	Old sqmail.Step `json:"old"`
	New sqmail.Step `json:"new"`
}

// Replay decides about a transaction again that was logged, as if its client
// came to c now. Nobody outside is asked and nothing is written: what the DNS,
// daemons, the greylist and programs said then, as far as the questions are
// still the same, they say again, for names if the filters' Resolver is one of
// [RecordDNS]. The message is not known any more: filters that look at it have
// their verdict of then, unless what they look for has changed.
//
// What the server itself had refused then it refuses again, but for limits,
// which are those given. What the Receiver said is not asked. The error is that
// of NewSession, or says that t is no Trace.
func (c *Chain) Replay(ctx context.Context, t *sqmail.Trace, limits Limits) (*Replayed, error) {
	facts, last, err := factsOf(t)
	if err != nil {
		return nil, err
	}
	facts.Limits = limits
	rec := &recorder{replay: true, known: make(map[string]sqmail.Answer, len(t.Answers))}
	for _, a := range slices.Backward(t.Answers) { // the first of equals counts
		rec.known[a.Question] = a
	}
	e := &explainer{facts: facts, last: last, unread: t}
	if err := e.run(ctx, c, rec); err != nil {
		return nil, err
	}
	r := &Replayed{Steps: e.steps}
	r.compare(t)
	return r, nil
}

var errNoTrace = errors.New("filter: a Trace without the steps of a session")

// factsOf returns what a Trace tells of a client, and the last stage that it
// knows of.
func factsOf(t *sqmail.Trace) (_ *Facts, last string, err error) {
	f := &Facts{Peer: t.Peer(), Size: t.Size, Unknown: t.Unknown}
	if !t.Remote.Addr().IsValid() && len(t.Steps) == 0 {
		return nil, "", errNoTrace
	}
	for _, s := range t.Steps {
		switch s.Stage {
		case sqmail.StageReversePath:
			f.From, err = pathOf(s.Input)
		case sqmail.StageRecipient:
			var to sqmail.Path
			to, err = pathOf(s.Input)
			f.To = append(f.To, to)
		case sqmail.StageConnect, sqmail.StageHello, sqmail.StageData, sqmail.StageBody:
		default:
			continue
		}
		if err != nil {
			return nil, "", err
		}
		last = s.Stage
	}
	if last == "" {
		return nil, "", errNoTrace
	}
	return f, last, nil
}

// pathOf reads a path as its String wrote it; loose servers take some that
// have no domain.
func pathOf(s string) (sqmail.Path, error) {
	if s == "" || s == "<>" {
		return sqmail.Path{}, nil
	}
	path, err := sqmail.ParsePath(s)
	if errors.Is(err, sqmail.ErrPathNoDomain) {
		return sqmail.PathOf(s), nil
	}
	return path, err
}

// serverFilter is the name under which a server enters what it refuses by
// rules of its own, such as a bare LF.
const serverFilter = "smtpd"

// ownStep returns the step at which the server itself had decided.
func ownStep(t *sqmail.Trace, stage string, n int) *sqmail.Step {
	if t == nil {
		return nil
	}
	s := nth(t.Steps, stage, n)
	if s == nil || !s.Refused() || s.Decided().Filter != serverFilter {
		return nil
	}
	return s
}

// nth returns a step of a stage.
func nth(steps []sqmail.Step, stage string, n int) *sqmail.Step {
	for i := range steps {
		if steps[i].Stage != stage {
			continue
		}
		if n == 0 {
			return &steps[i]
		}
		n--
	}
	return nil
}

// compare finds what has changed since.
func (r *Replayed) compare(t *sqmail.Trace) {
	counts := map[string]int{}
	for i := range r.Steps {
		is := &r.Steps[i]
		for _, v := range is.Verdicts {
			if v.Rule == notRecorded && !slices.Contains(r.Unknown, v.Input) {
				r.Unknown = append(r.Unknown, v.Input)
			}
		}
		was := nth(t.Steps, is.Stage, counts[is.Stage])
		counts[is.Stage]++
		if was == nil {
			continue
		}
		before, now := was.Decided(), is.Decided()
		switch {
		case was.Reply.Code != is.Reply.Code, (before.Action == sqmail.ActionDrop) != (now.Action == sqmail.ActionDrop):
			r.Changes = append(r.Changes, Change{*was, *is})
		case is.Refused() && (before.Filter != now.Filter || before.Rule != now.Rule):
			r.Moved = append(r.Moved, Change{*was, *is})
		}
	}
}

// unreadBody decides about a message of which only the length and what was said of
// it are known.
func (e *explainer) unreadBody(ctx context.Context) {
	e.step(sqmail.StageBody, "", 0, func() error {
		was := nth(e.unread.Steps, sqmail.StageBody, 0)
		if most := e.facts.Limits.MaxBytes; most > 0 && e.unread.Octets > most {
			return e.decide(sqmail.TooBig(sqmail.StageBody, most))
		}
		if was.Refused() && was.Decided().Filter == "databytes" {
			e.decide(sqmail.Verdict{Stage: sqmail.StageBody, Filter: "databytes", Rule: notRecorded, Input: "the whole message"})
		}
		b := newBody(ctx, e.p, nil)
		if b, ok := b.(*body); ok {
			defer b.Close()
			if err := b.end(); err != io.EOF {
				return err
			}
		}
		return nil
	})
}
