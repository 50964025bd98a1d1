package filter

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
)

// ListResolver looks up what DNS lists say. *net.Resolver and package
// resolver's Client fit. An error that is not a *net.DNSError with IsNotFound is
// temporary.
type ListResolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DNSList is a list of addresses in the DNS.
type DNSList struct {
	// Base is the domain below which addresses stand. Verdicts and the log name
	// it, even if it has a key in it; clients do not hear it.
	Base string

	// Allow makes it a list of those who may come: whoever has an A record is
	// let in, whatever the lists behind it say. Otherwise it is a list of
	// those who may not: a TXT record says why.
	Allow bool

	// Text is what the client hears in place of the list's own words; "%IP%" in
	// it is the client's address. Whoever has an A record is listed then, and
	// TXT records are not asked for. "": the list's words.
	Text string

	// Reject refuses for good, as DNSLists.Reject does for all lists.
	Reject bool

	// File and Line are where the list was named, if it was in a file.
	File string
	Line int
}

// DNSLists refuses clients by DNS lists, as rblsmtpd does (smtpd.md, 12). The
// first list that has a client decides; all are asked at the same time, once in
// a session. A list that is out of order has failed to answer: its A records are
// outside of 127.0.0.0/8, or mean that the query was refused
// (127.255.255.0/24).
//
// The variable RBLSMTPD of the connection rules goes before the lists: if it is
// empty the client is let in, else it is refused with that text, for good if
// the text begins with "-", which is not told.
type DNSLists struct {
	// Lists in their order. Nil: the variable alone counts.
	Lists []DNSList

	// Resolver asks the lists. Nil, with Lists: a deferral.
	Resolver ListResolver

	// Reject refuses for good, with 553 (-b). Otherwise it is 451.
	Reject bool

	// FailClosed takes a list that does not answer for one that has the
	// client, and refuses with 451 (-c). Otherwise it has nobody.
	FailClosed bool

	// TagOnly refuses nobody, but tells what was found in a header field,
	// X-RBL-Info (-i).
	TagOnly bool

	// AtConnect refuses in place of the greeting, also clients that would
	// authenticate, but not those that the connection rules make relay clients.
	// Otherwise every recipient of a client that is listed is refused, so that
	// the log says who wanted to write to whom; relay clients are not looked up
	// then.
	AtConnect bool

	// Timeout is how long all lists together may take; then those that have
	// not answered have failed. 0: 15 s.
	Timeout time.Duration
}

// Name returns "rblsmtpd".
func (f *DNSLists) Name() string { return "rblsmtpd" }

const (
	defaultListTime = 15 * time.Second
	maxListsAtOnce  = 16
	maxListText     = 300
)

// Connect refuses a client that is listed, if that is when it is to be done.
func (f *DNSLists) Connect(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	if !f.AtConnect || f.TagOnly || s.Relayed {
		return sqmail.Verdict{}, nil
	}
	v, err := f.judge(ctx, s)
	switch v.Action { // RFC 5321, 4.3.2: a greeting is 220, 421 or 554
	case sqmail.ActionReject:
		v.Reply.Code = 554
	case sqmail.ActionDefer:
		v.Reply.Code = 421
	}
	return v, err
}

// ReversePath tells what was found.
func (f *DNSLists) ReversePath(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	if !f.TagOnly || s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	v, err := f.judge(ctx, s)
	if v.Action != sqmail.ActionReject && v.Action != sqmail.ActionDefer {
		return v, err
	}
	text := rblInfo(v.Reply.Text)
	v.Action, v.Reply = sqmail.ActionPass, sqmail.Reply{}
	if text != "" {
		v.Action, v.Header = sqmail.ActionTag, "X-RBL-Info: "+text+"\n"
	}
	return v, err
}

// Recipient refuses every recipient of a client that is listed.
func (f *DNSLists) Recipient(ctx context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	if f.AtConnect || f.TagOnly || s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	return f.judge(ctx, s)
}

// judge says what the lists make of a client, once in a session.
func (f *DNSLists) judge(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	return s.OnceInSession(f, func() (sqmail.Verdict, error) {
		if text, set := s.Vars["RBLSMTPD"]; set {
			return byVariable(text), nil
		}
		addr := s.Peer.Remote.Addr().Unmap().WithZone("")
		if !addr.IsValid() || len(f.Lists) == 0 {
			return sqmail.Verdict{}, nil
		}
		if f.Resolver == nil {
			return sqmail.Verdict{}, errNoResolver
		}
		v, err := f.ask(ctx, addr)
		if err := cmp.Or(ctx.Err(), err); err != nil {
			return sqmail.Verdict{}, err
		}
		v.Input = addr.String()
		return v, nil
	})
}

// byVariable is what a RBLSMTPD that is set says.
func byVariable(text string) sqmail.Verdict {
	if text == "" {
		return sqmail.Verdict{}
	}
	text, reject := strings.CutPrefix(text, "-")
	return listed("RBLSMTPD", text, reject)
}

// lookupFailed does not name the list: there are some whose names have a key in
// them.
const lookupFailed = "temporary failure of a list, try again later"

// listed is the refusal of a client that is listed.
func listed(rule, text string, reject bool) sqmail.Verdict {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' ' // it is to be one line, whoever wrote it
		}
		return r
	}, text[:min(len(text), maxListText)])
	v := sqmail.Verdict{Action: sqmail.ActionDefer, Rule: rule}
	v.Reply = sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: text}
	if reject {
		v.Action, v.Reply.Code, v.Reply.Enhanced[0] = sqmail.ActionReject, 553, 5
	}
	return v
}

// answer is what a list says of an address.
type answer struct {
	listed bool
	text   string
	err    error
}

// ask asks all lists, and goes by the first that has the address. The error is
// that of a replay.
func (f *DNSLists) ask(ctx context.Context, addr netip.Addr) (sqmail.Verdict, error) {
	timeout := f.Timeout
	if timeout <= 0 {
		timeout = defaultListTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	answers := make([]chan answer, len(f.Lists))
	slots := make(chan struct{}, maxListsAtOnce)
	done := make(chan struct{}, len(f.Lists))
	defer func() { // nobody is left behind
		cancel()
		for range f.Lists {
			<-done
		}
	}()
	for i, list := range f.Lists {
		answers[i] = make(chan answer, 1)
		go func() {
			defer func() { done <- struct{}{} }()
			slots <- struct{}{}
			defer func() { <-slots }()
			answers[i] <- f.askOne(ctx, list, addr)
		}()
	}
	for i, list := range f.Lists {
		a := <-answers[i]
		if errors.Is(a.err, ErrNotRecorded) {
			return sqmail.Verdict{}, a.err
		}
		if v, decided := f.verdict(list, a); decided {
			v.File, v.Line = list.File, list.Line
			return v, nil
		}
	}
	return sqmail.Verdict{}, nil
}

// verdict is what an answer of a list means.
func (f *DNSLists) verdict(list DNSList, a answer) (v sqmail.Verdict, decided bool) {
	switch {
	case a.err != nil && f.FailClosed:
		return listed(list.Base+" does not answer", lookupFailed, false), true
	case a.err != nil || !a.listed:
		return v, false
	case list.Allow:
		return sqmail.Verdict{Rule: list.Base}, true
	}
	return listed(list.Base, a.text, f.Reject || list.Reject), true
}

// askOne asks one list.
func (f *DNSLists) askOne(ctx context.Context, list DNSList, addr netip.Addr) answer {
	name := listName(addr, list.Base)
	if list.Allow || list.Text != "" {
		addrs, err := f.Resolver.LookupNetIP(ctx, "ip4", name)
		if notFound(err) || err == nil && len(addrs) == 0 {
			return answer{}
		}
		if err == nil && !says(addrs) {
			err = outOfOrder(addrs)
		}
		return answer{listed: err == nil, text: strings.ReplaceAll(list.Text, "%IP%", addr.String()), err: err}
	}
	texts, err := f.Resolver.LookupTXT(ctx, name)
	if notFound(err) || err == nil && len(texts) == 0 {
		return answer{}
	}
	if err != nil {
		return answer{err: err}
	}
	// A list that refuses to answer says so in a text, too; its address tells
	// that from a listing. There are lists without addresses.
	addrs, err := f.Resolver.LookupNetIP(ctx, "ip4", name)
	if err == nil && len(addrs) > 0 && !says(addrs) {
		return answer{err: outOfOrder(addrs)}
	}
	return answer{listed: true, text: texts[0]}
}

func outOfOrder(addrs []netip.Addr) error {
	return errors.New("list is out of order: " + addrs[0].String())
}

var (
	listAnswers = netip.MustParsePrefix("127.0.0.0/8")
	listErrors  = netip.MustParsePrefix("127.255.255.0/24")
)

// says reports whether one of the addresses means that somebody is listed.
func says(addrs []netip.Addr) bool {
	for _, a := range addrs {
		if a = a.Unmap(); listAnswers.Contains(a) && !listErrors.Contains(a) {
			return true
		}
	}
	return false
}

// listName returns the name of an address in a list: the octets of an IPv4
// address, or the nibbles of an IPv6 address, last first (RFC 5782, 2).
func listName(addr netip.Addr, base string) string {
	raw := addr.AsSlice()
	var b strings.Builder
	for i := len(raw) - 1; i >= 0; i-- {
		if addr.Is4() {
			b.WriteString(strconv.Itoa(int(raw[i])))
		} else {
			const digits = "0123456789abcdef"
			b.WriteByte(digits[raw[i]&15])
			b.WriteByte('.')
			b.WriteByte(digits[raw[i]>>4])
		}
		b.WriteByte('.')
	}
	return b.String() + base
}

// rblInfo returns what X-RBL-Info says: what follows the "]" of "[address]
// text", or all, with nothing in it that a header field could be misread by
// (smtpd.md, 7.1 and 7.3).
func rblInfo(text string) string {
	if _, after, found := strings.Cut(text, "]"); found && after != "" {
		text = after[1:]
	}
	return traceText(text)
}

// traceText returns s with "?" for what has a meaning in a trace field.
func traceText(s string) string {
	var b []byte // s with changes, if there are any
	for i := range len(s) {
		if !inTrace[s[i]] {
			if b == nil {
				b = []byte(s)
			}
			b[i] = '?'
		}
	}
	if b != nil {
		s = string(b)
	}
	return strings.TrimSpace(s)
}

// inTrace is what has no meaning in a trace field.
var inTrace = func() (is [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@%+/=:- ") {
		is[c] = true
	}
	return is
}()
