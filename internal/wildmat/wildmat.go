// Package wildmat matches the patterns of qmail's list files: byte by byte,
// anchored at both ends, in time that grows at most as pattern times text.
// Spec: filter.md, 1.2.
//
//   - any run of bytes, also none
//     ?       any byte
//     \x      the byte x
//     [set]   a byte of the set; a-z is a range, ^ in front negates; "]" and "-"
//     in front, and "-" at the end, stand for themselves
package wildmat

// Match reports whether text matches pattern. A pattern with an unterminated
// "[" matches nothing.
func Match(pattern, text string) bool {
	// When a mismatch follows a star, the star takes one byte more. Only the
	// last star needs to be remembered: an earlier one cannot do better.
	star, resume := -1, 0
	p, i := 0, 0
	for i < len(text) {
		n, ok := step(pattern, p, text[i])
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, i
			p++
		case ok:
			p += n
			i++
		case star >= 0:
			resume++
			p, i = star+1, resume
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Valid reports whether a pattern is well formed: no "[" without its "]", and
// no "\" at the end.
func Valid(pattern string) bool {
	for p := 0; p < len(pattern); {
		n, _ := step(pattern, p, 0)
		if n == 0 {
			return false
		}
		p += n
	}
	return true
}

// step matches one byte against the pattern's element at p, and returns the
// element's length. The length is 0 if there is no whole element.
func step(pattern string, p int, c byte) (n int, ok bool) {
	if p >= len(pattern) {
		return 0, false
	}
	switch pattern[p] {
	case '?':
		return 1, true
	case '\\':
		if p+1 == len(pattern) {
			return 0, false
		}
		return 2, pattern[p+1] == c
	case '[':
		return set(pattern[p:], c)
	}
	return 1, pattern[p] == c
}

// set matches one byte against the set at the start of s.
func set(s string, c byte) (n int, ok bool) {
	i := 1
	negated := i < len(s) && s[i] == '^'
	if negated {
		i++
	}
	for first := i; i < len(s); {
		if s[i] == ']' && i > first {
			return i + 1, ok != negated
		}
		low, high := s[i], s[i]
		if i > first || low != '-' {
			if i+2 < len(s) && s[i+1] == '-' && s[i+2] != ']' {
				high = s[i+2]
				i += 2
			}
		}
		ok = ok || low <= c && c <= high
		i++
	}
	return 0, false
}
