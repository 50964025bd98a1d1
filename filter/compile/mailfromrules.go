package compile

import (
	"io"
	"strconv"
	"strings"
)

// MailFromRules puts a record for each rule of control/mailfromrules, as
// qmail-mfrules does:
//
//	key&string[,string...]
//
// A client that the key stands for may send from addresses that end with one
// of the strings, or from any if there are none. Key and strings are put in
// lower case; the value has a "+" before each string, so that none can hold
// one. A key of digits, dots and hyphens is an address, perhaps with ranges; see
// [Octets]. Spec: filter.md, 6.1.
func MailFromRules(text io.Reader, put func(key, value []byte) error) error {
	return lines(text, func(line string) error {
		key, list, found := strings.Cut(line, "&")
		switch {
		case !found:
			return wrong("%.80q is not key&string,string", line)
		case len(key) < 2 && key != "=":
			return wrong("the key %q has less than two characters", key)
		}
		value, err := senders(list)
		if err != nil {
			return err
		}
		keys, err := Octets(lower(key))
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := put([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
}

func senders(list string) (value []byte, err error) {
	if list == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		switch {
		case len(text) < 3:
			return nil, wrong("the string %q has less than three characters", text)
		case text[0] == ' ' || text[0] == '\t':
			return nil, wrong("the string %.80q begins with a blank", text)
		case strings.Contains(text, "+"):
			return nil, wrong(`the string %.80q holds a "+", which divides strings in the database`, text)
		}
		value = append(value, '+')
		value = append(value, lower(text)...)
	}
	return value, nil
}

// maxOctets bounds how many keys one key with ranges stands for.
const maxOctets = 4096

// Octets returns the addresses that one with ranges of octets stands for:
// 1.2.3.10-12 is 1.2.3.10, 1.2.3.11 and 1.2.3.12, and 10.2-3. is 10.2. and
// 10.3., prefixes. An octet beyond 255 is cut to it at the end of a range. What
// has no hyphen, or has characters other than digits, dots and hyphens, stands
// for itself.
func Octets(key string) ([]string, error) {
	if !strings.Contains(key, "-") || strings.Trim(key, "0123456789.-") != "" {
		return []string{key}, nil
	}
	keys := []string{""}
	parts := strings.Split(key, ".")
	for i, octet := range parts {
		from, to, ok := octets(octet)
		if !ok || octet == "" && i < len(parts)-1 {
			return nil, wrong("%.40q in %.40q is no octet", octet, key)
		}
		if len(keys)*(to-from+1) > maxOctets {
			return nil, wrong("%.40q stands for more than %d addresses", key, maxOctets)
		}
		wider := make([]string, 0, len(keys)*(to-from+1))
		for _, k := range keys {
			if i > 0 {
				k += "."
			}
			for n := from; n <= to; n++ {
				if octet == "" {
					wider = append(wider, k) // behind the dot at the end of a prefix
				} else {
					wider = append(wider, k+strconv.Itoa(n))
				}
			}
		}
		keys = wider
	}
	return keys, nil
}

// octets reads an octet, or a range of them.
func octets(s string) (from, to int, ok bool) {
	if s == "" {
		return 0, 0, true
	}
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	from, err := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	to = min(to, 255)
	return from, to, err == nil && err2 == nil && from >= 0 && from <= to
}
