package filter

import (
	"context"
	"errors"
	"net"

	"github.com/sqmail/sqmail"
)

// hasAddress reports whether a name has an address. The error is temporary.
func hasAddress(ctx context.Context, r Resolver, name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	if r == nil {
		return false, errNoResolver
	}
	addrs, err := r.LookupNetIP(ctx, "ip", name)
	if notFound(err) {
		return false, nil
	}
	return len(addrs) > 0, err
}

// takesMail reports whether a domain has a mail exchanger with an address, or
// an address of its own if it has none (RFC 5321, 5.1). A null MX takes none
// (RFC 7505). The error is temporary.
func takesMail(ctx context.Context, r Resolver, domain string) (bool, error) {
	if domain == "" {
		return false, nil
	}
	if r == nil {
		return false, errNoResolver
	}
	list, err := r.LookupMX(ctx, domain)
	switch {
	case notFound(err), err == nil && len(list) == 0:
		return hasAddress(ctx, r, domain)
	case err != nil:
		return false, err
	case len(list) == 1 && (list[0].Host == "." || list[0].Host == ""):
		return false, nil
	}
	var failed error
	for _, mx := range list[:min(len(list), maxExchangers)] {
		found, err := hasAddress(ctx, r, mx.Host)
		if found {
			return true, nil
		}
		failed = errors.Join(failed, err)
	}
	if failed == nil && len(list) > maxExchangers {
		failed = errManyExchangers
	}
	return false, failed
}

var (
	errNoResolver     = errors.New("filter: no Resolver")
	errManyExchangers = errors.New("filter: no address among the first mail exchangers, and there are more")
)

// maxExchangers bounds the work that one domain can make.
const maxExchangers = 10

func notFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

// SenderDomain refuses strangers whose reverse-path has a domain that takes no
// mail, so that no bounce could reach it. A temporary failure of the DNS is a
// deferral at MAIL; the refusal falls at the recipients. Spec: filter.md, 4.
type SenderDomain struct {
	Resolver Resolver

	// Exempt, if not nil, names reverse-paths that are not looked up; it is
	// [BadMailFrom.Exempt] as a rule.
	Exempt func(from sqmail.Path) bool

	// Text is added to the reply.
	Text string
}

// Name returns "mfdnscheck".
func (f *SenderDomain) Name() string { return "mfdnscheck" }

var badSenderDomain = sqmail.Reply{
	Code: 553, Enhanced: sqmail.EnhancedCode{5, 7, 1},
	Text: "sorry, your envelope sender's domain must exist",
}

// ReversePath looks the domain up.
func (f *SenderDomain) ReversePath(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	_, err := f.judge(ctx, s)
	return sqmail.Verdict{}, err
}

// Recipient refuses every recipient if the domain takes no mail.
func (f *SenderDomain) Recipient(ctx context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	return f.judge(ctx, s)
}

func (f *SenderDomain) judge(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	from := s.Envelope.ReversePath
	if s.RelayClient() || from.IsNull() {
		return sqmail.Verdict{}, nil
	}
	return s.Once(f, func() (sqmail.Verdict, error) {
		if f.Exempt != nil && f.Exempt(from) {
			return sqmail.Verdict{}, nil
		}
		found := false
		if addr, ok := literal(from.Domain); ok {
			found = addr.IsValid()
		} else {
			var err error
			if found, err = takesMail(ctx, f.Resolver, from.Domain); err != nil {
				return sqmail.Verdict{}, err
			}
		}
		if found {
			return sqmail.Verdict{}, nil
		}
		return refuse(Rule{Text: "takes no mail"}, from.Domain, badSenderDomain, f.Text), nil
	})
}
