package segstore

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
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
