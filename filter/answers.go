package filter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sqmail/sqmail"
)

// OutsideFilter is a [Filter] whose verdicts rest on more than the session and
// its own rules: on what a daemon says, on what a store remembers, on the
// message. A [Chain] keeps its verdicts in the session's Trace as answers, and
// gives those again when the Trace is decided anew ([Chain.Replay]), where
// nobody can be asked.
//
// A filter that looks names up has no need of it: see [RecordDNS]. A
// [BodyFilter] without it counts as one whose question is its name.
type OutsideFilter interface {
	Filter

	// Asks names who would be asked in this session, and what the answer
	// rests on besides session and message: "clamd at /run/clamd.sock". Where
	// it differs it is another question. "": nobody, the filter decides by
	// itself.
	Asks(s *Session) string
}

// ErrNotRecorded is the error of a question in [Chain.Replay] to which no
// answer is known.
var ErrNotRecorded = errors.New("filter: the answer is not recorded")

// questionOf returns the question of an error that is ErrNotRecorded.
func questionOf(err error) string {
	text := err.Error()
	if _, question, found := strings.Cut(text, ErrNotRecorded.Error()+": "); found {
		return question
	}
	return text
}

// notRecorded is the rule of a verdict that cannot be given again.
const notRecorded = "not recorded"

// DryRun reports whether the session is only thought of ([Chain.Explain],
// [Chain.Replay]): nobody must remember it. A filter that would make somebody
// remember looks without that, or returns [WouldAsk].
func (s *Session) DryRun() bool { return s.dry }

// WouldAsk is the verdict of a filter that asks nobody in a [Session.DryRun].
func WouldAsk(whom string) sqmail.Verdict {
	return sqmail.Verdict{Rule: "would ask " + whom}
}

// recorder keeps the answers of one session, or gives them again. It is found
// in the context of whoever asks, for what looks names up knows of no session.
type recorder struct {
	mu      sync.Mutex
	pending []sqmail.Answer // since the last flush
	known   map[string]sqmail.Answer
	replay  bool
}

type recorderKey struct{}

// recorderOf returns the recorder of ctx; nil if nobody records.
func recorderOf(ctx context.Context) *recorder {
	rec, _ := ctx.Value(recorderKey{}).(*recorder)
	return rec
}

// in returns ctx with the recorder in it.
func (rec *recorder) in(ctx context.Context) context.Context {
	if rec == nil {
		return ctx
	}
	return context.WithValue(ctx, recorderKey{}, rec)
}

func (rec *recorder) add(a sqmail.Answer) {
	const most = 256 // in one stage; a Trace takes fewer
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.pending) < most {
		rec.pending = append(rec.pending, a)
	}
}

// flush hands what was answered to the session's Trace.
func (rec *recorder) flush(t *sqmail.Trace, lasting bool) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, a := range rec.pending {
		t.Answered(a, lasting)
	}
	rec.pending = nil
}

// recall returns the answer to a question: from the record in a replay, else
// ask's, which is kept. The answer of somebody for whom nobody waited is none.
func recall(ctx context.Context, question string, ask func() sqmail.Answer) (sqmail.Answer, error) {
	rec := recorderOf(ctx)
	if rec == nil {
		return ask(), nil
	}
	if rec.replay {
		a, known := rec.known[question]
		if !known {
			return a, fmt.Errorf("%w: %.200s", ErrNotRecorded, question)
		}
		return a, nil
	}
	a := ask()
	if a.Question = question; ctx.Err() == nil {
		rec.add(a)
	}
	return a, nil
}

// question is what an OutsideFilter is asked at a stage; "" if it decides by
// itself.
func (p *Policy) question(f Filter, stage, input string) string {
	asks := ""
	if o, ok := f.(OutsideFilter); ok {
		if asks = o.Asks(&p.s); asks == "" {
			return ""
		}
	} else if _, ok := f.(BodyFilter); !ok || stage != "body" {
		return ""
	}
	question := stage + " " + f.Name()
	for _, part := range []string{asks, input} {
		if part != "" {
			question += ", " + part
		}
	}
	return question
}

// replayed returns the verdict that was given on a question.
func (p *Policy) replayed(question string) sqmail.Verdict {
	a, known := p.rec.known[question]
	if !known {
		return sqmail.Verdict{Rule: notRecorded, Input: question}
	}
	if a.Verdict == nil {
		return sqmail.Verdict{}
	}
	return *a.Verdict
}

// record keeps a verdict that somebody else was asked for. What passes without
// a word is told by the question alone.
func (p *Policy) record(question string, v sqmail.Verdict) {
	if p.rec == nil || question == "" {
		return
	}
	a := sqmail.Answer{Question: question}
	if v.Action != sqmail.ActionPass || v.Rule != "" {
		kept := v // not v itself: it would be in the heap each time
		kept.Took = 0
		a.Verdict = &kept
	}
	p.rec.add(a)
}
