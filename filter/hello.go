package filter

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/sqmail/sqmail"
)

// Resolver looks up what the filters need. *net.Resolver and package
// resolver's Client fit. An error that is not a *net.DNSError with IsNotFound is
// temporary.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// HelloMode is the value of HELOCHECK: what a [BadHello] asks of strangers
// besides its list. Spec: filter.md, 2.
type HelloMode struct {
	// Unlisted switches the list off.
	Unlisted bool

	// Required refuses a client that has not said HELO or EHLO.
	Required bool

	// NotEmpty refuses an empty hello name.
	NotEmpty bool

	// Matching wants the hello name to be the client's reverse name.
	Matching bool

	// Address and Exchanger want the hello name to have an address, or a mail
	// exchanger with one. Each needs a Resolver.
	Address, Exchanger bool
}

// ParseHelloMode reads a value of HELOCHECK.
func ParseHelloMode(value string) HelloMode {
	switch value {
	case ".":
		return HelloMode{Required: true, NotEmpty: true}
	case "!":
		return HelloMode{Unlisted: true, Required: true, NotEmpty: true}
	case "=":
		return HelloMode{Required: true, Matching: true}
	case "A":
		return HelloMode{Required: true, Address: true}
	case "M":
		return HelloMode{Required: true, Exchanger: true}
	}
	if len(value) == 1 {
		return HelloMode{Unlisted: true, Required: true}
	}
	return HelloMode{}
}

// BadHello refuses strangers for their hello name. The verdict falls at the
// first recipient. An entry with "!" at its end exempts that name from the
// list and from what the mode asks of names. Case does not matter, in patterns
// neither: a hello name is a domain. Spec: filter.md, 2.
type BadHello struct {
	Mode     HelloMode
	Resolver Resolver // for Mode.Address and Mode.Exchanger
	Text     string   // added to the reply

	list     *List
	patterns *Patterns
}

// NewBadHello returns the filter for a list.
func NewBadHello(rules []Rule) *BadHello {
	var patterns []Rule
	for _, r := range rules {
		if !strings.HasSuffix(r.Text, "!") {
			patterns = append(patterns, Rule{lower(r.Text), r.File, r.Line})
		}
	}
	return &BadHello{list: NewList(rules), patterns: newPatterns(patterns, true)}
}

// Name returns "badhelo".
func (f *BadHello) Name() string { return "badhelo" }

var badHello = sqmail.Reply{
	Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1},
	Text: "sorry, invalid HELO/EHLO greeting",
}

// Recipient refuses every recipient of a session with a bad hello name.
func (f *BadHello) Recipient(ctx context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	if s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	return s.Once(f, func() (sqmail.Verdict, error) { return f.judge(ctx, s) })
}

func (f *BadHello) judge(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	hello := s.Peer.Hello
	switch {
	case f.Mode.Required && !s.greeted:
		return refuse(Rule{Text: "no greeting"}, hello, badHello, f.Text), nil
	case f.Mode.NotEmpty && strings.TrimRight(hello, ".") == "":
		return refuse(Rule{Text: "empty greeting"}, hello, badHello, f.Text), nil
	}
	if rule, ok := f.list.Lookup(hello + "!"); ok {
		return sqmail.Verdict{Rule: rule.Text, File: rule.File, Line: rule.Line, Input: hello}, nil
	}
	if rule, listed := f.listed(hello); listed {
		return refuse(rule, hello, badHello, f.Text), nil
	}
	if f.Mode.Matching && !strings.EqualFold(hello, nameOf(s.Peer)) {
		return refuse(Rule{Text: "="}, hello, badHello, f.Text), nil
	}
	return f.lookup(ctx, hello)
}

// listed returns the rule that a hello name is refused by. A dot at its end makes
// no other name of it.
func (f *BadHello) listed(hello string) (Rule, bool) {
	if f.Mode.Unlisted {
		return Rule{}, false
	}
	hello = strings.TrimRight(hello, ".")
	if rule, ok := f.list.Lookup(hello); ok {
		return rule, true
	}
	rule, yes, _ := f.patterns.Match(lower(hello))
	return rule, yes
}

// lookup asks the DNS about a hello name, as far as the mode wants it.
func (f *BadHello) lookup(ctx context.Context, hello string) (sqmail.Verdict, error) {
	var rule string
	var found bool
	var err error
	switch {
	case f.Mode.Address:
		rule = "A"
		found, err = hasAddress(ctx, f.Resolver, hello)
	case f.Mode.Exchanger:
		rule = "M"
		found, err = takesMail(ctx, f.Resolver, hello)
	default:
		return sqmail.Verdict{}, nil
	}
	if err != nil || found {
		return sqmail.Verdict{}, err
	}
	return refuse(Rule{Text: rule}, hello, badHello, f.Text), nil
}

// nameOf returns a peer's reverse name as the lists know it.
func nameOf(p *sqmail.Peer) string {
	if p.Name == "" {
		return "unknown"
	}
	return p.Name
}
