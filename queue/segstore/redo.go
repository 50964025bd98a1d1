package segstore

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// The last batch of a segment may be in memory only when a process finds it:
// if its sync has failed, a sync that succeeds later does not save it. So it is
// written again before anything rests on it. If power fails then, what was
// saved may be torn: so it is first written to a file of its own, the redo
// file, from which it is written once more at the next start.
const redoMagic = "sqmailR1"

func (s *Store) redoPath() string { return filepath.Join(s.dir, "redo") }

// piece is a part of a segment to be written again.
type piece struct {
	g       *segment
	off     int64
	size    int64
	content []byte // nil: as it is in the segment
}

// read returns the content, in buf if there is room.
func (p *piece) read(buf []byte) ([]byte, error) {
	if p.content != nil {
		return p.content, nil
	}
	if int64(cap(buf)) < p.size {
		buf = make([]byte, p.size)
	}
	buf = buf[:p.size]
	if n, err := p.g.f.ReadAt(buf, p.off); n < len(buf) {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return buf, nil
}

// secure makes durable what was read.
func (r *recovery) secure() error {
	var pieces []piece
	for _, t := range r.tails {
		for _, part := range readable([]region{{t.last, t.end}}, t.lost) {
			pieces = append(pieces, piece{g: t.g, off: part.from, size: part.to - part.from})
		}
	}
	err := r.again(pieces)
	if full(err) {
		return r.secureBits(pieces)
	}
	if err == nil {
		r.removeRedo()
	}
	return err
}

// secureBits is secure on a full disk: piece by piece.
func (r *recovery) secureBits(pieces []piece) error {
	squeeze(r.closed())
	most := r.s.opt.segmentSize / 16
	for _, p := range pieces {
		for end := p.off + p.size; p.off < end; p.off += most {
			p.size = min(most, end-p.off)
			r.removeRedo() // of the piece before, or else it would need its space
			if err := r.spacious(func() error { return r.again([]piece{p}) }); err != nil {
				return err
			}
		}
	}
	r.removeRedo()
	return nil
}

func (r *recovery) removeRedo() {
	if err := r.s.fs.Remove(r.s.redoPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.s.log.Warn("queue: redo file left behind", "err", err) // to use it again does no harm
	}
}

// again writes pieces to the redo file, and when that is durable to where they
// belong.
func (r *recovery) again(pieces []piece) error {
	if len(pieces) == 0 {
		return nil
	}
	if err := r.writeRedo(pieces); err != nil {
		return err
	}
	return r.follow(pieces)
}

// follow writes pieces to where they belong.
func (r *recovery) follow(pieces []piece) error {
	var buf []byte
	for i := range pieces {
		p := &pieces[i]
		b, err := p.read(buf)
		if err != nil {
			return err
		}
		if buf = b; r.s.loader.stopped() {
			return errStopped
		}
		if _, err := p.g.f.WriteAt(b, p.off); err != nil {
			return err
		}
		if err := p.g.f.Datasync(); err != nil {
			return err
		}
	}
	return nil
}

var errStopped = errors.New("segstore: closed meanwhile")

func (r *recovery) writeRedo(pieces []piece) error {
	s := r.s
	unfinished := s.redoPath() + ".new"
	if err := s.fs.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.fs.Create(unfinished, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fillRedo(f, pieces), f.Close()); err != nil {
		s.fs.Remove(unfinished)
		return err
	}
	if err := s.fs.Rename(unfinished, s.redoPath()); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

func fillRedo(f spoolfs.File, pieces []piece) error {
	w := &checkpointWriter{f: f, buf: []byte(redoMagic)}
	var buf []byte
	for i := range pieces {
		p := &pieces[i]
		b, err := p.read(buf)
		if err != nil {
			return err
		}
		buf = b
		w.u32(p.g.seq)
		w.u32(uint32(p.off))
		w.u32(uint32(len(b)))
		if w.buf = append(w.buf, b...); len(w.buf) > maxBatch/4 {
			w.flush()
		}
	}
	w.u32(0)
	w.flush()
	w.u32(w.sum)
	w.flush()
	if w.err != nil {
		return w.err
	}
	return f.Datasync()
}

// redo does what the redo file says, if there is one: power has failed, or the
// process has died, before that was done. The file itself may be in memory only.
func (r *recovery) redo() error {
	b, err := r.readRedo()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case spoolfs.Unreadable(err):
		r.s.log.Error("queue: redo file cannot be read", "file", r.s.redoPath(), "err", err)
		r.foreign(r.s.redoPath())
		return nil
	case err != nil:
		return err
	}
	pieces := r.parseRedo(b)
	if err = r.again(pieces); full(err) { // there is one already, which is most likely on the disk
		err = r.follow(pieces)
	}
	return err
}

func (r *recovery) readRedo() ([]byte, error) {
	f, err := r.s.fs.Open(r.s.redoPath())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return readPart(f, 0, size)
}

// parseRedo returns the pieces in a redo file that belong to segments which
// are still in that use; none if it is not whole: then it was not followed.
func (r *recovery) parseRedo(b []byte) (pieces []piece) {
	n := len(b) - 4
	if n < len(redoMagic) || string(b[:len(redoMagic)]) != redoMagic || binary.LittleEndian.Uint32(b[n:]) != checksum(b[:n]) {
		return nil
	}
	in := reader{b: b[len(redoMagic):n]}
	for seq := in.u32(); seq != 0 && in.err == nil; seq = in.u32() {
		off, size := int64(in.u32()), int(in.u32())
		if size > len(in.b) {
			break
		}
		if p := in.take(size); r.segments[seq] != nil && off >= segmentBody {
			pieces = append(pieces, piece{g: r.segments[seq], off: off, size: int64(size), content: p})
		}
	}
	return pieces
}
