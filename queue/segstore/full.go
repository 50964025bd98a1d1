package segstore

import (
	"iter"
	"path/filepath"
	"strings"
	"time"
)

// On a full disk nothing new is taken, but what is there must be able to go:
// its end is a record that needs a place. So a segment is kept in reserve (see
// wantSpares), also from one start to the next; and when there is none, space is
// taken back that segments have and do not use.

// squeeze gives back to the file system what segments have behind their
// records, if nothing is appended to them any more. It reports whether that was
// anything. Only who frees segments may call it: the keeper, and before there is
// something to keep, the loading.
func squeeze(segments iter.Seq[*segment]) (freed bool) {
	for g := range segments {
		size, err := g.f.Size()
		if err == nil && size > g.end {
			freed = g.f.Truncate(g.end) == nil || freed
		}
	}
	return freed
}

// squeezable returns the segments that nothing is appended to.
func (s *Store) squeezable() (list []*segment) {
	s.index.Lock()
	defer s.index.Unlock()
	for _, g := range s.segments {
		if g.sealed && !g.lost {
			list = append(list, g)
		}
	}
	return list
}

// restore gives a segment that is used again the space that squeeze has taken,
// or as much as there is.
func (s *Store) restore(g *segment) error {
	size, err := g.f.Size()
	if err != nil {
		return err
	}
	if g.room = size; size < s.opt.segmentSize {
		return s.allocate(g, s.opt.segmentSize/2)
	}
	return nil
}

// allocate reserves space for a segment, least at least: the reserve may be
// smaller than others, but any record fits in half a segment that is not a new
// message.
func (s *Store) allocate(g *segment, least int64) (err error) {
	for g.room = s.opt.segmentSize; g.room >= least; g.room /= 2 {
		if err = g.f.Allocate(g.room); !full(err) {
			break
		}
	}
	return err
}

// spaceAgain is how long to wait for space when it is needed to go on.
const spaceAgain = 5 * time.Second

// spacious does what needs space, and if there is none, waits for it.
func (r *recovery) spacious(do func() error) error {
	for {
		err := do()
		if !full(err) {
			return err
		}
		r.s.log.Error("queue: no space to load the index, which is tried again", "err", err)
		select {
		case <-time.After(spaceAgain):
		case <-r.s.loader.quit:
			return errStopped
		}
	}
}

// closed yields the segments that were there at the start.
func (r *recovery) closed() iter.Seq[*segment] {
	return func(yield func(*segment) bool) {
		for _, g := range r.segments {
			if !g.lost && !yield(g) {
				return
			}
		}
	}
}

// adopt makes a spare of a segment that was never written to in this use. Its
// name may be in memory only, for a sync of it may have failed: so it is taken
// away and given back, and synced then. The number stays, for the last checkpoint
// may know it from a former use.
func (s *Store) adopt(g *segment) (*segment, error) {
	s.making.Lock()
	defer s.making.Unlock()
	fresh := &segment{label: s.nextLabel(), number: g.number, f: g.f, end: segmentBody}
	path := s.segmentPath(g.number)
	err := s.restore(fresh)
	if err == nil {
		err = writeLabel(g.f, &fresh.label)
	}
	if err == nil {
		err = s.fs.Rename(path, renamedPath(path))
	}
	if err == nil {
		err = s.fs.Rename(renamedPath(path), path)
	}
	if err == nil {
		err = s.fs.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// renamedSuffix is what a segment is called while it has lost its name.
const renamedSuffix = ".again"

func renamedPath(path string) string { return strings.TrimSuffix(path, ".seg") + renamedSuffix }

// rename gives segments their names back. It returns all names.
func (s *Store) rename(names []string) ([]string, error) {
	for i, name := range names {
		number, ok := fileNumber(name, renamedSuffix)
		if !ok {
			continue
		}
		path := s.segmentPath(number)
		if err := s.fs.Rename(renamedPath(path), path); err != nil {
			return nil, err
		}
		names[i] = filepath.Base(path)
	}
	return names, nil
}
