package sqmail

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

const (
	postmaster = "postmaster"
	maxDomain  = 255 // RFC 5321, 4.5.3.1.2
	maxLabel   = 63  // RFC 1035, 2.3.4
)

// atext holds the ASCII characters of an atom (RFC 5322, 3.2.3).
var atext = charSet("!#$%&'*+-/=?^_`{|}~" + alphanumeric)

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func charSet(s string) (set [256]bool) {
	for i := range len(s) {
		set[s[i]] = true
	}
	for c := utf8.RuneSelf; c < 256; c++ {
		set[c] = true // UTF-8, RFC 6531, 3.3; validity is checked before
	}
	return set
}

// localLen returns the length of the local part at the start of s, or -1.
func localLen(s string) int {
	if strings.HasPrefix(s, `"`) {
		return quotedLen(s)
	}
	return dotStringLen(s)
}

// dotStringLen returns the length of a Dot-string (RFC 5321, 4.1.2), or -1.
func dotStringLen(s string) int {
	i := 0
	for ; i < len(s) && (atext[s[i]] || s[i] == '.'); i++ {
	}
	if !validDotString(s[:i]) {
		return -1
	}
	return i
}

func validDotString(s string) bool {
	return s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// quotedLen returns the length of a Quoted-string (RFC 5321, 4.1.2), or -1.
func quotedLen(s string) int {
	end := quotedEnd(s)
	for i := 1; i < end-1; i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
			if s[i] < ' ' || s[i] > '~' {
				return -1
			}
		case c < ' ' || c == 0x7f:
			return -1
		}
	}
	return end
}

// quotedEnd returns the length of what stands in quotes at the start of s,
// whatever that is, or -1. It is what [quoteLocal] writes, control characters
// included, where quotedLen takes only what the RFC does.
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// validDomain checks a domain name or an address literal. An underscore is
// let pass in a label: mail hosts with one exist, and no harm comes of it.
func validDomain(s string) bool {
	if strings.HasPrefix(s, "[") {
		return strings.HasSuffix(s, "]") && validLiteral(s[1:len(s)-1])
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' || len(s) > maxLabel && isASCII(s) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < utf8.RuneSelf && !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// validLiteral checks what stands between the brackets of an address literal
// (RFC 5321, 4.1.3).
func validLiteral(s string) bool {
	if v6, found := cutPrefixFold(s, "IPv6:"); found {
		addr, err := netip.ParseAddr(v6)
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Is4()
	}
	tag, content, found := strings.Cut(s, ":")
	return found && content != "" && validTag(tag) && validDcontent(content)
}

func validTag(s string) bool {
	if s == "" || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// validDcontent takes less than RFC 5321 does, which has no use for the rest:
// without quotes, "<", ">" and "@" a literal can stand in a path, and in qmail's
// form of one, without an ambiguity.
func validDcontent(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || strings.IndexByte(`[\]"<>@`, c) >= 0 {
			return false
		}
	}
	return true
}

// unquote returns what a local part means. What is not a whole quoted string
// means itself. It undoes quoteLocal for every string.
func unquote(local string) string {
	if !strings.HasPrefix(local, `"`) || quotedEnd(local) != len(local) {
		return local
	}
	inner := local[1 : len(local)-1]
	if strings.IndexByte(inner, '\\') < 0 {
		return inner
	}
	b := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' {
			i++
		}
		b = append(b, inner[i])
	}
	return string(b)
}

// quoteLocal returns local as a Dot-string if it is one, else in quotes.
func quoteLocal(local string) string {
	if dotStringLen(local) == len(local) && utf8.ValidString(local) {
		return local
	}
	b := make([]byte, 0, len(local)+2)
	b = append(b, '"')
	for i := range len(local) {
		switch c := local[i]; c {
		case '"', '\\', '\r', '\n':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

func isAlphanumeric(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && equalFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// equalFold compares without regard to ASCII case, the only case that domain
// names and keywords of SMTP have.
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
