package segstore

import (
	"errors"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// A disk that cannot give what it has, be it a sector or a file, costs what
// is there and nothing else. What of it was in the queue is not any more. What
// it said of messages that are elsewhere is not known: if it was their end they
// are delivered once more. No number is given that may stand there, and the file
// is kept as it is, in the quarantine in the end.

// retries is what a disk is given that cannot give what it has.
type retries struct {
	quit   <-chan struct{} // closed when nobody waits for it any more
	pauses atomic.Int32    // how often something may be tried again
}

// Some disks come to themselves. A start gives all of its files together
// manyTries, with a pause before each.
const (
	manyTries = 10
	tryAgain  = 500 * time.Millisecond
)

// pause reports whether to try again, after a pause.
func (p *retries) pause() bool {
	if p.pauses.Add(-1) < 0 {
		return false
	}
	select {
	case <-time.After(tryAgain):
	case <-p.quit:
	}
	return true
}

func (p *retries) over() bool { return isClosed(p.quit) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sector is the least that is given up. A disk may take seconds for each: after
// slowest no more are tried.
const (
	sector  = 4096
	slowest = time.Minute
)

// readAround fills buf with what f has from the offset off on; what is behind
// the end is zero. Where f cannot be read buf is zero, and the list tells where
// that is.
func readAround(f spoolfs.File, buf []byte, off int64, p *retries) (lost []region, err error) {
	err = readZeros(f, buf, off)
	for spoolfs.Unreadable(err) && p.pause() && !p.over() {
		err = readZeros(f, buf, off)
	}
	if !spoolfs.Unreadable(err) {
		return nil, err
	}
	return readSectors(f, buf, off, p)
}

// readSectors reads up to what cannot be read, and goes on in the next sector.
func readSectors(f spoolfs.File, buf []byte, off int64, p *retries) (lost []region, err error) {
	for began := time.Now(); len(buf) > 0; {
		if p.over() {
			return nil, errStopped
		}
		n, err := f.ReadAt(buf, off)
		if !spoolfs.Unreadable(err) {
			clear(buf[n:])
			return lost, notEOF(err)
		}
		buf, off = buf[n:], off+int64(n)
		n = len(buf)
		if time.Since(began) < slowest {
			n = min(n, sector-int(off%sector))
			err = readZeros(f, buf[:n], off)
		}
		switch {
		case spoolfs.Unreadable(err):
			clear(buf[:n])
			lost = extend(lost, off, off+int64(n))
		case err != nil:
			return nil, err
		}
		buf, off = buf[n:], off+int64(n)
	}
	return lost, nil
}

// readZeros reads; what is behind the end is zero.
func readZeros(f spoolfs.File, buf []byte, off int64) error {
	n, err := f.ReadAt(buf, off)
	clear(buf[n:])
	return notEOF(err)
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// without returns what is left of a region.
func (r region) without(lost []region) (left []region) {
	for _, l := range lost {
		if l.to <= r.from || l.from >= r.to {
			continue
		}
		if l.from > r.from {
			left = append(left, region{r.from, l.from})
		}
		r.from = min(l.to, r.to)
	}
	if r.from < r.to {
		left = append(left, r)
	}
	return left
}

// readable returns what of some regions is not among those that are lost.
func readable(regions, lost []region) (left []region) {
	for _, r := range regions {
		left = append(left, r.without(lost)...)
	}
	return left
}

// loseRegions notes that parts of a segment cannot be read.
func (s *Store) loseRegions(g *segment, lost []region) {
	for _, l := range lost {
		s.quarantined.Add(1)
		s.log.Error("queue: part of a segment cannot be read", "file", s.segmentPath(g.number), "offset", l.from, "octets", l.to-l.from)
	}
	s.index.Lock()
	defer s.index.Unlock()
	g.lost = true
}

// The margins for a segment of which nothing is known. It may have been used a
// few times since any other was.
const (
	marginSeq = 1 << 16
	marginIDs = 1 << 24
)

// loseSegment notes that a segment's label cannot be read. No number is given
// that may be in it, nor the number of its use, which records elsewhere may
// name.
func (r *recovery) loseSegment(path string, err error) {
	r.labels = append(r.labels, path)
	r.damage.Store(true)
	r.s.quarantined.Add(1)
	r.s.log.Error("queue: segment cannot be read, it is put aside", "file", path, "err", err)
}

// putLostAside moves the segments without a label to the quarantine, when there
// is a checkpoint to tell the next start which numbers may be in them.
func (r *recovery) putLostAside() {
	if len(r.labels) == 0 {
		return
	}
	if err := r.s.checkpoint(); err != nil {
		r.s.log.Error("queue: checkpoint failed, segments that cannot be read stay where they are", "err", err)
		return
	}
	for _, path := range r.labels {
		r.s.saveFile(path)
	}
}

// retire moves a segment to the quarantine that cannot be read as a whole, and
// that nothing else is needed of. Its name is gone for good, and there is a
// checkpoint without it, before the ends of its messages may be forgotten.
func (s *Store) retire(g *segment) error {
	path := s.segmentPath(g.number)
	to := s.quarantinePath(path)
	if err := s.fs.Rename(path, to); err != nil {
		return err
	}
	err := errors.Join(s.fs.SyncDir(filepath.Dir(to)), s.fs.SyncDir(filepath.Dir(path)))
	if err == nil {
		err = s.checkpoint()
	}
	if err != nil {
		s.fs.Rename(to, path)
		return err
	}
	s.log.Error("queue: segment that cannot be read or written put aside", "segment", g.seq, "file", to)
	return g.f.Close()
}
