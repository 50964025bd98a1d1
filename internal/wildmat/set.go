package wildmat

import (
	"slices"
	"strings"
	"sync"
)

// tree is patterns that begin alike and share what they have in common, so that
// the cost of a match depends on how much of the patterns the text agrees with,
// not on how many there are: a hundred thousand cost about as much as a few. It
// never exceeds that of matching one after the other.
//
// A nil tree is empty. A tree holds no pointers that the garbage collector would
// have to follow.
type tree struct {
	nodes   []node  // a tree; nodes[0] is the root, which takes no byte
	text    []byte  // of all literals
	edges   []int32 // the children of all nodes, those of a node in a row
	firsts  []byte  // what edges[i] begins with, if it is a literal
	classes []class

	scratch sync.Pool // of *states
}

// node is an element of one or several patterns, behind the elements on its
// way from the root. Its children stand in edges: literals in the order of
// what they begin with, then sets.
type node struct {
	text, length int32 // what a literal takes
	number       int32 // the greatest number of the patterns that end here; -1: none does
	class        int32 // of a set
	star         int32 // the child that is a star; 0: none
	anyByte      int32 // that is a "?"
	edges        int32 // where the other children begin
	literals     int32 // how many of them are literals
	sets         int32 // or sets
}

// class is the bytes of a "[set]".
type class [256 / 64]uint64

func (c *class) has(b byte) bool { return c[b/64]>>(b%64)&1 != 0 }

// treeBuilder makes a tree.
type treeBuilder struct {
	nodes   []growing
	classes []class
	known   map[string]int32 // classes by their text
	numbers map[class]int32  // by what they are
	behind  map[setAt]int32  // the nodes of sets
}

// setAt is a set that follows a node.
type setAt struct{ node, class int32 }

// growing is a node of a tree that grows.
type growing struct {
	node
	isStar   bool
	literal  string
	literals []int32
	sets     []int32
}

// Add adds a pattern that is well formed.
func (b *treeBuilder) Add(pattern string, number int32) {
	if b.nodes == nil {
		b.add(growing{})
		b.known, b.numbers, b.behind = map[string]int32{}, map[class]int32{}, map[setAt]int32{}
	}
	at := int32(0)
	for p := 0; p < len(pattern); {
		n := 1
		switch pattern[p] {
		case '*':
			at = b.star(at)
		case '?':
			at = b.anyByte(at)
		case '[':
			n, _ = step(pattern, p, 0)
			at = b.set(at, b.classOf(pattern[p:p+n]))
		default:
			var text string
			text, n = run(pattern[p:])
			at = b.literal(at, text)
		}
		p += n
	}
	b.nodes[at].number = max(b.nodes[at].number, number)
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
func (b *treeBuilder) classOf(text string) int32 {
	if i, ok := b.known[text]; ok {
		return i
	}
	var c class
	for n := range 256 {
		if _, ok := set(text, byte(n)); ok {
			c[n/64] |= 1 << (n % 64)
		}
	}
	i, ok := b.numbers[c]
	if !ok {
		i = int32(len(b.classes))
		b.classes, b.numbers[c] = append(b.classes, c), i
	}
	b.known[text] = i
	return i
}

func (b *treeBuilder) add(n growing) int32 {
	n.number = -1
	b.nodes = append(b.nodes, n)
	return int32(len(b.nodes) - 1)
}

// star, anyByte, set and literal return the node behind an element that follows
// a node, and make what there is not of the way.
func (b *treeBuilder) star(at int32) int32 {
	if b.nodes[at].isStar { // "**"
		return at
	}
	if b.nodes[at].star == 0 {
		made := b.add(growing{isStar: true})
		b.nodes[at].star = made
	}
	return b.nodes[at].star
}

func (b *treeBuilder) anyByte(at int32) int32 {
	if b.nodes[at].anyByte == 0 {
		made := b.add(growing{})
		b.nodes[at].anyByte = made
	}
	return b.nodes[at].anyByte
}

func (b *treeBuilder) set(at int32, class int32) int32 {
	if known, ok := b.behind[setAt{at, class}]; ok {
		return known
	}
	made := b.add(growing{node: node{class: class}})
	b.nodes[at].sets = append(b.nodes[at].sets, made)
	b.behind[setAt{at, class}] = made
	return made
}

func (b *treeBuilder) literal(at int32, text string) int32 {
	for text != "" {
		i, found := slices.BinarySearchFunc(b.nodes[at].literals, text[0], func(c int32, first byte) int {
			return int(b.nodes[c].literal[0]) - int(first)
		})
		if !found {
			made := b.add(growing{literal: text})
			b.nodes[at].literals = slices.Insert(b.nodes[at].literals, i, made)
			return made
		}
		next := b.nodes[at].literals[i]
		n := common(b.nodes[next].literal, text)
		if n < len(b.nodes[next].literal) {
			b.split(next, n)
		}
		at, text = next, text[n:]
	}
	return at
}

// split makes a literal shorter; a new child takes the rest of its text, and all
// that was behind it.
func (b *treeBuilder) split(at int32, n int) {
	rest := b.nodes[at]
	rest.literal = rest.literal[n:]
	b.nodes = append(b.nodes, rest)
	for _, c := range rest.sets {
		delete(b.behind, setAt{at, b.nodes[c].class})
		b.behind[setAt{int32(len(b.nodes) - 1), b.nodes[c].class}] = c
	}
	b.nodes[at] = growing{node: node{number: -1}, literal: b.nodes[at].literal[:n], literals: []int32{int32(len(b.nodes) - 1)}}
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// tree returns the patterns that were added. It may be nil. The builder must not
// be used any more.
func (b *treeBuilder) tree() *tree {
	if b.nodes == nil {
		return nil
	}
	s := &tree{nodes: make([]node, len(b.nodes)), classes: b.classes}
	size := 0
	for i := range b.nodes {
		size += len(b.nodes[i].literal)
	}
	s.text = make([]byte, 0, size)
	s.edges, s.firsts = make([]int32, 0, len(b.nodes)), make([]byte, 0, len(b.nodes))
	for i := range b.nodes {
		from, n := &b.nodes[i], b.nodes[i].node
		n.text, n.length = int32(len(s.text)), int32(len(from.literal))
		s.text = append(s.text, from.literal...)
		n.edges, n.literals, n.sets = int32(len(s.edges)), int32(len(from.literals)), int32(len(from.sets))
		for _, c := range from.literals {
			s.firsts = append(s.firsts, b.nodes[c].literal[0])
		}
		s.firsts = append(s.firsts, make([]byte, len(from.sets))...)
		s.edges = append(append(s.edges, from.literals...), from.sets...)
		s.nodes[i] = n
	}
	return s
}
