package segstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// keeper is the goroutine that keeps the house: it gets segments ready before
// they are needed, frees those that are not needed any more, moves what keeps
// others from being freed, and writes checkpoints.
type keeper struct {
	call chan struct{}
	quit chan struct{}
	done sync.WaitGroup

	// How fast segments are being filled; guarded by the lock of the index.
	taken  time.Time     // when the last one was
	lasted time.Duration // the one before it
}

// start starts the goroutine; Close stops it.
func (k *keeper) start(s *Store) {
	k.call, k.quit = make(chan struct{}, 1), make(chan struct{})
	if s.opt.quiet {
		return
	}
	k.done.Go(func() {
		for {
			pause := s.keepHouse()
			var again <-chan time.Time
			if pause > 0 {
				again = time.After(pause)
			}
			select {
			case <-k.call:
			case <-again:
			case <-k.quit:
				return
			}
		}
	})
}

func (k *keeper) stop() {
	close(k.quit)
	k.done.Wait()
}

// wake makes the keeper look around. It may be called with any lock held.
func (k *keeper) wake() {
	select {
	case k.call <- struct{}{}:
	default:
	}
}

// The keeper's pauses: before it tries again what was in use, and what failed.
const (
	pauseBusy   = 100 * time.Millisecond
	pauseFailed = 5 * time.Second
)

// keepHouse does what there is to do, and returns after which time to try
// again what could not be done; 0: when it is called.
func (s *Store) keepHouse() time.Duration {
	if err := errors.Join(s.front.settle(), s.rear.settle()); err != nil {
		return pauseFailed
	}
	if !s.loader.loaded() { // what is needed is not known yet
		return s.keepStock()
	}
	for {
		freed, err := s.freeSegments()
		if full(err) && squeeze(slices.Values(s.squeezable())) {
			freed, err = s.freeSegments()
		}
		if err != nil { // others may be, and the rest goes on
			s.log.Error("queue: cannot free a segment", "err", err)
		}
		stocked := s.stockUp()
		if full(stocked) && squeeze(slices.Values(s.squeezable())) {
			stocked = s.stockUp()
		}
		if stocked != nil {
			s.log.Error("queue: cannot get a segment ready", "err", stocked)
		}
		if s.checkpointDue() {
			if err := s.checkpoint(); err != nil {
				s.log.Error("queue: checkpoint failed", "err", err)
				return pauseFailed
			}
		}
		if err != nil {
			return pauseFailed
		}
		g := s.victim()
		if g == nil {
			switch {
			case freed:
				continue
			case stocked != nil:
				return pauseFailed
			}
			return 0
		}
		whole, err := s.clean(g)
		if err != nil {
			s.log.Error("queue: cannot move messages", "segment", g.number, "err", err)
			return pauseFailed
		}
		if !whole {
			return pauseBusy
		}
	}
}

// keepStock gets segments ready, and nothing else.
func (s *Store) keepStock() time.Duration {
	if err := s.stockUp(); err != nil {
		s.log.Error("queue: cannot get a segment ready", "err", err)
		return pauseFailed
	}
	return 0
}

// wantSpares is how many segments are kept ready. The last one is in reserve:
// on a full disk no new message gets it, so that what becomes of the others
// can still be written.
const wantSpares = 2

// takeSegment returns a segment to append to, pinned. Only with reserve may it
// be the last one.
func (s *Store) takeSegment(reserve bool) (*segment, error) {
	if g := s.takeSpare(reserve); g != nil {
		s.keeper.wake()
		return g, nil
	}
	least := s.opt.segmentSize
	if reserve {
		least /= 2
	}
	g, err := s.newSegment(false, least)
	if err != nil {
		return nil, err
	}
	s.index.Lock()
	defer s.index.Unlock()
	return s.use(g), nil
}

func (s *Store) takeSpare(reserve bool) *segment {
	s.index.Lock()
	defer s.index.Unlock()
	n := len(s.spares)
	if n == 0 || n == 1 && !reserve {
		return nil
	}
	g := s.spares[n-1]
	s.spares = s.spares[:n-1]
	return s.use(g)
}

// use pins a segment that is to be appended to. The index is locked.
func (s *Store) use(g *segment) *segment {
	s.segments[g.seq] = g
	g.pins++
	now := time.Now()
	s.keeper.lasted, s.keeper.taken = now.Sub(s.keeper.taken), now
	return g
}

// nextLabel returns the label of a new use.
func (s *Store) nextLabel() label {
	var nonce [8]byte
	rand.Read(nonce[:])
	return label{
		seq: s.lastSeq.Add(1), nonce: binary.LittleEndian.Uint64(nonce[:]),
		nextID: s.nextID.Load(), lsn: s.nextLSN.Load(),
	}
}

// newSegment makes a segment file. It gets its name when it can be read, and
// is used when the name is durable. If there is time it is filled: then a sync
// of what is appended has only data to write, while blocks that were reserved
// and never written cost an entry in the file system's own journal, too, and
// wait there for what others write. On a full disk it may be smaller than others,
// but of the length least.
func (s *Store) newSegment(filled bool, least int64) (*segment, error) {
	s.making.Lock() // else another's failed sync of the directory could be ours
	defer s.making.Unlock()
	number := s.nextNumber.Add(1) - 1
	path := s.segmentPath(number)
	unfinished := strings.TrimSuffix(path, ".seg") + ".new"
	f, err := s.fs.Create(unfinished, 0o600)
	if err != nil {
		return nil, err
	}
	g := &segment{label: s.nextLabel(), number: number, f: f, end: segmentBody}
	if err = s.allocate(g, least); err == nil && filled {
		err = fill(f, g.room)
	}
	if err == nil {
		err = writeLabel(f, &g.label)
	}
	if err == nil {
		err = s.fs.Rename(unfinished, path)
	}
	if err != nil {
		f.Close()
		s.fs.Remove(unfinished)
		return nil, err
	}
	if err = s.fs.SyncDir(filepath.Join(s.dir, "segments")); err != nil {
		f.Close()
		s.fs.Remove(path)
		return nil, err
	}
	return g, nil
}

// fill writes zeros to all of a file; writeLabel's sync is for them, too.
func fill(f spoolfs.File, size int64) error {
	zeros := make([]byte, min(size, 256<<10))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return nil
}

// lastsLong is how long a segment lasts when there is time to fill the next.
const lastsLong = 200 * time.Millisecond

// stockUp makes segments until there are enough in reserve; not before the
// store is written to. They are filled unless so much is written that many
// share a sync, and the time to fill them is better spent on that.
func (s *Store) stockUp() error {
	for {
		s.index.Lock()
		enough := len(s.spares) >= wantSpares || len(s.segments) == 0
		filled, least := s.keeper.lasted >= lastsLong, s.opt.segmentSize
		if len(s.spares) == 0 {
			least /= 2 // better than no reserve
		}
		s.index.Unlock()
		if enough {
			return nil
		}
		g, err := s.newSegment(filled, least)
		if err != nil {
			return err
		}
		s.index.Lock()
		s.spares = append(s.spares, g)
		s.index.Unlock()
	}
}

// freeSegments makes what is not needed any more ready for another use. While
// there is a segment with copies of what was moved, or a broken one, no other
// is freed: a message that is gone might come back to life in it when the
// record of its end is freed.
func (s *Store) freeSegments() (freed bool, err error) {
	for {
		g := s.freeable()
		if g == nil {
			return freed, nil
		}
		if err := s.reuse(g); err != nil {
			return freed, err
		}
		freed = true
	}
}

func (s *Store) freeable() *segment {
	s.index.Lock()
	defer s.index.Unlock()
	var found *segment
	for _, g := range s.segments {
		if g.sealed && g.pins == 0 && g.needed() == 0 {
			if g.first() {
				return g
			}
			found = g
		}
	}
	if s.unsettled() {
		return nil
	}
	return found
}

// unsettled reports whether there is a segment that has to go before others.
func (s *Store) unsettled() bool {
	for _, g := range s.segments {
		if g.first() {
			return true
		}
	}
	return false
}

// reuse voids a segment durably, and keeps the file as a spare, or empty until
// the next checkpoint: the last one may still name it.
func (s *Store) reuse(g *segment) error {
	s.index.Lock()
	spare, lost := !g.broken && len(s.spares) < wantSpares, g.lost
	s.index.Unlock()
	if lost {
		if err := s.retire(g); err != nil {
			return err
		}
		s.index.Lock()
		defer s.index.Unlock()
		s.dropSegment(g)
		return nil
	}
	fresh := &segment{label: s.nextLabel(), number: g.number, f: g.f, end: segmentBody}
	spare = spare && s.restore(fresh) == nil
	fresh.void = !spare
	err := writeLabel(g.f, &fresh.label)
	if err == nil && !spare { // if that fails it is void nevertheless, and is removed
		if failed := errors.Join(g.f.Truncate(segmentBody), g.f.Close()); failed != nil {
			s.log.Warn("queue: cannot empty a segment", "segment", g.number, "err", failed)
		}
	}
	if err != nil {
		s.index.Lock()
		defer s.index.Unlock()
		g.broken = true // it may be half voided: it must go before others
		g.misses++
		g.lost = g.misses >= mercy && !full(err)
		return err
	}
	s.index.Lock()
	defer s.index.Unlock()
	s.dropSegment(g)
	if spare {
		s.spares = append(s.spares, fresh)
	} else {
		s.doomed = append(s.doomed, g.number)
	}
	return nil
}

// dropSegment forgets a segment. The index is locked.
func (s *Store) dropSegment(g *segment) {
	delete(s.segments, g.seq)
	for _, other := range s.segments {
		delete(other.tombs, g.seq)
	}
}

// victim chooses a segment to be cleaned: one that must go, or when more than
// half of all space is not needed, the one with the least to move.
func (s *Store) victim() *segment {
	s.index.Lock()
	defer s.index.Unlock()
	var best *segment
	least, needed := int64(math.MaxInt64), int64(0)
	for _, g := range s.segments {
		n := g.needed()
		needed += n
		if !g.sealed || n == 0 {
			continue
		}
		if g.first() {
			return g
		}
		if n < least {
			best, least = g, n
		}
	}
	total := int64(len(s.segments)) * s.opt.segmentSize
	if total <= 2*needed+4*s.opt.segmentSize || least > s.opt.segmentSize/2 {
		return nil
	}
	return best
}

// checkpointAfter is how much is logged between checkpoints: in proportion to
// what one takes. The index is locked.
func (s *Store) checkpointAfter() int64 { return max(s.opt.logMax, 12*itemLen*int64(s.index.Len())) }

func (s *Store) checkpointDue() bool {
	s.index.Lock()
	defer s.index.Unlock()
	return s.logged >= s.checkpointAfter() || len(s.doomed) > 8+len(s.segments)/4
}
