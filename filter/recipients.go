package filter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// Mailboxes knows which mailboxes exist: a database, a program, or whatever an
// embedder has. It is used concurrently.
type Mailboxes interface {
	// HasMailbox reports whether a mailbox exists. The domain of to is in
	// lower case. A source that cannot tell returns an error, which is a
	// deferral: never false.
	HasMailbox(ctx context.Context, s *Session, to sqmail.Path) (bool, error)
}

// MailboxesFunc makes a function a [Mailboxes].
type MailboxesFunc func(ctx context.Context, s *Session, to sqmail.Path) (bool, error)

// HasMailbox calls f.
func (f MailboxesFunc) HasMailbox(ctx context.Context, s *Session, to sqmail.Path) (bool, error) {
	return f(ctx, s, to)
}

// RecipientRule is a line of control/recipients: for which domains which
// source is asked.
type RecipientRule struct {
	// Rule is the line, and where it stands.
	Rule

	// Domain is whom the rule is for, in lower case: the domain and those
	// below it, or, if Exact, the domain alone. "": all domains.
	Domain string
	Exact  bool

	// Unnamed restricts the rule to domains that no rule before it has named.
	Unnamed bool

	// Accept takes every recipient; nobody is asked.
	Accept bool

	// Source is asked if the rule does not Accept. Nil: nobody can tell, a
	// deferral.
	Source Mailboxes

	// Database and Program are how the line names its source.
	Database string
	Program  []string
}

// named reports whether the rule names a domain as one it is for.
func (r *RecipientRule) named(domain string) bool {
	if r.Domain == "" {
		return false
	}
	return r.Domain == domain || !r.Exact && within(domain, r.Domain)
}

// Recipients refuses strangers' recipients that do not exist. It asks the
// sources of the rules that apply, in order, until one knows the mailbox; if
// none does it does not exist. Behind a break character anything may stand if
// what precedes it, break included, is known: "list-@example.org" knows
// list-joe=example.net@example.org (VERP). Spec: filter.md, 7.
//
// Put it behind [RcptHosts] and [Tarpit]. Postmaster without a domain always
// exists (RFC 5321, 4.5.1).
type Recipients struct {
	// Rules in the order in which they are tried. Nil or empty: nobody
	// exists. (Where control/recipients is absent there is to be no filter.)
	Rules []RecipientRule

	// Break is the break character. 0: "-".
	Break byte

	// Defer answers 450 instead of 550 (RECIPIENTS450).
	Defer bool

	// Text is added to the reply.
	Text string
}

// Name returns "recipients".
func (f *Recipients) Name() string { return "recipients" }

var (
	noMailbox = sqmail.Reply{
		Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "sorry, no mailbox here by that name",
	}
	noMailboxNow = sqmail.Reply{
		Code: 450, Enhanced: sqmail.EnhancedCode{4, 2, 1}, Text: "sorry, mailbox currently unavailable",
	}
)

// Recipient refuses a recipient that does not exist.
func (f *Recipients) Recipient(ctx context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	if s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	v := sqmail.Verdict{Input: s.unquoted(to.Path)}
	if to.Path.Domain == "" && strings.EqualFold(to.Path.LocalPart(), "postmaster") {
		v.Rule = "postmaster"
		return v, nil
	}
	rule, known, err := f.find(ctx, s, to.Path)
	if rule != nil {
		v.Rule, v.File, v.Line = rule.told(), rule.File, rule.Line
	}
	if known || err != nil {
		return v, err
	}
	s.Unknown++
	v.Action, v.Reply = sqmail.ActionReject, noMailbox
	if f.Defer {
		v.Action, v.Reply = sqmail.ActionDefer, noMailboxNow
	}
	if v.Rule == "" {
		v.Rule = "no rule for the domain"
	}
	v.Reply.Text = withText(v.Reply.Text, f.Text)
	return v, nil
}

// find returns the rule that decided: the one that knows the mailbox, that
// failed, or the last that was asked.
func (f *Recipients) find(ctx context.Context, s *Session, to sqmail.Path) (asked *RecipientRule, known bool, err error) {
	to.Domain = lower(to.Domain)
	if to.Domain == "" {
		to.Domain = "localhost"
	}
	isNamed := false // by the rules so far
	for i := range f.Rules {
		r := &f.Rules[i]
		named := r.named(to.Domain)
		applies := named || r.Domain == "" && !(r.Unnamed && isNamed)
		isNamed = isNamed || named
		switch {
		case !applies:
			continue
		case r.Accept:
			return r, true, nil
		}
		asked = r
		if known, err = f.ask(ctx, s, r, to); known || err != nil {
			return r, known, err
		}
	}
	return asked, false, nil
}

// ask asks the source of a rule for a mailbox, and then for the one that stands
// for all that have the same beginning.
func (f *Recipients) ask(ctx context.Context, s *Session, r *RecipientRule, to sqmail.Path) (bool, error) {
	if r.Source == nil {
		return false, fmt.Errorf("filter: recipients: %q has no source", r.told())
	}
	known, err := r.has(ctx, s, to)
	if known || err != nil {
		return known && err == nil, err
	}
	brk := f.Break
	if brk == 0 {
		brk = '-'
	}
	local := to.LocalPart()
	end := strings.IndexByte(local, brk)
	if end < 0 || end == len(local)-1 {
		return false, nil // there is nothing behind the break
	}
	known, err = r.has(ctx, s, sqmail.PathOf(local[:end+1]+"@"+to.Domain))
	return known && err == nil, err
}

// has asks the source of a rule. What a program says is recorded; databases are
// rules.
func (r *RecipientRule) has(ctx context.Context, s *Session, to sqmail.Path) (known bool, err error) {
	switch r.Source.(type) {
	case *UserDatabase, *Assignments:
		return r.Source.HasMailbox(ctx, s, to)
	}
	asked := false
	a, failed := recall(ctx, r.question(to), func() sqmail.Answer {
		asked = true
		known, err = r.Source.HasMailbox(ctx, s, to)
		return sqmail.Answer{Data: []string{strconv.FormatBool(known)}, Err: answerError(err)}
	})
	switch {
	case asked:
		return known, err
	case failed == nil && a.Err != "":
		failed = errors.New(a.Err)
	}
	return slices.Equal(a.Data, []string{"true"}), failed
}

// told is the rule as verdicts and logs have it: without the arguments of a
// program, for some take a password there.
func (r *RecipientRule) told() string {
	if len(r.Program) < 2 {
		return r.Text
	}
	whom, _, _ := strings.Cut(r.Text, "|")
	return whom + "|" + r.Program[0] + " ..."
}

// question is what the source of the rule is asked of a mailbox. A few bits
// tell programs with other arguments apart, and not what these are.
func (r *RecipientRule) question(to sqmail.Path) string {
	question := "mailbox " + to.String() + ", " + r.told()
	if len(r.Program) > 1 {
		question += fmt.Sprintf(" %04x", uint16(sumOf(strings.Join(r.Program, "\x00"), nil)))
	}
	return question
}

// withText adds what an administrator wants to be said to a reply's text.
func withText(text, more string) string {
	if more == "" {
		return text
	}
	return text + "; " + more
}
