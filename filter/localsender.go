package filter

import (
	"context"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"io/fs"
	"strings"

	"github.com/sqmail/sqmail"
)

// SenderCheck is what a [LocalSender] compares reverse-paths with.
type SenderCheck uint8

// The checks of LOCALMFCHECK.
const (
	// SenderIsOurs wants a domain that mail is taken for.
	SenderIsOurs SenderCheck = iota

	// SenderByRules wants what mailfromrules have for the client ("!").
	SenderByRules

	// SenderIsUser wants the name that the user authenticated with ("=").
	SenderIsUser

	// SenderIsCertificate wants the e-mail address of the client's
	// certificate ("?").
	SenderIsCertificate
)

// ParseSenderCheck reads a value of LOCALMFCHECK. domain is the one it names,
// "" if it names none.
func ParseSenderCheck(value string) (check SenderCheck, domain string) {
	switch value {
	case "!":
		return SenderByRules, ""
	case "=":
		return SenderIsUser, ""
	case "?":
		return SenderIsCertificate, ""
	}
	if len(value) < 2 {
		value = ""
	}
	return SenderIsOurs, value
}

// LocalSender lets relay clients send only from addresses that are theirs. The
// null reverse-path is everybody's. If an address is the client's own the
// envelope says SenderVerified; else every recipient is refused. Strangers are
// not looked at. Spec: filter.md, 6.
type LocalSender struct {
	// Check is what the reverse-path is compared with.
	Check SenderCheck

	// Domain is one more domain that is ours; "": none.
	Domain string

	// Hosts knows the domains that are ours. Nil: none is.
	Hosts *RcptHosts

	// Rules are for SenderByRules: mailfromrules as package compile makes a
	// database of them. If they are nil, or a file that does not exist, the
	// check is SenderIsOurs.
	Rules Database

	// Permissive tries further rules when the first one for a client does not
	// allow the address, as the original does.
	Permissive bool

	// Text is added to the reply.
	Text string
}

// Name returns "localmfcheck".
func (f *LocalSender) Name() string { return "localmfcheck" }

var senderNotYours = sqmail.Reply{
	Code: 553, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "sorry, your envelope sender is not one of yours",
}

// ReversePath compares the reverse-path, and tells the envelope if it is the
// client's own. What cannot be looked up is a deferral now.
func (f *LocalSender) ReversePath(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	v, err := f.judge(ctx, s)
	s.Envelope.SenderVerified = s.RelayClient() && !s.Envelope.ReversePath.IsNull() && err == nil && v.Action == sqmail.ActionPass
	if v.Action != sqmail.ActionPass {
		v = sqmail.Verdict{} // it falls at the recipients
	}
	return v, err
}

// Recipient refuses every recipient if the reverse-path is not the client's.
func (f *LocalSender) Recipient(ctx context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	v, err := f.judge(ctx, s)
	if err == nil && v.Action == sqmail.ActionPass {
		return sqmail.Verdict{}, nil // was told at MAIL
	}
	return v, err
}

func (f *LocalSender) judge(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	from := s.Envelope.ReversePath
	if !s.RelayClient() || from.IsNull() {
		return sqmail.Verdict{}, nil
	}
	return s.Once(f, func() (sqmail.Verdict, error) {
		rule, allowed, err := f.allows(ctx, s, from)
		switch {
		case err != nil:
			return sqmail.Verdict{}, err
		case !allowed:
			if rule.Text == "" {
				rule.Text = "not ours"
			}
			return refuse(rule, from.Unquoted(), senderNotYours, f.Text), nil
		}
		return sqmail.Verdict{Rule: rule.Text, File: rule.File, Line: rule.Line, Input: s.unquoted(from)}, nil
	})
}

// allows returns whether the client may send from an address, and why.
func (f *LocalSender) allows(ctx context.Context, s *Session, from sqmail.Path) (Rule, bool, error) {
	switch f.Check {
	case SenderIsUser:
		user := s.Peer.User
		return Rule{Text: "="}, user != "" && lower(from.Unquoted()) == lower(user), nil
	case SenderIsCertificate:
		return Rule{Text: "?"}, certifies(s.Peer.TLS, from.Unquoted()), nil
	case SenderByRules:
		if f.Rules == nil {
			break
		}
		key, allowed, err := f.byRules(s, lower(s.unquoted(from)))
		if !errors.Is(err, fs.ErrNotExist) {
			return ruleOf(f.Rules, []byte(key)), allowed, err
		}
	}
	return f.ours(ctx, from)
}

// ours reports whether an address is in a domain of ours. One without a domain
// is completed by us, and therefore is.
func (f *LocalSender) ours(ctx context.Context, from sqmail.Path) (Rule, bool, error) {
	if from.Domain == "" {
		return Rule{}, true, nil
	}
	if f.Domain != "" && lower(from.Domain) == lower(f.Domain) {
		return Rule{Text: f.Domain}, true, nil
	}
	if f.Hosts == nil {
		return Rule{}, false, nil
	}
	return f.Hosts.find(ctx, from.Domain)
}

// byRules asks the mailfromrules, and returns the key that decided.
func (f *LocalSender) byRules(s *Session, from string) (string, bool, error) {
	last := "no rule"
	for _, key := range senderKeys(s.Peer) {
		value, found, err := f.Rules.Get([]byte(key))
		switch {
		case err != nil:
			return key, false, err
		case !found:
			continue
		}
		last = key
		if allowed := allowsSender(string(value), from); allowed || !f.Permissive {
			return key, allowed, nil
		}
	}
	return last, false, nil
}

// senderKeys returns the keys under which a client may have a rule, in the order
// in which they are looked up (filter.md, 6.2).
func senderKeys(p *sqmail.Peer) (keys []string) {
	user, name, address := lower(p.User), lower(p.Name), ""
	if addr := p.Remote.Addr(); addr.IsValid() {
		address = addr.Unmap().WithZone("").String()
	}
	keys = make([]string, 0, 16)
	add := func(key string, needs ...string) {
		for _, n := range needs {
			if n == "" {
				return
			}
		}
		keys = append(keys, key)
	}
	add(user, user)
	add(user+"@"+address, user, address)
	add(user+"@="+name, user, name)
	add(address, address)
	add("="+name, name)
	for _, end := range []byte{':', '.'} {
		for i := len(address) - 1; i > 0; i-- {
			if address[i-1] == end {
				add(address[:i])
			}
		}
	}
	for i := range len(name) {
		if name[i] == '.' {
			add("=" + name[i:])
		}
	}
	add("=", name)
	return keys
}

// allowsSender reports whether a rule's value, "+" before each string, has one
// that from ends with. Without strings it allows everybody.
func allowsSender(value, from string) bool {
	if value == "" {
		return true
	}
	for text := range strings.SplitSeq(strings.TrimPrefix(value, "+"), "+") {
		if text != "" && strings.HasSuffix(from, text) {
			return true
		}
	}
	return false
}

var oidEmailAddress = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1} // PKCS #9

// certifies reports whether the verified certificate of a connection has an
// e-mail address.
func certifies(state *tls.ConnectionState, address string) bool {
	if state == nil || len(state.VerifiedChains) == 0 {
		return false
	}
	cert := state.VerifiedChains[0][0]
	for _, known := range cert.EmailAddresses {
		if lower(known) == lower(address) {
			return true
		}
	}
	for _, attr := range cert.Subject.Names {
		known, ok := attr.Value.(string)
		if ok && attr.Type.Equal(oidEmailAddress) && lower(known) == lower(address) {
			return true
		}
	}
	return false
}
