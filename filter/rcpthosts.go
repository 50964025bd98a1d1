package filter

import (
	"context"
	"iter"

	"github.com/sqmail/sqmail"
)

// RcptHosts refuses recipients in foreign domains, unless the session is a
// relay client. Spec: smtpd.md, 4.6. A recipient without a domain is ours.
type RcptHosts struct {
	// Domains are the domains that mail is taken for: "example.com" is that
	// domain alone, ".example.com" all domains below it. Nil or empty: none.
	Domains *List

	// Listed, if not nil, is asked when Domains has no match: first for the
	// domain in lower case, then for its parents with a dot in front. It is for
	// databases of more domains. Its error is a deferral.
	Listed func(ctx context.Context, name string) (bool, error)

	// Text is added to the reply.
	Text string
}

// Name returns "rcpthosts".
func (f *RcptHosts) Name() string { return "rcpthosts" }

// DecidesRelay makes it a [RelayFilter].
func (f *RcptHosts) DecidesRelay() {}

var noRelay = sqmail.Reply{
	Code: 553, Enhanced: sqmail.EnhancedCode{5, 7, 1},
	Text: "sorry, that domain isn't in my list of allowed rcpthosts",
}

// Recipient refuses foreign recipients of strangers.
func (f *RcptHosts) Recipient(ctx context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	if s.RelayClient() || to.Path.Domain == "" {
		return sqmail.Verdict{}, nil
	}
	rule, found, err := f.find(ctx, to.Path.Domain)
	v := sqmail.Verdict{Input: to.Path.Domain, Rule: rule.Text, File: rule.File, Line: rule.Line}
	if found || err != nil {
		return v, err
	}
	v.Rule, v.Action, v.Reply = "not listed", sqmail.ActionReject, noRelay
	v.Reply.Text = withText(noRelay.Text, f.Text)
	return v, nil
}

// find returns the entry that a domain is ours by. With an error it is not
// known whether there is one.
func (f *RcptHosts) find(ctx context.Context, domain string) (rule Rule, found bool, err error) {
	domain = lower(domain)
	for name := range suffixes(domain) {
		if rule, found := f.Domains.Lookup(name); found {
			return rule, true, nil
		}
	}
	if f.Listed == nil {
		return Rule{}, false, nil
	}
	for name := range suffixes(domain) {
		if found, err := f.Listed(ctx, name); err != nil || found {
			return Rule{Text: name}, err == nil, err
		}
	}
	return Rule{}, false, nil
}

// suffixes yields a domain, and then each of its parents with a dot in front:
// "a.b.c", ".b.c", ".c".
func suffixes(domain string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(domain) {
			return
		}
		for i := 1; i < len(domain); i++ {
			if domain[i] == '.' && !yield(domain[i:]) {
				return
			}
		}
	}
}
