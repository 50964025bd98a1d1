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

var noRelay = sqmail.Reply{
	Code: 553, Enhanced: sqmail.EnhancedCode{5, 7, 1},
	Text: "sorry, that domain isn't in my list of allowed rcpthosts",
}

// Recipient refuses foreign recipients of strangers.
func (f *RcptHosts) Recipient(ctx context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	if s.RelayClient() || to.Path.Domain == "" {
		return sqmail.Verdict{}, nil
	}
	v := sqmail.Verdict{Input: to.Path.Domain}
	domain := lower(to.Path.Domain)
	for name := range suffixes(domain) {
		if rule, ok := f.Domains.Lookup(name); ok {
			v.Rule, v.File, v.Line = rule.Text, rule.File, rule.Line
			return v, nil
		}
	}
	if f.Listed != nil {
		for name := range suffixes(domain) {
			if found, err := f.Listed(ctx, name); err != nil || found {
				v.Rule = name
				return v, err
			}
		}
	}
	v.Action, v.Reply = sqmail.ActionReject, noRelay
	if f.Text != "" {
		v.Reply.Text += "; " + f.Text
	}
	return v, nil
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
