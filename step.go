package sqmail

import (
	"slices"
	"time"
)

// Step is what came of one stage, or of one recipient.
type Step struct {
	Stage string `json:"stage"`

	// Input is what was looked at: an address, a hello name, a path.
	Input string `json:"input,omitempty"`

	// Verdicts in the order in which they were given. A Trace has those that
	// rest on a rule or do something; what nobody had an opinion on is not
	// told.
	Verdicts []Verdict `json:"verdicts,omitempty"`

	// Cause is, in an explanation, why a filter could not decide: the error, which
	// the client does not hear. A Trace has that of the last refusal, in Err.
	Cause string `json:"cause,omitempty"`

	// Reply is what the client hears; 250 goes on.
	Reply Reply `json:"reply"`

	// Took is the time that the step took.
	Took time.Duration `json:"took,omitempty"`
}

// Refused reports whether the step is a refusal.
func (s *Step) Refused() bool { return s.Reply.Class() != Accepted }

// Decided returns the verdict that refused, or else the last one that rests on
// a rule or does something; the zero Verdict if there is none.
func (s *Step) Decided() Verdict {
	for _, v := range s.Verdicts {
		if v.Action >= ActionDefer {
			return v
		}
	}
	for _, v := range slices.Backward(s.Verdicts) {
		if v.Action != ActionPass || v.Rule != "" {
			return v
		}
	}
	return Verdict{}
}

// The bounds of a Trace, in octets but for the first two.
const (
	traceRecipients = 100
	traceVerdicts   = 16      // of a step
	traceStep       = 4 << 10 // of its verdicts
	traceText       = 256
	traceRoom       = 24 << 10 // of the recipients' steps
	traceAnswer     = 2 << 10
	traceAnswers    = 16 << 10
)

// Begin begins a step. "connect" begins the story anew, "hello" what follows it,
// and "reverse-path" the transaction.
func (t *Trace) Begin(stage, input string) {
	if t == nil {
		return
	}
	now := time.Now()
	switch stage {
	case "connect":
		*t = Trace{Time: now}
	case "hello":
		t.forget("connect")
		t.Time = now
	case "reverse-path":
		t.forget("connect", "hello")
		t.Time = now
	}
	t.open, t.began, t.step = Step{Stage: stage, Input: clip(input, 4*traceText)}, now, 0
}

// Forget forgets the transaction, once its story is written: what an idle
// session holds is how it began.
func (t *Trace) Forget() {
	if t != nil {
		t.forget("connect", "hello")
	}
}

// forget drops all but the steps of some stages.
func (t *Trace) forget(stages ...string) {
	var kept []Step // not in place: who logs may still hold the old ones
	for _, s := range t.Steps {
		if slices.Contains(stages, s.Stage) {
			kept = append(kept, s)
		}
	}
	*t = Trace{Steps: kept, lasting: t.lasting}
	for _, a := range t.lasting {
		t.answers += a.size()
	}
}

// Add adds a verdict to the present step.
func (t *Trace) Add(v Verdict) {
	if t == nil {
		return
	}
	if v.Action < ActionDefer && (len(t.open.Verdicts) >= traceVerdicts || t.step > traceStep) {
		t.Left++
		return
	}
	v.Rule, v.Input, v.File = clip(v.Rule, traceText), clip(v.Input, traceText), clip(v.File, traceText)
	v.Filter, v.Header, v.Reply.Text = clip(v.Filter, traceText), clip(v.Header, traceText), clip(v.Reply.Text, traceText)
	t.open.Verdicts = append(t.open.Verdicts, v)
	t.step += sizeOf(&v)
}

// sizeOf is about how long a verdict is.
func sizeOf(v *Verdict) int {
	return 128 + len(v.Rule) + len(v.Input) + len(v.File) + len(v.Filter) + len(v.Header) + len(v.Reply.Text)
}

// Present returns the step that was begun last.
func (t *Trace) Present() Step {
	if t == nil {
		return Step{}
	}
	return t.open
}

// End ends the present step with what the client hears; the zero Reply stands
// for 250. A step that is not begun is not ended.
func (t *Trace) End(r Reply) {
	if t == nil || t.open.Stage == "" || t.began.IsZero() {
		return
	}
	if r.Code == 0 {
		r.Code = 250
	}
	r.Text = clip(r.Text, traceText)
	t.open.Reply, t.open.Took, t.began = r, time.Since(t.began), time.Time{}
	if t.open.Stage == "recipient" && !t.room() {
		return
	}
	t.Steps = append(t.Steps, t.open)
}

// room makes sure that recipients leave room for what follows them.
func (t *Trace) room() bool {
	size := 128 + len(t.open.Input) + len(t.open.Reply.Text) + t.step
	n := 0
	for _, s := range t.Steps {
		if s.Stage == "recipient" {
			n++
		}
	}
	if n >= traceRecipients || t.octets+size > traceRoom {
		t.Left++
		return false
	}
	t.octets += size
	return true
}
