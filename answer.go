package sqmail

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Answer is what somebody else said to a question: to one for the DNS, "MX
// example.org", in Data, or to a filter that asks a daemon, in Verdict.
type Answer struct {
	Question string   `json:"question"`
	Data     []string `json:"data,omitempty"`
	Verdict  *Verdict `json:"verdict,omitempty"`

	// Err says why there is no answer: "not found", or else a temporary
	// error.
	Err string `json:"err,omitempty"`
}

// Answered keeps an answer: for the transaction, or, if it is lasting, for
// all that follow in the session too. Of two answers to a question the first
// counts.
func (t *Trace) Answered(a Answer, lasting bool) {
	if t == nil {
		return
	}
	known := func(b Answer) bool { return b.Question == a.Question }
	if slices.ContainsFunc(t.Answers, known) || slices.ContainsFunc(t.lasting, known) {
		return
	}
	a.Err = clip(a.Err, traceText)
	size := a.size()
	if size > traceAnswer || t.answers+size > traceAnswers {
		t.AnswersLeft++
		return
	}
	t.answers += size
	if lasting {
		t.lasting = append(t.lasting, a)
	} else {
		t.Answers = append(t.Answers, a)
	}
}

func (a *Answer) size() int {
	n := 32 + len(a.Question) + len(a.Err)
	for _, d := range a.Data {
		n += 4 + len(d)
	}
	if a.Verdict != nil {
		n += sizeOf(a.Verdict)
	}
	return n
}

// clip returns the beginning of s. It is not shorter than it must be, and of
// whole characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.Clone(s[:most])
}
