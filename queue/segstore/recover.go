package segstore

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// recovery builds the index at the start: from the checkpoint, and from what
// was written after it. Records may stand in any order; what counts is decided
// when all have been seen.
type recovery struct {
	s       *Store
	snap    *snapshot
	files   map[uint64]bool // segment files that are there, by number
	stories map[queue.ID]*story
	known   map[uint32]bool   // segments in the checkpoint, by sequence number
	voids   map[uint32]uint32 // by segment, from which offset on it does not count
	damage  bool
}

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

func (s *Store) recover() error {
	s.nextID.Store(1)
	s.nextLSN.Store(1)
	s.nextNumber.Store(1)
	r := &recovery{s: s, files: make(map[uint64]bool), stories: make(map[queue.ID]*story), voids: make(map[uint32]uint32), known: make(map[uint32]bool)}
	snap, err := s.readSnapshot()
	switch {
	case errors.Is(err, errCorrupt):
		s.log.Error("queue: checkpoint is damaged, reading all segments")
		snap = nil
	case err != nil:
		return err
	}
	r.snap = snap
	if err := r.openSegments(); err != nil {
		return err
	}
	r.useSnapshot()
	if err := r.readSegments(); err != nil {
		return err
	}
	if err := r.build(); err != nil {
		return err
	}
	r.dropEmpty()
	return r.checkBodies()
}

// dropEmpty does away with segments that were never written to in this use:
// nothing says that their names are durable, unless the checkpoint does. Those
// are spares.
func (r *recovery) dropEmpty() {
	s := r.s
	for seq, g := range s.segments {
		if _, void := r.voids[seq]; void || g.end > segmentBody || len(g.tombs) > 0 || g.half || g.broken {
			continue
		}
		if r.known[seq] && len(s.spares) < wantSpares {
			g.sealed = false
			s.spares = append(s.spares, g)
			delete(s.segments, seq)
			continue
		}
		if r.known[seq] {
			continue
		}
		g.f.Close()
		delete(s.segments, seq)
		s.doomed = append(s.doomed, g.number) // until then its label is of use
	}
}

func raise(n interface {
	Load() uint64
	Store(uint64)
}, to uint64) {
	if n.Load() < to {
		n.Store(to)
	}
}

// openSegments opens the segment files and reads their labels.
func (r *recovery) openSegments() error {
	s := r.s
	dir := filepath.Join(s.dir, "segments")
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := s.fs.SyncDir(dir); err != nil { // what we see is to stay
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		number, ok := fileNumber(name, ".seg")
		if !ok {
			if strings.HasSuffix(name, ".new") {
				if err := s.fs.Remove(path); err != nil {
					return err
				}
				continue
			}
			r.foreign(path)
			continue
		}
		r.files[number] = true
		raise(&s.nextNumber, number+1)
		if err := r.openSegment(path, number); err != nil {
			return err
		}
	}
	return nil
}

// foreign puts a file aside that does not belong where it is.
func (r *recovery) foreign(path string) {
	r.damage = true
	r.s.quarantined.Add(1)
	r.s.log.Error("queue: foreign or damaged file put aside", "file", path)
	r.s.saveFile(path)
}

func (r *recovery) openSegment(path string, number uint64) error {
	s := r.s
	f, err := s.fs.Open(path)
	if errors.Is(err, spoolfs.ErrNotRegular) {
		r.foreign(path)
		return nil
	}
	if err != nil {
		return err
	}
	l, err := readLabel(f)
	if errors.Is(err, errLabel) || err == nil && !l.void && s.segments[l.seq] != nil {
		f.Close()
		r.foreign(path)
		return nil
	}
	if err != nil {
		f.Close()
		return err
	}
	raise(&s.nextID, l.nextID)
	raise(&s.nextLSN, l.lsn)
	if s.lastSeq.Load() < l.seq {
		s.lastSeq.Store(l.seq)
	}
	if l.void {
		s.doomed = append(s.doomed, number)
		return f.Close()
	}
	s.segments[l.seq] = &segment{label: l, number: number, f: f, end: segmentBody, sealed: true}
	return nil
}

// useSnapshot takes from the checkpoint how far the segments were read.
func (r *recovery) useSnapshot() {
	s, sn := r.s, r.snap
	if sn == nil {
		return
	}
	raise(&s.nextID, sn.nextID)
	raise(&s.nextLSN, sn.nextLSN)
	raise(&s.nextNumber, sn.nextNumber)
	if s.lastSeq.Load() < sn.lastSeq {
		s.lastSeq.Store(sn.lastSeq)
	}
	for _, token := range sn.tokens {
		s.tokens[token] = true
	}
	for seq, was := range sn.segments {
		r.known[seq] = true
		if g := s.segments[seq]; g != nil {
			g.end, g.half = was.end, was.half
			for target, size := range was.tombs {
				if s.segments[target] != nil {
					if g.tombs == nil {
						g.tombs = make(map[uint32]int64)
					}
					g.tombs[target] = size
				}
			}
		}
	}
}

// readSegments reads what was written after the checkpoint.
func (r *recovery) readSegments() error {
	seqs := slices.Sorted(maps.Keys(r.s.segments))
	for _, seq := range seqs {
		g := r.s.segments[seq]
		if r.snap != nil && r.snap.segments[seq] != nil && r.snap.segments[seq].sealed {
			continue
		}
		if err := r.readSegment(g); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) readSegment(g *segment) error {
	size, err := g.f.Size()
	if err != nil {
		return err
	}
	buf := make([]byte, max(size-g.end, 0))
	if n, err := g.f.ReadAt(buf, g.end); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("segment %d: %d octets read: %w", g.number, n, err)
	}
	from := g.end
	last, end, bad := walk(buf, from, g.nonce, g.seq, func(off int64, rec record) {
		r.note(link{place{g.seq, uint32(off)}, uint32(rec.size())}, rec)
	})
	g.end = end
	for _, b := range bad {
		r.damage = true
		r.s.quarantined.Add(1)
		r.s.log.Error("queue: segment is damaged", "segment", g.number, "offset", b.from, "octets", b.to-b.from)
		r.s.saveRegion(g, b)
	}
	if end == from {
		return nil
	}
	r.s.logged += end - from
	r.s.dirty = true
	// The last batch may be in memory only: if its sync has failed, a sync that
	// succeeds now does not save it. So it is written again.
	if _, err := g.f.WriteAt(buf[last-from:end-from], last); err != nil {
		return err
	}
	return g.f.Datasync()
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

// checkBodies removes body files that no message has. If anything was damaged
// they are put aside instead.
func (r *recovery) checkBodies() error {
	s := r.s
	dir := filepath.Join(s.dir, "bodies")
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	wanted := make(map[uint64]bool, len(s.bodies))
	for _, file := range s.bodies {
		wanted[file.number] = true
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		number, ok := fileNumber(name, ".body")
		raise(&s.nextNumber, number+1)
		switch {
		case !ok:
			r.foreign(path)
		case wanted[number]:
		case r.damage:
			r.foreign(path)
		default:
			if err := s.fs.Remove(path); err != nil {
				return err
			}
		}
	}
	return s.fs.SyncDir(dir)
}

// scanQuarantine reports what was put aside.
func (s *Store) scanQuarantine(yield func(*queue.Entry, error) bool) {
	names, err := s.fs.ReadDir(filepath.Join(s.dir, "quarantine"))
	if err != nil {
		yield(nil, storageError("scan", err))
		return
	}
	for _, name := range names {
		if !yield(nil, storageError("scan", fmt.Errorf("quarantine/%s: %w, put aside", name, errCorrupt))) {
			return
		}
	}
}
