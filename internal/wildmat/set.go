package wildmat

import (
	"slices"
	"strings"
	"sync"
)

// Set is many patterns that are matched at a time, each with a number. Patterns
// that begin alike share what they have in common, so that the cost of a match
// depends on how much of the patterns the text agrees with, not on how many
// there are: a hundred thousand cost about as much as a few. It never exceeds
// that of matching one after the other.
//
// The zero Set is empty. Add must not be called concurrently with anything;
// after the last Add Best may be called concurrently.
type Set struct {
	nodes   []node // a tree; nodes[0] is the root, which takes no byte
	classes []class
	known   map[string]int32 // classes by their text
	scratch sync.Pool        // of *states
}

// node is an element of one or several patterns, behind the elements on its
// way from the root.
type node struct {
	kind     kind
	text     string // of a literal: what it takes
	class    int32  // of a set
	number   int32  // the greatest number of the patterns that end here; -1: none does
	star     int32  // the child that is a star; 0: none
	anyByte  int32  // that is a "?"
	literals []int32
	sets     []int32
}

type kind uint8

const (
	isLiteral kind = iota // the root is one of no bytes
	isAny
	isSet
	isStar
)

// class is the bytes of a "[set]".
type class [256 / 64]uint64

func (c *class) has(b byte) bool { return c[b/64]>>(b%64)&1 != 0 }

// Add adds a pattern. Of equal patterns the one with the greatest number
// counts. It reports whether the pattern is well formed; if not, it matches
// nothing.
func (s *Set) Add(pattern string, number int32) bool {
	if !Valid(pattern) {
		return false
	}
	if s.nodes == nil {
		s.nodes = []node{{number: -1}}
		s.known = map[string]int32{}
	}
	at := int32(0)
	for p := 0; p < len(pattern); {
		switch pattern[p] {
		case '*':
			at = s.child(at, isStar, 0)
			p++
		case '?':
			at = s.child(at, isAny, 0)
			p++
		case '[':
			n, _ := step(pattern, p, 0)
			at = s.child(at, isSet, s.classOf(pattern[p:p+n]))
			p += n
		default:
			text, n := run(pattern[p:])
			at = s.literal(at, text)
			p += n
		}
	}
	s.nodes[at].number = max(s.nodes[at].number, number)
	return true
}

// run returns the bytes that a pattern begins with, and how much of the
// pattern they are.
func run(pattern string) (text string, n int) {
	if n = strings.IndexAny(pattern, `*?[\`); n < 0 {
		return pattern, len(pattern)
	}
	if pattern[n] != '\\' {
		return pattern[:n], n
	}
	b := []byte(pattern[:n])
	for n < len(pattern) && strings.IndexByte("*?[", pattern[n]) < 0 {
		if pattern[n] == '\\' {
			n++
		}
		b = append(b, pattern[n])
		n++
	}
	return string(b), n
}

// classOf returns the number of the class that the text of a set means.
func (s *Set) classOf(text string) int32 {
	if i, ok := s.known[text]; ok {
		return i
	}
	var c class
	for b := range 256 {
		if _, ok := set(text, byte(b)); ok {
			c[b/64] |= 1 << (b % 64)
		}
	}
	i := slices.Index(s.classes, c)
	if i < 0 {
		i = len(s.classes)
		s.classes = append(s.classes, c)
	}
	s.known[strings.Clone(text)] = int32(i)
	return int32(i)
}

// child returns the child of a node that is a star, "?" or set, and makes it
// if there is none.
func (s *Set) child(at int32, k kind, class int32) int32 {
	n := &s.nodes[at]
	switch {
	case k == isStar && n.kind == isStar: // "**"
		return at
	case k == isStar && n.star != 0:
		return n.star
	case k == isAny && n.anyByte != 0:
		return n.anyByte
	case k == isSet:
		for _, c := range n.sets {
			if s.nodes[c].class == class {
				return c
			}
		}
	}
	made := s.add(node{kind: k, class: class})
	switch n = &s.nodes[at]; k {
	case isStar:
		n.star = made
	case isAny:
		n.anyByte = made
	default:
		n.sets = append(n.sets, made)
	}
	return made
}

func (s *Set) add(n node) int32 {
	n.number = -1
	s.nodes = append(s.nodes, n)
	return int32(len(s.nodes) - 1)
}

// literal returns the node behind a text that follows a node, and makes what
// there is not of the way.
func (s *Set) literal(at int32, text string) int32 {
	for text != "" {
		i, found := s.literalAt(at, text[0])
		if !found {
			made := s.add(node{text: text})
			s.nodes[at].literals = slices.Insert(s.nodes[at].literals, i, made)
			return made
		}
		next := s.nodes[at].literals[i]
		n := common(s.nodes[next].text, text)
		if n < len(s.nodes[next].text) {
			s.split(next, n)
		}
		at, text = next, text[n:]
	}
	return at
}

// split makes a literal shorter; a new child takes the rest of its text, and all
// that was behind it.
func (s *Set) split(at int32, n int) {
	rest := s.nodes[at]
	rest.text = rest.text[n:]
	s.nodes = append(s.nodes, rest)
	s.nodes[at] = node{text: s.nodes[at].text[:n], number: -1, literals: []int32{int32(len(s.nodes) - 1)}}
}

// literalAt returns the index of the child that begins with a byte, or of where
// it belongs.
func (s *Set) literalAt(at int32, b byte) (int, bool) {
	return slices.BinarySearchFunc(s.nodes[at].literals, b, func(c int32, b byte) int { return int(s.nodes[c].text[0]) - int(b) })
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
