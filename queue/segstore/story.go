package segstore

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// story is what was written about a message after the checkpoint.
type story struct {
	messages []messageRef
	states   []stateRef
	ends     []endRef
}

type messageRef struct {
	link
	due   int64
	flags uint8
	file  bodyFile
}

type stateRef struct {
	link
	lsn   uint64
	due   int64
	flags uint8
}

// endRef is a record after which the message is gone.
type endRef struct {
	place
	target uint32 // the segment of the message's own record
}

// note enters a record in the story of its message.
func (r *recovery) note(l link, rec record) {
	s := r.s
	raise(&s.nextLSN, rec.lsn+1)
	if rec.kind == kindVoid {
		r.voids[rec.arg] = uint32(rec.id)
		s.addTomb(s.segments[l.seq], rec.arg)
		return
	}
	raise(&s.nextID, uint64(rec.id)+1)
	st := r.story(rec.id)
	switch rec.kind {
	case kindMessage:
		r.noteMessage(st, l, rec)
	case kindState:
		d := decoder{b: rec.meta}
		st.states = append(st.states, stateRef{link: l, lsn: rec.lsn, due: d.int(), flags: rec.flags})
	case kindDone:
		st.ends = append(st.ends, endRef{l.place, rec.arg})
		s.addTomb(s.segments[l.seq], rec.arg)
	}
}

func (r *recovery) story(id queue.ID) *story {
	st := r.stories[id]
	if st == nil {
		st = &story{}
		r.stories[id] = st
	}
	return st
}

func (r *recovery) noteMessage(st *story, l link, rec record) {
	s := r.s
	d := decoder{b: rec.meta}
	m := d.head(rec.flags)
	st.messages = append(st.messages, messageRef{
		link: l, due: agenda.Nanos(m.due), flags: rec.flags, file: m.file})
	raise(&s.nextNumber, m.file.number+1)
	if rec.flags&flagUnique != 0 {
		s.tokens[m.token] = true
	}
	if m.replaces != 0 {
		other := r.story(m.replaces)
		other.ends = append(other.ends, endRef{l.place, rec.arg})
		s.addTomb(s.segments[l.seq], rec.arg)
	}
}

// build fills the index, in the order of the numbers.
func (r *recovery) build() error {
	for seq, from := range r.voids {
		if g := r.s.segments[seq]; g != nil {
			g.end, g.broken = min(g.end, int64(from)), true
		}
	}
	ids := slices.Sorted(maps.Keys(r.stories))
	for r.snap != nil {
		it, err := r.snap.next()
		if err != nil {
			return err
		}
		if it == nil {
			break
		}
		for len(ids) > 0 && ids[0] < it.id {
			r.add(ids[0], nil)
			ids = ids[1:]
		}
		if len(ids) > 0 && ids[0] == it.id {
			ids = ids[1:]
		}
		r.add(it.id, it)
	}
	for _, id := range ids {
		r.add(id, nil)
	}
	r.stories, r.snap = nil, nil
	return nil
}

// add enters a message in the index, from the checkpoint and its story; either
// may be missing.
func (r *recovery) add(id queue.ID, it *snapshotItem) {
	st := r.stories[id]
	if st == nil {
		r.addItem(it)
		return
	}
	if it != nil {
		r.prepend(st, it)
	}
	st.messages = slices.DeleteFunc(st.messages, func(m messageRef) bool { return r.void(m.place) })
	st.states = slices.DeleteFunc(st.states, func(m stateRef) bool { return r.void(m.place) })
	st.ends = slices.DeleteFunc(st.ends, func(e endRef) bool { return r.void(e.place) })
	if len(st.ends) > 0 {
		for _, m := range st.messages {
			if m.seq != st.ends[0].target {
				r.s.segments[m.seq].half = true
			}
		}
		return
	}
	if len(st.messages) == 0 {
		if it != nil {
			r.missing(it)
		}
		return
	}
	for _, m := range st.messages[1:] {
		if m.place != st.messages[0].place {
			r.s.segments[m.seq].half = true
		}
	}
	r.addStory(id, st)
}

// void reports whether a record does not count.
func (r *recovery) void(p place) bool {
	from, ok := r.voids[p.seq]
	return ok && p.off >= from || r.s.segments[p.seq] == nil
}

// prepend puts what the checkpoint knows at the beginning of the story.
func (r *recovery) prepend(st *story, it *snapshotItem) {
	s := r.s
	first := messageRef{link: link{it.meta.msg, it.meta.msgLen}, due: it.due, flags: it.flags,
		file: bodyFile{number: it.number, size: it.size}}
	st.messages = slices.Insert(st.messages, 0, first)
	links := it.chain
	if it.meta.stateLen != 0 {
		links = append(links, link{it.meta.state, it.meta.stateLen})
	}
	for _, l := range links {
		if g := s.segments[l.seq]; g != nil {
			if rec, err := readMeta(g, l.place); err == nil {
				d := decoder{b: rec.meta}
				st.states = append(st.states, stateRef{link: l, lsn: rec.lsn, due: d.int(), flags: rec.flags})
			}
		}
	}
}

// addStory enters a message that has a story.
func (r *recovery) addStory(id queue.ID, st *story) {
	m := st.messages[0]
	slices.SortStableFunc(st.states, func(a, b stateRef) int { return cmp.Compare(a.lsn, b.lsn) })
	st.states = slices.CompactFunc(st.states, func(a, b stateRef) bool { return a.lsn == b.lsn })
	for i, ref := range slices.Backward(st.states) {
		if ref.flags&flagFull != 0 {
			st.states = st.states[i:]
			break
		}
	}
	it := &snapshotItem{id: id, due: m.due, meta: meta{msg: m.place, msgLen: m.size}, number: m.file.number, size: m.file.size + m.file.metaLen}
	it.flags = m.flags & (flagHeld | flagTried)
	if n := len(st.states); n > 0 {
		last := st.states[n-1]
		it.due, it.flags = last.due, last.flags
		it.meta.state, it.meta.stateLen = last.place, last.size
		for _, ref := range st.states[:n-1] {
			it.chain = append(it.chain, ref.link)
		}
	}
	if it.number != 0 {
		it.flags |= flagFile
	} else {
		it.flags &^= flagFile
	}
	r.addItem(it)
}

// addItem enters a message.
func (r *recovery) addItem(it *snapshotItem) {
	s := r.s
	if s.segments[it.meta.msg.seq] == nil {
		r.missing(it)
		return
	}
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
	if was == nil || r.files[was.number] {
		return
	}
	r.damage = true
	r.s.quarantined.Add(1)
	r.s.log.Error("queue: message is lost with its segment", "message", it.id, "segment", was.number)
}
