package filter

import (
	"context"
	"strings"

	"github.com/sqmail/sqmail"
)

// BadMailFrom refuses reverse-paths by a list. An entry is an address,
// "@domain", or a pattern; markers make it more than that. Spec: filter.md, 3.
//
//	?user@dom  never refused, and its domain is not looked up
//	@dom+      refused unless the client is a relay client
//	@dom-      refused if the client has no reverse name
//	@dom=      refused if the client's reverse name is not in dom
//	~dom       a client whose reverse name is in dom must send from its domain
//
// The verdict falls at the first recipient, and holds for all.
type BadMailFrom struct {
	exempt   *List // with "?" in front; lists of their own, for short ones stay in a processor's cache
	marked   *List // with "+", "-" or "=" behind
	hosts    *List // with "~" in front
	plain    *List // without markers
	patterns *Patterns
	text     string
}

// NewBadMailFrom returns the filter for a list. text is added to the reply.
func NewBadMailFrom(rules []Rule, text string) *BadMailFrom {
	var exempt, marked, hosts, unmarked []Rule
	for _, r := range rules {
		if r.Text == "" {
			continue
		}
		first, last := r.Text[0], r.Text[len(r.Text)-1]
		switch {
		case first == '?':
			exempt = append(exempt, r)
		case first == '~':
			hosts = append(hosts, r)
		case strings.IndexByte("+-=", last) >= 0:
			marked = append(marked, r)
		default:
			unmarked = append(unmarked, r)
		}
	}
	return &BadMailFrom{NewList(exempt), NewList(marked), NewList(hosts), NewList(unmarked), newPatterns(unmarked, true), text}
}

// WithText returns the filter with another text, for the same list.
func (f *BadMailFrom) WithText(text string) *BadMailFrom {
	other := *f
	other.text = text
	return &other
}

// Name returns "badmailfrom".
func (f *BadMailFrom) Name() string { return "badmailfrom" }

var badSender = sqmail.Reply{
	Code: 553, Enhanced: sqmail.EnhancedCode{5, 7, 1},
	Text: "sorry, your envelope sender is in my badmailfrom list",
}

// Recipient refuses every recipient of a reverse-path that is listed.
func (f *BadMailFrom) Recipient(_ context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	return s.Once(f, func() (sqmail.Verdict, error) { return f.judge(s), nil })
}

// Exempt reports whether an entry with "?" exempts a reverse-path from every
// check of senders.
func (f *BadMailFrom) Exempt(from sqmail.Path) bool {
	_, ok := f.exempt.Lookup("?" + from.Unquoted())
	return ok
}

func (f *BadMailFrom) judge(s *Session) sqmail.Verdict {
	from := s.Envelope.ReversePath
	address, domain := s.unquoted(from), lower(from.Domain)
	if rule, ok := f.exempt.Lookup("?" + address); ok {
		return sqmail.Verdict{Rule: rule.Text, File: rule.File, Line: rule.Line, Input: address}
	}
	if domain != "" {
		if rule, ok := f.byMarker(s, domain); ok {
			return refuse(rule, address, badSender, f.text)
		}
	}
	if address != "" {
		for _, key := range []string{address, "@" + domain} {
			if rule, ok := f.plain.Lookup(key); ok {
				return refuse(rule, address, badSender, f.text)
			}
		}
	}
	if rule, yes, found := f.patterns.Match(address); found && yes {
		return refuse(rule, address, badSender, f.text)
	}
	return sqmail.Verdict{}
}

// byMarker returns the entry with a marker that refuses mail from a domain.
func (f *BadMailFrom) byMarker(s *Session, domain string) (Rule, bool) {
	host := lower(s.Peer.Name)
	if rule, ok := f.marked.Lookup("@" + domain + "+"); ok && !s.RelayClient() {
		return rule, true
	}
	if host == "" {
		return f.marked.Lookup("@" + domain + "-")
	}
	if rule, ok := f.marked.Lookup("@" + domain + "="); ok && !within(host, domain) {
		return rule, true
	}
	if within(host, domain) || within(domain, host) {
		return Rule{}, false // they align
	}
	for name := host; name != ""; _, name, _ = strings.Cut(name, ".") {
		if rule, ok := f.hosts.Lookup("~" + name); ok {
			return rule, true
		}
	}
	return Rule{}, false
}

// within reports whether name is domain or below it.
func within(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}
