package segstore

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
	"github.com/sqmail/sqmail/queue/internal/journal"
)

// inMemory is up to what size a message that is leased or opened is kept in
// memory, rather than its segment in place.
const inMemory = 64 << 10

// opened is a message that is being read.
type opened struct {
	queue.Entry
	content content

	s      *Store
	file   spoolfs.File // the body is in it
	pinned *segment     // or in this segment, in place
}

// close is called once.
func (o *opened) close() {
	if o.file != nil {
		o.file.Close()
	}
	if o.pinned != nil {
		o.s.unpin(o.pinned)
	}
}

// where is what the index says of a message's records, with the segments that
// have them pinned.
type where struct {
	entry  queue.Entry
	meta   meta
	states []link
	file   bodyFile
	pinned map[uint32]*segment
}

// locate looks a message up, and pins its segments. The index is locked.
func (s *Store) locate(slot agenda.Slot) *where {
	it := s.index.Item(slot)
	w := &where{meta: it.Data, file: s.bodies[it.ID()], pinned: make(map[uint32]*segment, 2)}
	s.index.State(slot, &w.entry)
	w.states = append(w.states, s.chains[slot]...)
	if w.meta.stateLen != 0 {
		w.states = append(w.states, link{w.meta.state, w.meta.stateLen})
	}
	w.pin(s, w.meta.msg.seq)
	for _, l := range w.states {
		w.pin(s, l.seq)
	}
	return w
}

func (w *where) pin(s *Store, seq uint32) {
	if g := s.segments[seq]; g != nil && w.pinned[seq] == nil {
		g.pins++
		w.pinned[seq] = g
	}
}

func (s *Store) unpin(segments ...*segment) {
	s.index.Lock()
	defer s.index.Unlock()
	for _, g := range segments {
		if g.pins--; g.pins == 0 && g.sealed && g.live == 0 {
			s.keeper.wake()
		}
	}
}

// read reads a message, and frees its segments. With verify it also checks
// the body.
func (s *Store) read(w *where, verify bool) (*opened, error) {
	o := &opened{Entry: w.entry, s: s}
	err := s.readMessage(w, o, verify)
	if err == nil {
		err = s.readStates(w, o)
	}
	var free []*segment
	for _, g := range w.pinned {
		if g != o.pinned {
			free = append(free, g)
		}
	}
	s.unpin(free...)
	if err != nil {
		o.close()
		return nil, fmt.Errorf("message %v: %w", w.entry.ID, err)
	}
	return o, nil
}

func (s *Store) readMessage(w *where, o *opened, verify bool) error {
	g := w.pinned[w.meta.msg.seq]
	if g == nil {
		return fmt.Errorf("segment %d is not there: %w", w.meta.msg.seq, errCorrupt)
	}
	r, err := readRecord(g, w.meta.msg, w.meta.msgLen, verify)
	if err != nil {
		return err
	}
	if r.kind != kindMessage || r.id != w.entry.ID {
		return errCorrupt
	}
	d := decoder{b: r.meta}
	m := d.head(r.flags)
	if d.err == nil && r.flags&flagFile != 0 {
		if err := s.openBody(o, &m, r.flags, verify, &d); err != nil {
			return err
		}
	} else {
		o.content.size = int64(r.dataLen)
		if len(r.data) == int(r.dataLen) && len(r.data) <= inMemory {
			o.content.body = memory(r.data)
		} else {
			o.content.body, o.content.off = g.f, int64(w.meta.msg.off)+headerLen
			o.pinned = g
		}
	}
	o.Envelope = d.envelope()
	if r.flags&flagFull != 0 {
		o.Journal = d.journal()
	}
	if d.err != nil {
		return d.err
	}
	o.content.head = o.Envelope.Header
	o.Arrived = m.arrived
	o.Size = int64(len(o.content.head)) + o.content.size
	return nil
}

// memory is a body in memory.
type memory []byte

// ReadAt is only asked for what is there.
func (m memory) ReadAt(p []byte, off int64) (int, error) { return copy(p, m[off:]), nil }

// readRecord reads a record of a segment. Without verify it may leave out the
// data of a large one.
func readRecord(g *segment, p place, size uint32, verify bool) (record, error) {
	if !verify && size > inMemory/16 {
		return readMeta(g, p)
	}
	buf := make([]byte, size)
	if _, err := g.f.ReadAt(buf, int64(p.off)); err != nil && !errors.Is(err, io.EOF) {
		return record{}, err
	}
	r, ok := parseRecord(buf, g.nonce, g.seq)
	if !ok || r.size() != int64(size) {
		return r, fmt.Errorf("segment %d, offset %d: %w", g.number, p.off, errCorrupt)
	}
	return r, nil
}

// readMeta reads a record without its data.
func readMeta(g *segment, p place) (r record, err error) {
	var b [headerLen]byte
	if _, err := g.f.ReadAt(b[:], int64(p.off)); err != nil && !errors.Is(err, io.EOF) {
		return r, err
	}
	h, ok := parseHeader(b[:], g.nonce, g.seq)
	if !ok {
		return r, errCorrupt
	}
	r = record{header: h, meta: make([]byte, h.metaLen)}
	if _, err := g.f.ReadAt(r.meta, int64(p.off)+headerLen+int64(h.dataLen)); err != nil && !errors.Is(err, io.EOF) {
		return r, err
	}
	if checksum(r.meta) != h.metaCRC {
		return r, errCorrupt
	}
	return r, nil
}

// openBody opens the file that a body is in, and finds the rest of the meta.
func (s *Store) openBody(o *opened, m *message, flags uint8, verify bool, d *decoder) error {
	f, err := s.fs.Open(s.bodyPath(m.file.number))
	if err != nil {
		return err
	}
	o.file = f
	o.content.body, o.content.size = f, m.file.size
	if flags&flagMeta != 0 {
		rest, err := readPart(f, m.file.size, m.file.metaLen)
		if err != nil {
			return err
		}
		if checksum(rest) != m.file.metaCRC {
			return fmt.Errorf("body file %d: %w", m.file.number, errCorrupt)
		}
		d.b = rest
	}
	if verify {
		return checkBody(f, m.file)
	}
	return nil
}

func readPart(f spoolfs.File, off, size int64) ([]byte, error) {
	have, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < 0 || off+size > have {
		return nil, errCorrupt
	}
	p := make([]byte, size)
	if _, err := f.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p, nil
}

// checkBody compares a body file with its checksum.
func checkBody(f spoolfs.File, file bodyFile) error {
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.NewSectionReader(f, 0, file.size))
	if err != nil {
		return err
	}
	if n != file.size || sum.Sum32() != file.crc {
		return fmt.Errorf("body file %d: %w", file.number, errCorrupt)
	}
	return nil
}

// readStates puts the journal together.
func (s *Store) readStates(w *where, o *opened) error {
	for _, l := range w.states {
		g := w.pinned[l.seq]
		if g == nil {
			return fmt.Errorf("segment %d is not there: %w", l.seq, errCorrupt)
		}
		r, err := readRecord(g, l.place, l.size, true)
		if err != nil {
			return err
		}
		st, err := decodeState(r.meta, r.flags)
		if err != nil || r.kind != kindState || r.id != w.entry.ID {
			return errCorrupt
		}
		if r.flags&flagFull != 0 {
			o.Journal = nil
		}
		o.Journal = append(o.Journal, st.attempts...)
		if r.flags&flagRetry != 0 {
			journal.SetDue(o.Journal, st.retry)
		}
	}
	o.Journal = journal.Compact(o.Journal)
	return nil
}
