// Package field makes header fields and log lines of text that others wrote.
package field

import "strings"

// maxValue is the longest value of a field, in octets.
const maxValue = 8 << 10

// Append appends a field, ended by LF, if name is the name of one and value is
// not too long; else nothing. Line ends in value stay only where they fold the
// field: it is one field, and all of its lines have something in them.
func Append(dst []byte, name, value string) []byte {
	if !ValidName(name) || len(value) > maxValue {
		return dst
	}
	dst = append(append(dst, name...), ": "...)
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\r' && i+1 < len(value) && value[i+1] == '\n':
			continue
		case c == '\n' && folds(value[i+1:]):
		case c == '\t':
		case c < ' ' || c == 0x7f:
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\n')
}

// folds reports whether s begins with blanks, and has something else in its
// first line.
func folds(s string) bool {
	text := strings.TrimLeft(s, " \t")
	return text != s && text != "" && text[0] > ' ' && text[0] != 0x7f
}

// ValidName reports whether s is the name of a field (RFC 5322, 2.2), and not
// a long one.
func ValidName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// ASCII makes a line of text: printable ASCII, at most n octets.
func ASCII(s string, n int) string {
	b := []byte(Printable(s, n))
	for i, c := range b {
		if c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// Printable makes a line of text without control characters, of at most n
// octets.
func Printable(s string, n int) string {
	b := []byte(s[:min(len(s), n)])
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}
