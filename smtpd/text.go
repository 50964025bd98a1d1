package smtpd

import "unicode/utf8"

// printable returns s with every octet that is not printable ASCII replaced
// by "?", UTF-8 included unless keepUTF8 is true: for replies, and for what
// clients say in logs.
func printable(s string, keepUTF8 bool) string {
	if isPrintable(s, keepUTF8) {
		return s
	}
	return string(appendPrintable(nil, s, keepUTF8))
}

func appendPrintable(dst []byte, s string, keepUTF8 bool) []byte {
	for i := 0; i < len(s); {
		n := 1
		if c := s[i]; c >= utf8.RuneSelf {
			n = 0
			if keepUTF8 {
				n = printableRune(s[i:])
			}
		} else if c < ' ' || c == 0x7f {
			n = 0
		}
		if n == 0 {
			dst = append(dst, '?')
			i++
			continue
		}
		dst = append(dst, s[i:i+n]...)
		i += n
	}
	return dst
}

func isPrintable(s string, allowUTF8 bool) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			n := 0
			if allowUTF8 {
				n = printableRune(s[i:])
			}
			if n == 0 {
				return false
			}
			i += n - 1
		case c < ' ' || c == 0x7f:
			return false
		}
	}
	return true
}

// printableRune returns the length of the character at the start of s, or 0 if
// it is not valid, or one of the C1 controls, which terminals obey, or one of
// the line separators.
func printableRune(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n <= 1 || r < 0xa0 || r == 0x2028 || r == 0x2029 {
		return 0
	}
	return n
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && equalFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// equalFold compares without regard to ASCII case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
