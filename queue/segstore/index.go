package segstore

import (
	"context"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// own takes a message for the caller alone to write records of. Records of
// one message are thereby written one after the other, so that each can rest
// on those before. It fails with ErrNotFound, ErrClosed or ctx's error.
func (s *Store) own(ctx context.Context, id queue.ID) error {
	for {
		s.index.Lock()
		free, err := s.tryOwn(id)
		s.index.Unlock()
		if free == nil {
			return err
		}
		select {
		case <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryOwn is own without waiting: if somebody else has the message it returns
// a channel that is closed when it is free. The index is locked.
func (s *Store) tryOwn(id queue.ID) (free chan struct{}, err error) {
	if err := s.index.Err(); err != nil {
		return nil, err
	}
	if _, ok := s.index.Find(id); !ok {
		return nil, queue.ErrNotFound
	}
	free, owned := s.busy[id]
	if !owned {
		s.busy[id] = nil // the first who waits makes the channel
		return nil, nil
	}
	if free == nil {
		free = make(chan struct{})
		s.busy[id] = free
	}
	return free, nil
}

func (s *Store) disown(id queue.ID) {
	s.index.Lock()
	defer s.index.Unlock()
	s.disownLocked(id)
}

func (s *Store) disownLocked(id queue.ID) {
	if free := s.busy[id]; free != nil {
		close(free)
	}
	delete(s.busy, id)
}

// The rest is called with the index locked.

// keep counts a record as needed.
func (s *Store) keep(p place, size uint32) {
	if g := s.segments[p.seq]; g != nil {
		g.live += int64(size)
	}
}

// release undoes keep.
func (s *Store) release(p place, size uint32) {
	g := s.segments[p.seq]
	if g == nil {
		return
	}
	g.live -= int64(size)
	if g.live == 0 && g.sealed {
		s.keeper.wake()
	}
}

// addTomb counts a record in g as needed while the segment target is there:
// without it, what target has of a message would count again.
func (s *Store) addTomb(g *segment, target uint32) {
	if target != g.seq && s.segments[target] != nil {
		g.addTomb(target, headerLen)
	}
}

func (g *segment) addTomb(target uint32, size int64) {
	if g.tombs == nil {
		g.tombs = make(map[uint32]int64)
	}
	g.tombs[target] += size
}

// addMessage enters a message whose record is at p.
func (s *Store) addMessage(id queue.ID, p place, size uint32, m *message, flags uint8) {
	s.keep(p, size)
	if m.file.number != 0 {
		s.bodies[id] = m.file
		s.bodyBytes.Add(m.file.size + m.file.metaLen)
	}
	s.index.Add(id, m.due, flags&flagTried != 0, flags&flagHeld != 0, meta{msg: p, msgLen: size})
}

// addState makes the state record at p a message's last, and if it is full,
// its only one.
func (s *Store) addState(slot agenda.Slot, p place, size uint32, full bool) {
	d := &s.index.Item(slot).Data
	s.keep(p, size)
	if full {
		s.dropStates(slot)
	} else if d.stateLen != 0 {
		s.chains[slot] = append(s.chains[slot], link{d.state, d.stateLen})
	}
	d.state, d.stateLen = p, size
}

func (s *Store) dropStates(slot agenda.Slot) {
	d := &s.index.Item(slot).Data
	for _, l := range s.chains[slot] {
		s.release(l.place, l.size)
	}
	delete(s.chains, slot)
	if d.stateLen != 0 {
		s.release(d.state, d.stateLen)
	}
	d.state, d.stateLen = place{}, 0
}

// forget takes a message out of the index. Its body file, if it has one, is
// then of no use.
func (s *Store) forget(slot agenda.Slot) (file bodyFile) {
	it := s.index.Item(slot)
	id := it.ID()
	s.dropStates(slot)
	s.release(it.Data.msg, it.Data.msgLen)
	file, has := s.bodies[id]
	if has {
		delete(s.bodies, id)
		s.bodyBytes.Add(-file.size - file.metaLen)
	}
	s.index.Delete(slot)
	return file
}

// removeBody removes the file of a message that is gone. If that fails the
// file is found at the next start.
func (s *Store) removeBody(file bodyFile) {
	if file.number == 0 {
		return
	}
	if err := s.fs.Remove(s.bodyPath(file.number)); err != nil {
		s.log.Warn("queue: body file left behind", "file", s.bodyPath(file.number), "err", err)
	}
}

// finish writes that a message is gone. The caller owns it.
func (s *Store) finish(id queue.ID) error {
	s.index.Lock()
	slot, ok := s.index.Find(id)
	if !ok {
		s.index.Unlock()
		return queue.ErrNotFound
	}
	target := s.index.Item(slot).Data.msg.seq
	s.index.Unlock()

	var file bodyFile
	h := header{kind: kindDone, id: id, arg: target}
	e := &entry{header: h, buf: bare(&h, nil)}
	e.apply = func(p place) {
		s.addTomb(s.segments[p.seq], target)
		file = s.forget(slot)
	}
	if err := s.front.commit(e); err != nil {
		return err
	}
	s.removeBody(file)
	return nil
}

// writeState writes what changed of a message. The caller owns it. The
// attempts are split over several records if they are many. When all is durable
// then is called, if it is not nil, with the index locked: a checkpoint must not
// see the record without what it says.
func (s *Store) writeState(id queue.ID, slot agenda.Slot, st *state, flags uint8, then func()) error {
	var entries []*entry
	parts := s.split(st, flags)
	for i, part := range parts {
		h := header{kind: kindState, flags: flags, id: id}
		e := &entry{buf: bare(&h, part)}
		e.header = h
		e.apply = func(p place) {
			s.addState(slot, p, uint32(len(e.buf)), flags&flagFull != 0)
			if i == len(parts)-1 && then != nil {
				then()
			}
		}
		entries = append(entries, e)
	}
	return s.front.commit(entries...)
}

// maxRecord is the most that meta may take in a segment.
func (s *Store) maxRecord() int { return int(s.opt.segmentSize / 4) }

// split encodes a state in parts that fit in a segment. A state that is full
// is one part, or the caller must not ask.
func (s *Store) split(st *state, flags uint8) [][]byte {
	meta := encodeState(st, flags)
	n := len(st.attempts)
	if len(meta) <= s.maxRecord() || n < 2 || flags&flagFull != 0 {
		return [][]byte{meta}
	}
	head, tail := *st, *st
	head.attempts, tail.attempts = st.attempts[:n/2], st.attempts[n/2:]
	return append(s.split(&head, flags), s.split(&tail, flags)...)
}
