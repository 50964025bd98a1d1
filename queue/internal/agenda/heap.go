package agenda

// heapID names one of the heaps. A message is in one of them at most.
type heapID uint8

const (
	noHeap     heapID = iota
	soonHeap          // never leased, not due yet; by due time
	againHeap         // leased before, parked ones among them; by due time
	leasedHeap        // leased; by when the lease runs out
	heapCount
)

// arity is the number of children of a node: four use fewer cache lines than
// two.
const arity = 4

// first returns the least key of a heap.
func (a *Agenda[D]) first(h heapID) (int64, bool) {
	if len(a.heaps[h]) == 0 {
		return 0, false
	}
	return a.Item(a.heaps[h][0]).at, true
}

func (a *Agenda[D]) push(h heapID, s Slot) {
	it := a.Item(s)
	it.heap = h
	a.heaps[h] = append(a.heaps[h], s)
	a.up(h, len(a.heaps[h])-1)
}

// pull takes a message out of the heap it is in, if any.
func (a *Agenda[D]) pull(s Slot) {
	it := a.Item(s)
	h := it.heap
	if h == noHeap {
		return
	}
	it.heap = noHeap
	slots := a.heaps[h]
	i, last := int(it.pos), len(slots)-1
	moved := slots[last]
	a.heaps[h] = slots[:last]
	if i == last {
		return
	}
	a.place(h, i, moved)
	a.down(h, i)
	a.up(h, int(a.Item(moved).pos))
}

func (a *Agenda[D]) place(h heapID, i int, s Slot) {
	a.heaps[h][i] = s
	a.Item(s).pos = uint32(i)
}

func (a *Agenda[D]) up(h heapID, i int) {
	s := a.heaps[h][i]
	for i > 0 {
		parent := (i - 1) / arity
		if !a.less(s, a.heaps[h][parent]) {
			break
		}
		a.place(h, i, a.heaps[h][parent])
		i = parent
	}
	a.place(h, i, s)
}

func (a *Agenda[D]) down(h heapID, i int) {
	slots := a.heaps[h]
	s := slots[i]
	for {
		first := i*arity + 1
		if first >= len(slots) {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, len(slots)); c++ {
			if a.less(slots[c], slots[least]) {
				least = c
			}
		}
		if !a.less(slots[least], s) {
			break
		}
		a.place(h, i, slots[least])
		i = least
	}
	a.place(h, i, s)
}

// less orders by time, then by age.
func (a *Agenda[D]) less(s, t Slot) bool {
	x, y := a.Item(s), a.Item(t)
	return x.at < y.at || x.at == y.at && x.id < y.id
}
