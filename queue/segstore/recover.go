package segstore

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// recovery brings back what was in the store. Open waits for the first part:
// the checkpoint, the labels of the segments, and the first of what was written
// after the checkpoint. It is enough to give numbers that nobody has, and so to
// accept messages. The rest is done beside that (see load): to read what else
// was written, and to fill the index. Records may stand in any order; what
// counts is decided when all have been seen.
type recovery struct {
	s        *Store
	began    time.Time
	snap     *snapshot           // nil: there is none
	numbers  map[uint64]bool     // of the segment files that are there
	segments map[uint32]*segment // the same, by sequence number; not those that are made meanwhile
	bodies   []string            // names of body files
	damage   atomic.Bool

	unread []*segment         // what is still to be read
	tails  []*tail            // what was read, in the order of the segments
	voids  map[uint32]uint32  // by segment, from which offset on it does not count
	files  map[place]bodyFile // of messages that were read
	room   int64              // octets that may hold what the checkpoint does not know
	lost   atomic.Bool        // some of them cannot be read
	labels []string           // names of segments whose labels cannot be read
	guess  bool               // numbers were guessed, because not all was read
	retries

	building
}

func newRecovery(s *Store) *recovery {
	r := &recovery{
		s: s, began: time.Now(), numbers: make(map[uint64]bool), segments: make(map[uint32]*segment),
		voids: make(map[uint32]uint32), files: make(map[place]bodyFile),
		retries: retries{quit: s.loader.quit},
	}
	r.pauses.Store(manyTries)
	return r
}

// closeFiles is for when the store is not opened after all.
func (r *recovery) closeFiles() {
	for _, g := range r.segments {
		g.f.Close()
	}
}

// start is the first part.
func (r *recovery) start() error {
	s := r.s
	s.nextID.Store(1)
	s.nextLSN.Store(1)
	s.nextNumber.Store(1)
	snap, err := s.readSnapshot(&r.retries)
	switch {
	case errors.Is(err, errCorrupt):
		s.log.Error("queue: checkpoint is damaged, reading all segments", "file", s.checkpointPath())
		snap = nil
	case err != nil:
		return err
	}
	r.snap = snap
	if err := r.openSegments(); err != nil {
		return err
	}
	if err := r.redo(); err != nil {
		return err
	}
	r.useSnapshot()
	if err := r.listBodies(); err != nil {
		return err
	}
	s.segments = maps.Clone(r.segments)
	if err := r.read(r.choose()); err != nil {
		return err
	}
	r.raiseNumbers()
	return nil
}

func raise(n *atomic.Uint64, to uint64) {
	for {
		have := n.Load()
		if have >= to || n.CompareAndSwap(have, to) {
			return
		}
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
	if names, err = s.rename(names); err != nil {
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
		raise(&s.nextNumber, number+1)
		if err := r.openSegment(path, number); err != nil {
			return err
		}
	}
	return nil
}

// foreign puts a file aside that does not belong where it is.
func (r *recovery) foreign(path string) {
	r.damage.Store(true)
	r.s.quarantined.Add(1)
	r.s.log.Error("queue: foreign or damaged file put aside", "file", path)
	r.s.saveFile(path)
}

func (r *recovery) openSegment(path string, number uint64) error {
	s := r.s
	f, err := s.fs.Open(path)
	switch {
	case errors.Is(err, spoolfs.ErrNotRegular):
		r.foreign(path)
		return nil
	case spoolfs.Unreadable(err):
		r.loseSegment(path, err)
		return nil
	case err != nil:
		return err
	}
	l, lost, err := readLabel(f, &r.retries)
	switch {
	case errors.Is(err, errLabel):
		f.Close()
		r.loseSegment(path, err)
		return nil
	case err == nil && !l.void && r.segments[l.seq] != nil:
		f.Close()
		r.foreign(path)
		return nil
	case err != nil:
		f.Close()
		return err
	}
	r.numbers[number] = true
	raise(&s.nextID, l.nextID)
	raise(&s.nextLSN, l.lsn)
	if s.lastSeq.Load() < l.seq {
		s.lastSeq.Store(l.seq)
	}
	if l.void {
		s.doomed = append(s.doomed, number)
		return f.Close()
	}
	r.segments[l.seq] = &segment{label: l, number: number, f: f, end: segmentBody, sealed: true}
	if lost != nil {
		s.loseRegions(r.segments[l.seq], lost)
	}
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
		g := r.segments[seq]
		if g == nil {
			continue
		}
		g.end, g.half, g.lost = was.end, was.fate&fateFirst != 0, g.lost || was.fate&fateLost != 0
		for target, size := range was.tombs {
			if r.segments[target] != nil {
				g.addTomb(target, size)
			}
		}
	}
}

// listBodies takes down which body files there are: what comes later belongs
// to new messages.
func (r *recovery) listBodies() (err error) {
	if r.bodies, err = r.s.fs.ReadDir(filepath.Join(r.s.dir, "bodies")); err != nil {
		return err
	}
	for _, name := range r.bodies {
		if number, ok := fileNumber(name, ".body"); ok {
			raise(&r.s.nextNumber, number+1)
		}
	}
	return nil
}

// choose returns the segments that Open reads, and leaves the others that have
// something to be read for later.
func (r *recovery) choose() (now []*segment) {
	left := r.s.opt.openMax
	for _, seq := range slices.Sorted(maps.Keys(r.segments)) {
		if r.snap != nil && r.snap.segments[seq] != nil && r.snap.segments[seq].sealed {
			continue
		}
		g := r.segments[seq]
		size := r.s.opt.segmentSize - g.end
		r.room += size
		if left -= size; left >= 0 {
			now = append(now, g)
		} else {
			r.unread = append(r.unread, g)
		}
	}
	return now
}

// raiseNumbers sees to it that no number is given twice. What was not read has
// no more numbers than records have room, counted from the highest number that
// was found elsewhere: every number that was given has been written to one of
// these segments, for a segment that was used again since has a label with it.
// The same goes for numbers that were not given because the write failed. Log
// numbers are compared with those of the same message only, and nothing is
// written about a message that was there before all is read.
//
// What was read, but for a part that cannot be, is no different; and of a
// segment without a label not even that is known.
func (r *recovery) raiseNumbers() {
	if len(r.unread) == 0 && !r.lost.Load() && len(r.labels) == 0 {
		return
	}
	r.guess = true
	r.s.nextID.Add(uint64(r.room/headerLen) + uint64(len(r.labels))*marginIDs)
	r.s.nextLSN.Add(uint64(len(r.labels)) * marginIDs)
	r.s.lastSeq.Add(uint32(len(r.labels)) * marginSeq)
}

// raiseLSN does the same for log numbers, when all is read.
func (r *recovery) raiseLSN() {
	if r.lost.Load() {
		r.s.nextLSN.Add(uint64(r.room / headerLen))
	}
}
