package segstore

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// cleaner moves what is needed of a segment to the rear, so that the segment
// can be used again. Messages that survive their first attempts end up there
// together, and are not moved again until half of their neighbours are gone.
type cleaner struct {
	s       *Store
	g       *segment
	entries []*entry
	owned   map[queue.ID]bool
	size    int
	skipped bool // something is in use
}

// clean moves what is needed of g. It reports whether that was all of it.
func (s *Store) clean(g *segment) (whole bool, err error) {
	s.index.Lock()
	end := g.end
	g.half = true
	g.pins++
	s.index.Unlock()
	defer s.unpin(g)
	buf := make([]byte, end-segmentBody)
	lost, err := s.readSealed(g, buf)
	if err != nil {
		return false, err
	}
	s.rear.urgent = true
	defer func() { s.rear.urgent = false }()
	c := &cleaner{s: s, g: g, owned: make(map[queue.ID]bool)}
	defer c.free()
	_, _, bad := walk(buf, segmentBody, g.nonce, g.seq, func(off int64, r record) {
		if err == nil {
			err = c.visit(place{g.seq, uint32(off)}, r, buf[off-segmentBody:][:r.size()])
		}
	})
	if err == nil {
		err = c.flush()
	}
	if err != nil || c.skipped {
		return false, err
	}
	if lost != nil {
		s.loseTombs(g)
	}
	for _, r := range readable(bad, lost) {
		s.log.Error("queue: segment is damaged", "segment", g.number, "offset", r.from, "octets", r.to-r.from)
		s.saveRegion(g, r)
	}
	return s.orphans(g)
}

// mercy is how often it is tried to read a segment before what cannot be read
// is given up, or to use one again before it is.
const mercy = 3

// readSealed reads what a segment has.
func (s *Store) readSealed(g *segment, buf []byte) ([]region, error) {
	lost, err := readAround(g.f, buf, segmentBody, &retries{quit: s.keeper.quit})
	if err != nil || lost == nil || g.lost {
		return lost, err
	}
	if g.misses++; g.misses < mercy {
		return nil, fmt.Errorf("%d octets at %d cannot be read: %w", lost[0].to-lost[0].from, lost[0].from, syscall.EIO)
	}
	s.loseRegions(g, lost)
	return lost, nil
}

// visit moves a record if it is needed.
func (c *cleaner) visit(p place, r record, raw []byte) error {
	s := c.s
	s.index.Lock()
	e := c.copy(p, r, raw)
	s.index.Unlock()
	if e == nil {
		return nil
	}
	c.entries = append(c.entries, e)
	if c.size += len(e.buf); c.size >= maxBatch/4 {
		return c.flush()
	}
	return nil
}

// copy returns the entry that takes the place of a record, nil if it is not
// needed. The index is locked.
func (c *cleaner) copy(p place, r record, raw []byte) *entry {
	s := c.s
	switch r.kind {
	case kindMessage, kindState:
		slot, ok := s.index.Find(r.id)
		if ok && s.refers(slot, p) {
			return c.move(slot, p, r, raw)
		}
		if r.kind == kindState || r.arg == 0 || s.segments[r.arg] == nil || r.arg == p.seq {
			return nil
		}
		// The message is gone, but not what had the one that it replaced.
		d := decoder{b: r.meta}
		return c.tomb(header{kind: kindDone, id: d.head(r.flags).replaces, arg: r.arg})
	case kindDone, kindVoid:
		if r.arg != p.seq && s.segments[r.arg] != nil {
			return c.tomb(header{kind: r.kind, id: r.id, arg: r.arg})
		}
	}
	return nil
}

// refers reports whether the record at p is one of the message's.
func (s *Store) refers(slot agenda.Slot, p place) bool {
	d := &s.index.Item(slot).Data
	if d.msg == p || d.stateLen != 0 && d.state == p {
		return true
	}
	for _, l := range s.chains[slot] {
		if l.place == p {
			return true
		}
	}
	return false
}

// move returns the copy of a record of a message that is in the queue. The
// copy keeps the log number: it takes the place of the old one in every way.
func (c *cleaner) move(slot agenda.Slot, p place, r record, raw []byte) *entry {
	s := c.s
	if !c.owned[r.id] {
		if free, err := s.tryOwn(r.id); free != nil || err != nil {
			c.skipped = true
			return nil
		}
		c.owned[r.id] = true
	}
	e := &entry{header: r.header, buf: append([]byte(nil), raw...)}
	e.apply = func(to place) {
		size := uint32(len(e.buf))
		s.keep(to, size)
		s.release(p, size)
		s.relocate(slot, p, to)
		if r.kind == kindMessage && r.arg != 0 {
			s.addTomb(s.segments[to.seq], r.arg)
		}
	}
	return e
}

func (s *Store) relocate(slot agenda.Slot, from, to place) {
	d := &s.index.Item(slot).Data
	switch from {
	case d.msg:
		d.msg = to
	case d.state:
		d.state = to
	}
	for i, l := range s.chains[slot] {
		if l.place == from {
			s.chains[slot][i].place = to
		}
	}
}

// tomb returns the copy of a record that says that another does not count.
func (c *cleaner) tomb(h header) *entry {
	e := &entry{header: h, buf: bare(&h, nil)}
	e.header = h
	e.apply = func(to place) { c.s.addTomb(c.s.segments[to.seq], h.arg) }
	return e
}

// flush writes what was collected.
func (c *cleaner) flush() error {
	defer c.free()
	if len(c.entries) == 0 {
		return nil
	}
	err := c.s.rear.commit(c.entries...)
	c.entries, c.size = nil, 0
	return err
}

// free disowns the messages.
func (c *cleaner) free() {
	c.s.index.Lock()
	defer c.s.index.Unlock()
	for id := range c.owned {
		c.s.disownLocked(id)
	}
	clear(c.owned)
}

// loseTombs sees to the segments whose messages g may have had the end of, where
// it cannot be read: they have to go as well, for else those messages might
// come back to life.
func (s *Store) loseTombs(g *segment) {
	s.index.Lock()
	defer s.index.Unlock()
	for seq := range g.tombs {
		if other := s.segments[seq]; other != nil {
			other.half = true
		}
	}
}

// orphans deals with messages that are said to be in g, where they are not to
// be found: they are put aside. Then nothing keeps g, but the tombs that were
// copied.
func (s *Store) orphans(g *segment) (whole bool, err error) {
	s.index.Lock()
	clear(g.tombs)
	live := g.live
	s.index.Unlock()
	if live == 0 {
		return true, nil
	}
	for id := queue.ID(0); ; {
		s.index.Lock()
		slot, ok := s.index.After(id)
		lost := false
		if ok {
			id = s.index.Item(slot).ID()
			lost = s.rests(slot, g.seq)
		}
		s.index.Unlock()
		if !ok {
			return true, nil
		}
		if lost {
			if err := s.putAside(id, errCorrupt); err != nil && !errors.Is(err, queue.ErrNotFound) {
				return false, err
			}
		}
	}
}

// rests reports whether a message has a record in a segment.
func (s *Store) rests(slot agenda.Slot, seq uint32) bool {
	d := &s.index.Item(slot).Data
	if d.msg.seq == seq || d.stateLen != 0 && d.state.seq == seq {
		return true
	}
	for _, l := range s.chains[slot] {
		if l.seq == seq {
			return true
		}
	}
	return false
}
