package wildmat

import "strings"

// Set is many patterns that are matched at a time, each with a number. What a
// match costs does not depend on how many there are: a hundred thousand cost
// about as much as a few.
//
// A nil Set is empty. A Set does not change, and may be used concurrently.
type Set struct {
	open   *tree // of patterns that end in a wildcard
	tailed *tree // of those that end in text

	// tails are what the latter end in, or the last octets of it, by their
	// length. Nearly all texts end otherwise, and need not be matched.
	tails [maxTail + 1]map[uint64]struct{}
}

// maxTail is how much of an end is looked at: ".example".
const maxTail = 8

// tailOf returns the last octets of a text, as a number.
func tailOf(s string, length int) (n uint64) {
	for _, c := range []byte(s[len(s)-length:]) {
		n = n<<8 | uint64(c)
	}
	return n
}

// Best returns the greatest number of the patterns that match text, if it is
// above least; otherwise least.
func (s *Set) Best(text string, least int32) int32 {
	if s == nil {
		return least
	}
	least = s.open.best(text, least)
	for length := 1; length <= min(maxTail, len(text)); length++ {
		if s.tails[length] == nil {
			continue
		}
		if _, known := s.tails[length][tailOf(text, length)]; known {
			return s.tailed.best(text, least)
		}
	}
	return least
}

// Builder makes a Set. The zero Builder is ready.
type Builder struct {
	open, tailed treeBuilder
	tails        [maxTail + 1]map[uint64]struct{}
}

// Add adds a pattern. Of equal patterns the one with the greatest number
// counts; numbers are not negative. It reports whether the pattern is well
// formed; if not, it matches nothing.
func (b *Builder) Add(pattern string, number int32) bool {
	if !Valid(pattern) {
		return false
	}
	// What is behind the last of these stands for itself: a set ends in "]",
	// and a backslash quotes what follows it.
	end := pattern[strings.LastIndexAny(pattern, `*?[]\`)+1:]
	if end == "" {
		b.open.Add(pattern, number)
		return true
	}
	b.tailed.Add(pattern, number)
	length := min(len(end), maxTail)
	if b.tails[length] == nil {
		b.tails[length] = make(map[uint64]struct{})
	}
	b.tails[length][tailOf(end, length)] = struct{}{}
	return true
}

// Set returns the patterns that were added. It may be nil. The Builder must not
// be used any more.
func (b *Builder) Set() *Set {
	s := &Set{b.open.tree(), b.tailed.tree(), b.tails}
	if s.open == nil && s.tailed == nil {
		return nil
	}
	return s
}
