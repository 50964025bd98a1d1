package filter

import (
	"context"

	"github.com/sqmail/sqmail"
)

// BadRcptTo refuses recipients by a list, also those of relay clients. An
// address, or "@domain", that stands in the list is refused; then the list's
// patterns are tried, so that "*" followed by "!good@domain" lines makes a list of
// the only recipients that are taken. Spec: filter.md, 14.
type BadRcptTo struct {
	list     *List
	patterns *Patterns
	text     string
}

// NewBadRcptTo returns the filter for a list. text is added to the reply.
func NewBadRcptTo(rules []Rule, text string) *BadRcptTo {
	return &BadRcptTo{NewList(rules), newPatterns(rules, true), text}
}

// WithText returns the filter with another text, for the same list.
func (f *BadRcptTo) WithText(text string) *BadRcptTo {
	other := *f
	other.text = text
	return &other
}

// Name returns "badrcptto".
func (f *BadRcptTo) Name() string { return "badrcptto" }

var badRecipient = sqmail.Reply{
	Code: 553, Enhanced: sqmail.EnhancedCode{5, 7, 1},
	Text: "sorry, your envelope recipient is in my badrcptto list",
}

// Recipient refuses a recipient that is listed.
func (f *BadRcptTo) Recipient(_ context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	address := s.unquoted(to.Path)
	if rule, ok := f.list.Lookup(address); ok {
		return refuse(rule, address, badRecipient, f.text), nil
	}
	if domain := "@" + to.Path.Domain; to.Path.Domain != "" {
		if rule, ok := f.list.Lookup(domain); ok {
			return refuse(rule, address, badRecipient, f.text), nil
		}
	}
	switch rule, yes, found := f.patterns.Match(address); {
	case found && yes:
		return refuse(rule, address, badRecipient, f.text), nil
	case found:
		return sqmail.Verdict{Rule: rule.Text, File: rule.File, Line: rule.Line, Input: address}, nil
	}
	return sqmail.Verdict{}, nil
}

// refuse returns the rejection that a rule asks for.
func refuse(rule Rule, input string, reply sqmail.Reply, text string) sqmail.Verdict {
	reply.Text = withText(reply.Text, text)
	return sqmail.Verdict{
		Action: sqmail.ActionReject, Reply: reply,
		Rule: rule.Text, File: rule.File, Line: rule.Line, Input: input,
	}
}
