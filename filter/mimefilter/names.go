package mimefilter

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// readings gathers all readings of the name of a part.
type readings struct {
	names []string
	why   string // what is wrong with them
}

const (
	maxReadings = 32
	maxName     = 512
)

// add adds the readings of a name: as it stands, with its encoded words decoded
// (RFC 2047; they should not stand here, but do), with percent signs decoded;
// and of each the whole, and what stands before a NUL.
func (r *readings) add(raw string) {
	all := []string{raw}
	if strings.Contains(raw, "=?") {
		all = append(all, words(raw), words(strings.ReplaceAll(raw, " ", "")))
	}
	for _, name := range all {
		r.put(name)
		if strings.Contains(name, "%") {
			r.put(percent(name))
		}
	}
}

func (r *readings) put(name string) {
	r.one(name)
	if before, _, found := strings.Cut(name, "\x00"); found {
		r.one(before)
	}
}

// one adds one reading: without a path, without control characters, and
// without the dots, blanks and slashes at its end that some systems do not keep.
func (r *readings) one(name string) {
	name = strings.TrimRight(name, "/\\. \t")
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, name)
	name = strings.ToLower(strings.TrimLeft(strings.TrimRight(name, ". \t"), " \t"))
	switch {
	case name == "" || slices.Contains(r.names, name):
	case len(name) > maxName:
		r.why = "name of an attachment too long"
	case len(r.names) == maxReadings:
		r.why = "too many names of an attachment"
	default:
		r.names = append(r.names, name)
	}
}

// words decodes encoded words (RFC 2047) as the most lenient mail programs do:
// without padding, and with what does not belong into one left out.
func words(s string) string {
	var b strings.Builder
	for inWords := false; ; inWords = true {
		before, charset, encoding, text, after, found := cutWord(s)
		if !inWords || strings.Trim(before, " \t") != "" {
			b.WriteString(before) // blanks between words do not count (RFC 2047, 6.2)
		}
		if !found {
			return b.String()
		}
		if encoding == "b" {
			var d decoder64
			d.decode([]byte(text))
			d.end()
			text = string(d.out)
		} else {
			text = escaped(strings.ReplaceAll(text, "_", " "), '=')
		}
		b.WriteString(toUTF8(charset, text))
		s = after
	}
}

// cutWord takes the first encoded word, =?charset?encoding?text?=, out of s. If
// there is none, everything is before.
func cutWord(s string) (before, charset, encoding, text, after string, found bool) {
	for rest := s; ; {
		_, word, found := strings.Cut(rest, "=?")
		if !found {
			return s, "", "", "", "", false
		}
		before, rest = s[:len(s)-len(word)-len("=?")], word
		charset, word, _ = strings.Cut(word, "?")
		encoding, word, _ = strings.Cut(word, "?")
		if encoding = strings.ToLower(encoding); encoding != "b" && encoding != "q" {
			continue
		}
		if text, after, found = strings.Cut(word, "?="); !found {
			return s, "", "", "", "", false
		}
		return before, charset, encoding, text, after, true
	}
}

// toUTF8 makes UTF-8 of octets in a charset, as far as that matters here.
func toUTF8(charset, s string) string {
	if strings.EqualFold(charset, "utf-8") || utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i]) // as in ISO-8859-1
	}
	return string(runes)
}
