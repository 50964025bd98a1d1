package smtpd

import (
	"errors"
	"strings"

	"github.com/sqmail/sqmail"
)

// errSyntax is a value or parameter that breaks its grammar.
var errSyntax = errors.New("smtpd: syntax error")

// splitCommand takes a command line apart: the verb is what stands before the
// first blank, the argument the rest without blanks around it.
func splitCommand(line []byte) (verb, arg []byte) {
	for i, c := range line {
		if c == ' ' {
			return line[:i], trimBlanks(line[i:])
		}
	}
	return line, nil
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == ' ' { // RFC 5321, 4.1.1: tolerated
		b = b[:len(b)-1]
	}
	return b
}

// hasControl reports whether b holds an octet that has no place in a command:
// no grammar of RFC 5321, 4.1 has one, and logs and header fields must not.
func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

// parsePathArgument parses the argument of MAIL or RCPT, "FROM:<path> params".
func parsePathArgument(arg, keyword string, loose bool) (p sqmail.Path, params string, err error) {
	rest, ok := cutPrefixFold(arg, keyword)
	if !ok {
		return p, "", errSyntax
	}
	if loose {
		return parseLoosePath(strings.TrimLeft(rest, " "))
	}
	p, rest, err = sqmail.ParseAnglePath(rest)
	if err != nil {
		return p, "", err
	}
	if rest != "" && rest[0] != ' ' {
		return p, "", errSyntax
	}
	return p, rest, nil
}

// parseLoosePath is the way of old clients: the brackets may be missing, and
// so may the domain.
func parseLoosePath(s string) (p sqmail.Path, params string, err error) {
	if !strings.HasPrefix(s, "<") {
		word, rest, _ := strings.Cut(s, " ")
		if word == "" {
			return p, "", errSyntax
		}
		p, err = parseUnqualified(word)
		return p, rest, err
	}
	p, rest, err := sqmail.ParseAnglePath(s)
	if errors.Is(err, sqmail.ErrPathNoDomain) {
		end := strings.LastIndexByte(s, '>')
		if quoted := strings.IndexByte(s, '"') >= 0; !quoted {
			end = strings.IndexByte(s, '>')
		}
		p, err = parseUnqualified(s[1:end])
		rest = s[end+1:]
	}
	if err == nil && rest != "" && rest[0] != ' ' {
		err = errSyntax
	}
	return p, rest, err
}

// parseUnqualified parses a path whose domain may be missing; whoever
// receives the message completes it.
func parseUnqualified(s string) (sqmail.Path, error) {
	p, err := sqmail.ParsePath(s)
	if errors.Is(err, sqmail.ErrPathNoDomain) {
		p, err = sqmail.Path{Local: s}, nil
	}
	return p, err
}

// A param is an esmtp-param of RFC 5321, 4.1.2. Its keyword is in capitals.
type param struct {
	keyword, value string
	hasValue       bool
}

// nextParam takes the first parameter off s. Its keyword is "" at the end.
func nextParam(s string) (p param, rest string, err error) {
	s = strings.TrimLeft(s, " ")
	if s == "" {
		return param{}, "", nil
	}
	word, rest, _ := strings.Cut(s, " ")
	p.keyword, p.value, p.hasValue = strings.Cut(word, "=")
	if !validKeyword(p.keyword) || p.hasValue && !validValue(p.value) {
		return param{}, "", errSyntax
	}
	p.keyword = strings.ToUpper(p.keyword)
	return p, rest, nil
}

func validKeyword(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && (c != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

// validValue allows "=" too, which RFC 5321 does not: parameters of later RFCs
// have it. Each value is checked by its own rules anyway.
func validValue(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// parseSize parses the value of SIZE: 1*20DIGIT (RFC 1870, 4). What does not
// fit counts as the greatest size there is.
func parseSize(s string) (int64, error) {
	const most = 1<<63 - 1
	if s == "" || len(s) > 20 {
		return 0, errSyntax
	}
	var n int64
	for i := range len(s) {
		d := int64(s[i] - '0')
		if s[i] < '0' || s[i] > '9' {
			return 0, errSyntax
		}
		if n > (most-d)/10 {
			n = most
			continue
		}
		n = n*10 + d
	}
	return n, nil
}

// decodeXtext decodes xtext (RFC 3461, 4). What comes out is printable ASCII,
// or UTF-8 if utf8 is true: line ends have no place in a report's field.
func decodeXtext(s string, utf8 bool) (string, error) {
	if strings.IndexByte(s, '+') < 0 && isPrintable(s, utf8) {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", errSyntax
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 0 || lo < 0 {
				return "", errSyntax
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		b = append(b, c)
	}
	if text := string(b); isPrintable(text, utf8) {
		return text, nil
	}
	return "", errSyntax
}

// unhex takes capitals only, as RFC 3461, 4 writes hexchar.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// parseNotify parses the value of NOTIFY (RFC 3461, 4.1).
func parseNotify(s string) (sqmail.Notify, error) {
	if strings.EqualFold(s, "NEVER") {
		return sqmail.NotifyNever, nil
	}
	var n sqmail.Notify
	for word := range strings.SplitSeq(s, ",") {
		switch strings.ToUpper(word) {
		case "SUCCESS":
			n |= sqmail.NotifySuccess
		case "FAILURE":
			n |= sqmail.NotifyFailure
		case "DELAY":
			n |= sqmail.NotifyDelay
		default:
			return 0, errSyntax
		}
	}
	return n, nil
}

// parseOriginal parses the value of ORCPT, "type;xtext" (RFC 3461, 4.2). The
// type utf-8 carries UTF-8 (RFC 6533, 3) if the transaction does.
func parseOriginal(s string, utf8 bool) (string, error) {
	kind, address, found := strings.Cut(s, ";")
	if !found || len(s) > maxOriginal || !validKeyword(kind) || address == "" {
		return "", errSyntax
	}
	address, err := decodeXtext(address, utf8)
	return kind + ";" + address, err
}

const (
	maxOriginal   = 500 // RFC 3461, 4.2
	maxEnvelopeID = 100 // RFC 3461, 4.4
	maxHello      = 255 // RFC 5321, 4.5.3.1.2
)
