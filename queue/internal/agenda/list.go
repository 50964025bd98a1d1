package agenda

// list is a line of messages, first come first served.
type list struct {
	key        string // of a list of parked messages
	head, tail Slot
	n          int
}

// The lists that are always there; those of parked messages follow.
const (
	noList uint32 = iota
	freshList
	wokenList
	firstParked
)

func (a *Agenda[D]) link(l uint32, s Slot) {
	it, ls := a.Item(s), &a.lists[l]
	it.list, it.prev, it.next = l, ls.tail, none
	if ls.tail == none {
		ls.head = s
	} else {
		a.Item(ls.tail).next = s
	}
	ls.tail = s
	ls.n++
	if l >= firstParked {
		a.parked++
	}
}

// unlink takes a message out of the list it is in, if any.
func (a *Agenda[D]) unlink(s Slot) {
	it := a.Item(s)
	l := it.list
	if l == noList {
		return
	}
	ls := &a.lists[l]
	if it.prev == none {
		ls.head = it.next
	} else {
		a.Item(it.prev).next = it.next
	}
	if it.next == none {
		ls.tail = it.prev
	} else {
		a.Item(it.next).prev = it.prev
	}
	it.list, it.prev, it.next = noList, none, none
	ls.n--
	if l >= firstParked {
		a.parked--
		if ls.n == 0 {
			delete(a.keys, ls.key)
			ls.key = ""
			a.spare = append(a.spare, l)
		}
	}
}

// keyList returns the list of what is parked under key. Something must be
// put on it at once.
func (a *Agenda[D]) keyList(key string) uint32 {
	if l, ok := a.keys[key]; ok {
		return l
	}
	var l uint32
	if n := len(a.spare); n > 0 {
		l = a.spare[n-1]
		a.spare = a.spare[:n-1]
	} else {
		l = uint32(len(a.lists))
		a.lists = append(a.lists, list{})
	}
	a.lists[l] = list{key: key, head: none, tail: none}
	a.keys[key] = l
	return l
}
