package mimefilter

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// Filter refuses messages by their structure. The zero Filter keeps the limits
// and has no rules.
type Filter struct {
	// Names are patterns of names of attachments, in lower case, such as
	// "*.exe"; see [NewPatterns]. A name that matches is refused. Names are
	// compared without a path, without dots and blanks at their end, and in
	// lower case.
	Names *filter.Patterns

	// Types are patterns of content types, in lower case, such as
	// "application/x-msdownload" or "multipart/encrypted".
	Types *filter.Patterns

	// MaxDepth is how deep parts may lie in one another. 0: 64.
	MaxDepth int

	// MaxParts is how many parts a message may have, multiparts and the
	// message itself included. 0: 1,000.
	MaxParts int

	// MaxHeader is how long the header of the message or of a part may be, in
	// octets. 0: 64 KiB.
	MaxHeader int

	// MaxFieldLines is over how many lines a field may be folded. 0: 500.
	MaxFieldLines int

	// MaxLine is how long the lines of a body may be, in octets. 0: no limit.
	MaxLine int

	// MaxSize is how long the message may be, in octets. 0: no limit.
	MaxSize int64

	// Part, if not nil, is asked about each part that the rules let pass. Its
	// verdict refuses, or tags, or goes on.
	Part func(ctx context.Context, p *Part) (sqmail.Verdict, error)

	// Strangers looks only at messages of those who are not relay clients.
	Strangers bool

	// Text is added to the replies.
	Text string
}

// Part is a part of a message, of which the header has been read.
type Part struct {
	// Number counts the parts from 1, which is the message itself.
	Number int

	// Depth is how many parts it lies in; 0 is the message itself.
	Depth int

	// Type is the content type, in lower case and without parameters:
	// "text/plain" if none is given. A uuencoded file in a text counts as a
	// part of type "application/x-uuencode".
	Type string

	// Encoding is the content transfer encoding in lower case; "" if none is
	// given.
	Encoding string

	// Disposition is "attachment", "inline", something else, or "".
	Disposition string

	// Names are all readings of the name of the attachment, as they are
	// compared. Nil: it has none.
	Names []string
}

// NewPatterns returns patterns for Names and Types: the text of each rule is
// put into lower case.
func NewPatterns(rules []filter.Rule) *filter.Patterns {
	folded := make([]filter.Rule, len(rules))
	for i, r := range rules {
		r.Text = strings.ToLower(r.Text)
		folded[i] = r
	}
	return filter.NewPatterns(folded)
}

// Name returns "mime".
func (f *Filter) Name() string { return "mime" }

// Asks names what is looked for: the message is nowhere recorded.
func (f *Filter) Asks(s *filter.Session) string {
	if f.Strangers && s.RelayClient() {
		return ""
	}
	return s.OnceInChain(f, func() string {
		return fmt.Sprintf("%d %d %d %d %d %d, names %x, types %x, parts %t", f.MaxDepth, f.MaxParts, f.MaxHeader, f.MaxFieldLines,
			f.MaxLine, f.MaxSize, f.Names.Sum(), f.Types.Sum(), f.Part != nil)
	})
}

// Body returns a scanner for a message.
func (f *Filter) Body(ctx context.Context, s *filter.Session) (filter.Scanner, error) {
	if f.Strangers && s.RelayClient() {
		return nil, nil
	}
	return newScanner(ctx, f), nil
}

func (f *Filter) maxDepth() int      { return cmp.Or(f.MaxDepth, 64) }
func (f *Filter) maxParts() int      { return cmp.Or(f.MaxParts, 1000) }
func (f *Filter) maxHeader() int     { return cmp.Or(f.MaxHeader, 64<<10) }
func (f *Filter) maxFieldLines() int { return cmp.Or(f.MaxFieldLines, 500) }

// The replies: what stands in the message is not wanted, its form is not
// acceptable, it is too long.
var (
	unwanted  = sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 3, 2}, Text: "sorry, invalid message content (attachment)"}
	malformed = sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 6, 0}, Text: "sorry, invalid message structure"}
	tooLong   = sqmail.Reply{Code: 552, Enhanced: sqmail.EnhancedCode{5, 3, 4}, Text: "sorry, message too long"}
)

// check asks the rules about a part.
func (f *Filter) check(ctx context.Context, p Part, types []string) (sqmail.Verdict, error) {
	for _, name := range p.Names {
		if rule, yes, _ := f.Names.Match(name); yes {
			return refusal(rule, name), nil
		}
	}
	for _, t := range types {
		if rule, yes, _ := f.Types.Match(t); yes {
			return refusal(rule, t), nil
		}
	}
	if f.Part != nil {
		kept := p // not p itself: it would be in the heap each time
		return f.Part(ctx, &kept)
	}
	return sqmail.Verdict{}, nil
}

func refusal(rule filter.Rule, input string) sqmail.Verdict {
	return sqmail.Verdict{
		Action: sqmail.ActionReject, Reply: unwanted,
		Rule: rule.Text, File: rule.File, Line: rule.Line, Input: input,
	}
}
