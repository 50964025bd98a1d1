package sqmail

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Path is a reverse-path or forward-path: a mailbox, the null path, or the
// word postmaster without a domain (RFC 5321, 4.1.2; UTF-8 as in RFC 6531).
//
// Both parts are kept as they were written: quotes, backslashes and case
// included. Comparing two Paths with == is therefore stricter than [Path.Equal].
type Path struct {
	// Local is the local part, with its quotes if it is a quoted string.
	Local string

	// Domain is a domain name, or an address literal with its brackets. It is
	// "" for the null path, for postmaster, and for the unqualified
	// recipients that only [PathOf] makes.
	Domain string
}

// MaxPath is the longest path that [ParsePath] takes, in octets without angle
// brackets. RFC 5321 lets a server go beyond its minimum of 254, and VERP and
// SRS addresses do: the limit is that of the queue's envelope, not of the RFC.
const MaxPath = 899

// IsNull reports whether p is the null path.
func (p Path) IsNull() bool { return p.Local == "" && p.Domain == "" }

// String returns p as it stands between the angle brackets; "" for the null
// path.
func (p Path) String() string {
	if p.Domain == "" {
		return p.Local
	}
	return p.Local + "@" + p.Domain
}

// LocalPart returns what the local part means: without quotes and backslashes.
func (p Path) LocalPart() string { return unquote(p.Local) }

// Unquoted returns the address in the form that qmail's envelopes and control
// files use: the local part without quoting, "@", the domain. [PathOf] turns
// it back into a path that is equal. Without a domain there is no "@", unless
// the local part would be misread without one.
func (p Path) Unquoted() string {
	local := p.LocalPart()
	if p.Domain == "" && (local != "" || p.IsNull()) && strings.IndexByte(local, '@') < 0 {
		return local
	}
	return local + "@" + p.Domain
}

// Equal reports whether p and q name the same mailbox: local parts that mean
// the same, octet for octet, and domains that differ at most in ASCII case.
// Postmaster is equal to postmaster in any case (RFC 5321, 4.5.1).
func (p Path) Equal(q Path) bool {
	if !equalFold(p.Domain, q.Domain) {
		return false
	}
	a, b := p.LocalPart(), q.LocalPart()
	return a == b || equalFold(a, postmaster) && equalFold(b, postmaster)
}

// NeedsUTF8 reports whether the local part cannot be written in ASCII, so that
// only a peer that offers SMTPUTF8 can take it. (A domain can be turned into
// A-labels; see RFC 6531, 3.2.)
func (p Path) NeedsUTF8() bool { return !isASCII(p.Local) }

// MarshalText returns p's String, or, if that is not UTF-8, a backslash and
// the String in Go's quoting: bytes that JSON would replace survive it.
func (p Path) MarshalText() ([]byte, error) {
	s := p.String()
	if !utf8.ValidString(s) {
		s = `\` + strconv.Quote(s) // no String begins with a backslash
	}
	return []byte(s), nil
}

// UnmarshalText sets p from a string that MarshalText made. It takes whatever
// a queue may hold: what [ParsePath] refuses is taken apart without judging.
func (p *Path) UnmarshalText(text []byte) error {
	s := string(text)
	if escaped, found := strings.CutPrefix(s, `\`); found {
		if raw, err := strconv.Unquote(escaped); err == nil {
			s = raw
		}
	}
	parsed, err := ParsePath(s)
	if err != nil {
		parsed = splitPath(s)
	}
	*p = parsed
	return nil
}

// splitPath takes a printed path apart. An "@" in quotes is none.
func splitPath(s string) Path {
	at := strings.LastIndexByte(s, '@')
	if strings.HasPrefix(s, `"`) {
		if n := quotedEnd(s); n == len(s) {
			at = -1
		} else if n > 0 && s[n] == '@' {
			at = n
		}
	}
	if at < 0 {
		return Path{Local: quoteLocal(unquote(s))}
	}
	return Path{Local: quoteLocal(unquote(s[:at])), Domain: s[at+1:]}
}

// PathOf returns the path of an address in the unquoted form of qmail's
// envelopes: what follows the last "@" is the domain, what stands before it is
// the local part, which gets quotes if it needs them. "" is the null path; an
// address without "@" has no domain. Nothing is checked.
func PathOf(address string) Path {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		if address == "" {
			return Path{}
		}
		return Path{Local: quoteLocal(address)}
	}
	return Path{Local: quoteLocal(address[:at]), Domain: address[at+1:]}
}

// Errors of the path parser. Each is a syntax error of the client's: a server
// answers 501 or 553.
var (
	ErrPathSyntax   = errors.New("sqmail: malformed path")
	ErrPathTooLong  = errors.New("sqmail: path too long")
	ErrPathNoDomain = errors.New("sqmail: path without domain")
)

// ParsePath parses a path without angle brackets: "" for the null path,
// "postmaster" in any case, or a Mailbox of RFC 5321, 4.1.2, as RFC 6531, 3.3
// extends it. Source routes are not taken; see [ParseAnglePath].
//
// The error is ErrPathTooLong beyond [MaxPath] octets or 255 in the domain,
// ErrPathNoDomain for a local part alone, else ErrPathSyntax. Local parts may be
// longer than the 64 octets that RFC 5321, 4.5.3.1.1 asks servers to take.
func ParsePath(s string) (Path, error) {
	if s == "" || equalFold(s, postmaster) {
		return Path{Local: s}, nil
	}
	if len(s) > MaxPath {
		return Path{}, ErrPathTooLong
	}
	if !utf8.ValidString(s) {
		return Path{}, ErrPathSyntax
	}
	n := localLen(s)
	switch {
	case n <= 0:
		return Path{}, ErrPathSyntax
	case n == len(s):
		return Path{}, ErrPathNoDomain
	case s[n] != '@':
		return Path{}, ErrPathSyntax
	}
	domain := s[n+1:]
	if len(domain) > maxDomain {
		return Path{}, ErrPathTooLong
	}
	if !validDomain(domain) {
		return Path{}, ErrPathSyntax
	}
	return Path{Local: s[:n], Domain: domain}, nil
}

// ParseAnglePath parses a path in angle brackets at the start of s, such as
// the argument of MAIL behind "FROM:", and returns what follows the closing
// bracket. A source route is checked and dropped (RFC 5321, appendix C).
// Blanks before the opening bracket are an error, as in RFC 5321. The errors
// are those of [ParsePath].
func ParseAnglePath(s string) (p Path, rest string, err error) {
	if s == "" || s[0] != '<' {
		return Path{}, "", ErrPathSyntax
	}
	end := closingBracket(s)
	if end < 0 {
		return Path{}, "", ErrPathSyntax
	}
	inner, rest := s[1:end], s[end+1:]
	if strings.HasPrefix(inner, "@") {
		route, mailbox, found := strings.Cut(inner, ":")
		if !found || mailbox == "" || !validSourceRoute(route) {
			return Path{}, "", ErrPathSyntax
		}
		inner = mailbox
	}
	p, err = ParsePath(inner)
	return p, rest, err
}

// closingBracket returns the index of the first ">" outside quotes, or -1.
func closingBracket(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}

// validSourceRoute checks an A-d-l of RFC 5321, 4.1.2: "@a,@b".
func validSourceRoute(route string) bool {
	if len(route) > MaxPath {
		return false
	}
	for hop := range strings.SplitSeq(route, ",") {
		domain, found := strings.CutPrefix(hop, "@")
		if !found || !validDomain(domain) {
			return false
		}
	}
	return true
}
