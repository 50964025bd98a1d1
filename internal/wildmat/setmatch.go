package wildmat

import "bytes"

// states is where the ways through a tree are that agree with the text so far.
type states struct {
	now, next []state
	stars     []int32 // the stars that have been reached: they stay
	reached   []bool  // by node; what stars has
	steps     int     // looks at a state or a child, for tests
}

// state is a node of whose text off bytes have been taken.
type state struct{ node, off int32 }

// best returns the greatest number of the patterns that match text, if it is
// above least; otherwise least.
func (s *tree) best(text string, least int32) int32 {
	if s == nil {
		return least
	}
	w := s.begin()
	best := s.run(w, text, least)
	s.end(w)
	return best
}

func (s *tree) begin() *states {
	w, ok := s.scratch.Get().(*states)
	if !ok {
		w = &states{reached: make([]bool, len(s.nodes))}
	}
	return w
}

// end forgets the ways.
func (s *tree) end(w *states) {
	for _, n := range w.stars {
		w.reached[n] = false
	}
	w.now, w.next, w.stars, w.steps = w.now[:0], w.next[:0], w.stars[:0], 0
	s.scratch.Put(w)
}

func (s *tree) run(w *states, text string, least int32) int32 {
	s.take(w, 0, 0)
	w.now, w.next = w.next, w.now
	for i := range len(text) {
		stars := len(w.stars) // those that are reached now take the next byte
		for _, st := range w.now {
			s.step(w, st, text[i])
		}
		for _, n := range w.stars[:stars] {
			s.children(w, &s.nodes[n], text[i])
		}
		w.now, w.next = w.next, w.now[:0]
		if len(w.now)+len(w.stars) == 0 {
			return least
		}
	}
	best := least
	for _, st := range w.now {
		if n := &s.nodes[st.node]; st.off == n.length {
			best = max(best, n.number)
		}
	}
	for _, n := range w.stars {
		best = max(best, s.nodes[n].number)
	}
	return best
}

// step takes a byte at one state.
func (s *tree) step(w *states, st state, b byte) {
	w.steps++
	n := &s.nodes[st.node]
	if st.off == n.length {
		s.children(w, n, b)
	} else if s.text[n.text+st.off] == b {
		s.take(w, st.node, st.off+1)
	}
}

// children takes a byte behind a node.
func (s *tree) children(w *states, n *node, b byte) {
	w.steps += 1 + int(n.sets)
	if n.literals > 0 {
		if i := bytes.IndexByte(s.firsts[n.edges:n.edges+n.literals], b); i >= 0 {
			s.take(w, s.edges[n.edges+int32(i)], 1)
		}
	}
	if n.anyByte != 0 {
		s.take(w, n.anyByte, 0)
	}
	for _, c := range s.edges[n.edges+n.literals : n.edges+n.literals+n.sets] {
		if s.classes[s.nodes[c].class].has(b) {
			s.take(w, c, 0)
		}
	}
}

// take enters a state, and the star behind it: that may take nothing.
func (s *tree) take(w *states, at, off int32) {
	w.next = append(w.next, state{at, off})
	n := &s.nodes[at]
	if off == n.length && n.star != 0 && !w.reached[n.star] {
		w.reached[n.star] = true
		w.stars = append(w.stars, n.star)
	}
}
