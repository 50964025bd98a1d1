package segstore

import (
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// A disk that cannot give what it has, be it a sector or a file, costs what
// is there and nothing else. What of it was in the queue is not any more. What
// it said of messages that are elsewhere is not known: if it was their end they
// are delivered once more. No number is given that may stand there, and the file
// is kept as it is, in the quarantine in the end.

// tries is how often what cannot be read is tried, and tryAgain the pause
// between: some disks come to themselves.
const (
	tries    = 3
	tryAgain = 500 * time.Millisecond
)

// sector is the least that is given up.
const sector = 4096

// readAround fills buf with what f has from the offset off on; what is behind
// the end is zero. Where f cannot be read buf is zero, and the list tells where
// that is.
func readAround(f spoolfs.File, buf []byte, off int64) (lost []region, err error) {
	for n := 1; ; n++ {
		if err = readZeros(f, buf, off); !spoolfs.Unreadable(err) {
			return nil, err
		}
		if n == tries {
			return readHalves(f, buf, off)
		}
		<-time.After(tryAgain)
	}
}

// readHalves reads what cannot be read at once in two parts.
func readHalves(f spoolfs.File, buf []byte, off int64) (lost []region, err error) {
	if err = readZeros(f, buf, off); !spoolfs.Unreadable(err) {
		return nil, err
	}
	end := off + int64(len(buf))
	middle := (off + int64(len(buf))/2) / sector * sector
	if middle <= off {
		middle += sector
	}
	if middle >= end {
		clear(buf)
		return []region{{off, end}}, nil
	}
	lost, err = readHalves(f, buf[:middle-off], off)
	if err != nil {
		return nil, err
	}
	more, err := readHalves(f, buf[middle-off:], middle)
	for _, r := range more {
		lost = extend(lost, r.from, r.to)
	}
	return lost, err
}

// readZeros reads; what is behind the end is zero.
func readZeros(f spoolfs.File, buf []byte, off int64) error {
	n, err := f.ReadAt(buf, off)
	clear(buf[n:])
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
	s.log.Error("queue: segment that cannot be read as a whole put aside", "segment", g.seq, "file", to)
	return g.f.Close()
}
