package mimefilter

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// param is one reading of a parameter of a field.
type param struct {
	name    string // in lower case, without the marks of RFC 2231
	value   string
	section int  // of a value in several pieces (RFC 2231, 3); -1: in one
	encoded bool // with a charset and percent signs (RFC 2231, 4)
}

const (
	maxParams = 200
	maxValue  = 4096
)

// parseField returns the first word of a field in lower case, without comments
// and quotes before it, and all readings of its parameters. It takes everything that looks like NAME=VALUE for one,
// also in a comment or where a semicolon is missing. The readings are appended
// to a buffer, which it returns.
func parseField(field string, params []param) (word string, _ []param, why string) {
	word = strings.ToLower(strings.Trim(firstWord(afterComments(field)), `"`))
	for rest := field; ; {
		name, after, found := strings.Cut(rest, "=")
		if !found {
			return word, params, ""
		}
		if len(params) >= maxParams {
			return word, params[:0], "too many parameters"
		}
		p := newParam(lastWord(name))
		rest = strings.TrimLeft(after, " \t")
		if open := afterComments(rest); strings.HasPrefix(open, `"`) {
			p.value, rest, found = quoted(open)
			params = append(params, p)
			if found {
				continue
			}
			rest = open[1:] // no closing quote: none at all
		}
		var value string
		value, rest = unquoted(rest)
		p.value = strings.TrimSpace(value)
		params = append(params, p)
		if cut := firstWord(afterComments(value)); cut != p.value {
			p.value = cut
			params = append(params, p)
		}
	}
}

// firstWord returns what stands before the first blank, semicolon or comment.
func firstWord(s string) string {
	s = strings.TrimLeft(s, " \t")
	s = s[:min(len(s), maxValue)]
	for i := range len(s) {
		if c := s[i]; c == ' ' || c == '\t' || c == ';' || c == '(' {
			return s[:i]
		}
	}
	return s
}

// afterComments returns what stands behind the blanks and comments at the start
// of s (RFC 5322, 3.2.2).
func afterComments(s string) string {
	for {
		s = strings.TrimLeft(s, " \t")
		end := commentEnd(s)
		if end == 0 {
			return s
		}
		s = s[end:]
	}
}

// commentEnd returns how long the comment at the start of s is: 0 if there is
// none, or it is not closed.
func commentEnd(s string) int {
	if !strings.HasPrefix(s, "(") {
		return 0
	}
	for i, depth := 0, 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		case '\\':
			i++
		}
	}
	return 0
}

// lastWord returns the name of the parameter that stands at the end of s.
func lastWord(s string) string {
	s = strings.TrimRight(s, " \t")
	for i := len(s); i > 0; i-- {
		switch s[i-1] {
		case ' ', '\t', ';', '(', ')', '"', '=', ',':
			return s[i:]
		}
	}
	return s
}

// newParam takes the marks of RFC 2231 off a name: name*0*, name*1, name*.
func newParam(name string) param {
	p := param{section: -1}
	name = strings.ToLower(name[:min(len(name), 100)])
	name, p.encoded = strings.CutSuffix(name, "*")
	if base, digits, found := strings.Cut(name, "*"); found {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			name, p.section = base, int(n)
		}
	}
	p.name = name
	return p
}

// quoted returns what is in the quotes at the start of s, and what is behind
// them. found is false if they are not closed.
func quoted(s string) (value, rest string, found bool) {
	if end := strings.IndexByte(s[1:], '"'); end >= 0 && strings.IndexByte(s[1:1+end], '\\') < 0 {
		return s[1 : 1+end], s[2+end:], true // nothing in it is quoted
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", false
}

// unquoted returns what stands before the next semicolon. What is behind its
// first blank is in rest again: there may be a parameter in it.
func unquoted(s string) (value, rest string) {
	value = s[:min(len(s), maxValue)]
	if end := strings.IndexByte(value, ';'); end >= 0 {
		value = value[:end]
	}
	for i := range len(value) {
		if value[i] == ' ' || value[i] == '\t' {
			return value, s[i:]
		}
	}
	return value, s[len(value):]
}

// join appends the values of the parameters with one of the names, the pieces of
// RFC 2231 put together, decoded and not.
func join(values []string, params []param, names ...string) []string {
	for _, name := range names {
		var pieces []param
		for _, p := range params {
			switch {
			case p.name != name || p.value == "":
			case p.section >= 0:
				pieces = append(pieces, p)
			case p.encoded:
				values = append(values, extended(p.value), p.value)
			default:
				values = append(values, p.value)
			}
		}
		slices.SortStableFunc(pieces, func(a, b param) int { return cmp.Compare(a.section, b.section) })
		if len(pieces) > 0 {
			values = append(values, together(pieces)...)
		}
	}
	return values
}

// together puts pieces together: as RFC 2231 says, and as they stand. Of
// several readings of a section the first and the last count.
func together(pieces []param) []string {
	var first, last, plain strings.Builder
	for i, p := range pieces {
		value := p.value
		if p.encoded {
			value = percent(value)
			if i == 0 {
				value = extended(p.value)
			}
		}
		if i == 0 || pieces[i-1].section != p.section {
			first.WriteString(value)
		}
		if i == len(pieces)-1 || pieces[i+1].section != p.section {
			last.WriteString(value)
			plain.WriteString(p.value)
		}
	}
	return []string{first.String(), last.String(), plain.String()}
}

// extended decodes charset'language'text (RFC 2231, 4).
func extended(s string) string {
	charset, rest, found := strings.Cut(s, "'")
	if !found {
		return percent(s)
	}
	_, text, found := strings.Cut(rest, "'")
	if !found {
		return percent(s)
	}
	return toUTF8(charset, percent(text))
}

// percent decodes percent signs, where two digits stand behind them.
func percent(s string) string { return escaped(s, '%') }

// escaped decodes octets that are written as a sign and two hexadecimal digits.
func escaped(s string, sign byte) string {
	if strings.IndexByte(s, sign) < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == sign && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
