package segstore

import (
	"cmp"
	"runtime"
	"slices"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// building is what build works with.
type building struct {
	wanted map[uint64]bool // numbers of body files that messages have
	batch  []snapshotItem  // messages to be entered together
	count  int

	group    []ref // all that was read about a message; of those that count:
	messages []ref // its own records, and
	states   []ref // its states
}

// batchLen is how many messages are entered while the index is locked once.
const batchLen = 256

// build fills the index, in the order of the numbers: with what the checkpoint
// knows, changed by what was read.
func (r *recovery) build() error {
	r.wanted = make(map[uint64]bool)
	r.batch = make([]snapshotItem, 0, batchLen)
	for seq, from := range r.voids {
		if g := r.segments[seq]; g != nil {
			g.end, g.broken = min(g.end, int64(from)), true
		}
	}
	tails := newMerger(r.tails)
	r.tails = nil
	for r.snap != nil {
		var it snapshotItem
		if more, err := r.snap.next(&it); err != nil || !more {
			if err != nil {
				return err
			}
			break
		}
		r.addUntil(it.id, tails)
		if r.group = r.group[:0]; tails.peek() == it.id {
			r.group = tails.next(r.group)
		}
		r.add(it, true)
		if r.s.loader.stopped() {
			return errStopped
		}
	}
	r.addUntil(0, tails)
	if r.s.loader.stopped() {
		return errStopped
	}
	r.flush()
	return nil
}

// addUntil adds messages that the checkpoint does not have, those before id or,
// if that is 0, all.
func (r *recovery) addUntil(id queue.ID, tails *merger) {
	for next := tails.peek(); next != 0 && (id == 0 || next < id) && !r.s.loader.stopped(); next = tails.peek() {
		r.group = tails.next(r.group[:0])
		r.add(snapshotItem{id: next}, false)
	}
}

// add enters a message in the index, if it is in the queue: from the
// checkpoint, if that has it, and the records in r.group.
func (r *recovery) add(it snapshotItem, known bool) {
	if known && len(r.group) == 0 {
		r.enter(it)
		return
	}
	r.messages, r.states = r.messages[:0], r.states[:0]
	if known && !r.void(it.meta.msg) {
		r.messages = append(r.messages, ref{place: it.meta.msg, size: it.meta.msgLen})
	}
	end := r.sift()
	if end != nil {
		for _, m := range r.messages {
			if m.seq != end.arg {
				r.segments[m.seq].half = true
			}
		}
		return
	}
	if len(r.messages) == 0 {
		if known {
			r.missing(&it)
		}
		return
	}
	for _, m := range r.messages[1:] {
		if m.place != r.messages[0].place {
			r.segments[m.seq].half = true
		}
	}
	r.complete(&it, known)
	r.enter(it)
}

// sift sorts out the records of a message that count. If there is one that
// ends it, it returns that.
func (r *recovery) sift() (end *ref) {
	for i := range r.group {
		f := &r.group[i]
		switch {
		case r.void(f.place):
		case f.kind == kindMessage:
			r.messages = append(r.messages, *f)
		case f.kind == kindState:
			r.states = append(r.states, *f)
		case end == nil:
			end = f
		}
	}
	return end
}

// void reports whether a record does not count.
func (r *recovery) void(p place) bool {
	from, ok := r.voids[p.seq]
	return ok && p.off >= from || r.segments[p.seq] == nil
}

// complete fills in where a message's records are.
func (r *recovery) complete(it *snapshotItem, known bool) {
	m := &r.messages[0]
	if !known {
		file := r.files[m.place]
		it.due, it.flags = m.due, m.flags&(flagHeld|flagTried)
		it.number, it.size = file.number, file.size+file.metaLen
		if it.number != 0 {
			it.flags |= flagFile
		}
	}
	it.meta.msg, it.meta.msgLen = m.place, m.size
	states := r.allStates(it)
	for i, f := range slices.Backward(states) {
		if f.flags&flagFull != 0 {
			states = states[i:]
			break
		}
	}
	it.chain = nil
	it.meta.state, it.meta.stateLen = place{}, 0
	n := len(states)
	if n == 0 {
		return
	}
	last := &states[n-1]
	it.meta.state, it.meta.stateLen = last.place, last.size
	if last.kind != 0 { // it was read: what the checkpoint says is older
		it.due, it.flags = last.due, last.flags&(flagHeld|flagTried)|it.flags&flagFile
	}
	for _, f := range states[:n-1] {
		it.chain = append(it.chain, f.link())
	}
}

// allStates returns the states of a message in the order in which they were
// written: those that the checkpoint knows, and those in r.states, which may be
// the same or copies of them.
func (r *recovery) allStates(it *snapshotItem) []ref {
	links := it.chain
	if it.meta.stateLen != 0 {
		links = append(links, link{it.meta.state, it.meta.stateLen})
	}
	copies := r.snap != nil && slices.ContainsFunc(r.states, func(f ref) bool { return f.lsn < r.snap.nextLSN })
	var before []ref
	for _, l := range links {
		g := r.segments[l.seq]
		if g == nil || slices.ContainsFunc(r.states, func(f ref) bool { return f.place == l.place }) {
			continue
		}
		f := ref{place: l.place, size: l.size}
		if copies { // the log numbers tell which
			rec, err := readMeta(g, l.place)
			d := decoder{b: rec.meta}
			switch n := len(before); {
			case err == nil:
				f.kind, f.lsn, f.due, f.flags = kindState, rec.lsn, d.int(), rec.flags
			case r.copied(&f):
				continue
			case n > 0: // whoever reads the message finds out
				f.lsn = before[n-1].lsn
			}
		}
		before = append(before, f)
	}
	if copies {
		return inOrder(append(before, r.states...))
	}
	return append(before, inOrder(r.states)...)
}

// copied reports whether there is a copy of a state that cannot be read.
func (r *recovery) copied(f *ref) bool {
	return r.segments[f.seq].half && slices.ContainsFunc(r.states, func(c ref) bool { return c.size == f.size && c.lsn < r.snap.nextLSN })
}

// inOrder sorts states by their log numbers, and leaves copies out. Of one that
// could not be read it is not known what it is.
func inOrder(states []ref) []ref {
	slices.SortStableFunc(states, func(a, b ref) int { return cmp.Compare(a.lsn, b.lsn) })
	last := uint64(0)
	return slices.DeleteFunc(states, func(f ref) bool {
		again := f.kind != 0 && f.lsn == last
		if f.kind != 0 {
			last = f.lsn
		}
		return again
	})
}

// enter puts a message in the batch.
func (r *recovery) enter(it snapshotItem) {
	if r.segments[it.meta.msg.seq] == nil {
		r.missing(&it)
		return
	}
	r.forgetStates(&it)
	if it.flags&flagFile != 0 {
		r.wanted[it.number] = true
	}
	if r.batch = append(r.batch, it); len(r.batch) == batchLen {
		r.flush()
	}
}

// forgetStates drops the states of a message that are lost with their segment.
// It is tried again what they may have had the outcome of.
func (r *recovery) forgetStates(it *snapshotItem) {
	lost := func(l link) bool { return r.segments[l.seq] == nil }
	links := len(it.chain)
	it.chain = slices.DeleteFunc(it.chain, lost)
	gone := len(it.chain) < links
	if it.meta.stateLen != 0 && r.segments[it.meta.state.seq] == nil {
		gone = true
		it.meta.state, it.meta.stateLen = place{}, 0
		if n := len(it.chain); n > 0 {
			it.meta.state, it.meta.stateLen = it.chain[n-1].place, it.chain[n-1].size
			it.chain = it.chain[:n-1]
		}
	}
	if gone {
		r.damage.Store(true)
		r.s.quarantined.Add(1)
		r.s.log.Error("queue: outcomes of attempts are lost with their segment", "message", it.id)
	}
}

// flush enters the batch in the index. From then on the messages can be
// leased.
func (r *recovery) flush() {
	s := r.s
	s.index.Lock()
	for i := range r.batch {
		s.addItem(&r.batch[i])
	}
	s.index.Unlock()
	r.count += len(r.batch)
	r.batch = r.batch[:0]
	r.s.opt.pause("batch")
	runtime.Gosched() // whoever waits for the index is next
}

// addItem enters a message. The index is locked.
func (s *Store) addItem(it *snapshotItem) {
	if it.flags&flagFile != 0 {
		s.bodies[it.id] = bodyFile{number: it.number, size: it.size}
		s.bodyBytes.Add(it.size)
	}
	slot := s.index.Add(it.id, agenda.Time(it.due), it.flags&flagTried != 0, it.flags&flagHeld != 0, it.meta)
	s.keep(it.meta.msg, it.meta.msgLen)
	if it.meta.stateLen != 0 {
		s.keep(it.meta.state, it.meta.stateLen)
	}
	for _, l := range it.chain {
		s.keep(l.place, l.size)
	}
	if len(it.chain) > 0 {
		s.chains[slot] = it.chain
	}
}

// missing deals with a message of the checkpoint whose segment is not there.
// If the segment's file is there, in another use, the message was finished and
// the record of that is gone as well; else somebody has taken the file away.
func (r *recovery) missing(it *snapshotItem) {
	was := r.snap.segments[it.meta.msg.seq]
	if was == nil || r.numbers[was.number] {
		return
	}
	r.damage.Store(true)
	r.s.quarantined.Add(1)
	r.s.log.Error("queue: message is lost with its segment", "message", it.id, "segment", was.number)
}
