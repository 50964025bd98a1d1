package segstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// A checkpoint is the index as a file, so that a start need not read all
// segments. It is made while the store goes on: it says how far each segment
// had been read into the index when it was begun, and what was written behind
// that is read again at the start. It can be deleted: without it a start takes
// longer, and that is all.
const (
	checkpointMagic = "sqmailC1"
	itemLen         = 44
)

// checkpointWriter writes a file from its beginning, and sums it up.
type checkpointWriter struct {
	f   spoolfs.File
	off int64
	sum uint32
	buf []byte
	err error
}

func (w *checkpointWriter) u32(n uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, n) }
func (w *checkpointWriter) u64(n uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, n) }

func (w *checkpointWriter) place(p place) { w.u32(p.seq); w.u32(p.off) }

func (w *checkpointWriter) flag(v bool) {
	if v {
		w.u32(1)
	} else {
		w.u32(0)
	}
}

// flush writes what is buffered.
func (w *checkpointWriter) flush() {
	if w.err == nil {
		_, w.err = w.f.WriteAt(w.buf, w.off)
	}
	w.off += int64(len(w.buf))
	w.sum = crc32.Update(w.sum, castagnoli, w.buf)
	w.buf = w.buf[:0]
}

func (s *Store) checkpointPath() string { return filepath.Join(s.dir, "checkpoint") }

// checkpoint writes one. Only one goroutine at a time may.
func (s *Store) checkpoint() error {
	path := s.checkpointPath()
	unfinished := path + ".new"
	if err := s.fs.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.fs.Create(unfinished, 0o600)
	if err != nil {
		return err
	}
	w := &checkpointWriter{f: f}
	logged, doomed := s.checkpointHead(w)
	s.checkpointItems(w)
	w.u64(0)
	w.flush()
	w.u32(w.sum)
	w.flush()
	if w.err == nil {
		w.err = f.Datasync()
	}
	if err := errors.Join(w.err, f.Close()); err != nil {
		s.fs.Remove(unfinished)
		return err
	}
	if err := s.fs.Rename(unfinished, path); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	s.checkpointed(logged, doomed)
	return nil
}

// checkpointHead writes all but the messages, and from when the checkpoint
// dates.
func (s *Store) checkpointHead(w *checkpointWriter) (logged int64, doomed []uint64) {
	s.index.Lock()
	defer s.index.Unlock()
	s.dirty = false
	w.buf = append(w.buf, checkpointMagic...)
	w.u64(s.nextID.Load())
	w.u64(s.nextLSN.Load())
	w.u64(s.nextNumber.Load())
	w.u32(s.lastSeq.Load())
	w.u32(uint32(len(s.segments) + len(s.spares)))
	for _, g := range slices.Concat(slices.Collect(maps.Values(s.segments)), s.spares) {
		w.u32(g.seq)
		w.u64(g.number)
		w.u64(uint64(g.end))
		w.flag(g.sealed)
		w.u32(g.fate())
		w.u32(uint32(len(g.tombs)))
		for seq, size := range g.tombs {
			w.u32(seq)
			w.u64(uint64(size))
		}
	}
	w.u32(uint32(len(s.tokens)))
	for token := range s.tokens {
		w.buf = append(w.buf, token[:]...)
	}
	return s.logged, s.doomed
}

// What a checkpoint says of a segment that has to go before others.
const (
	fateFirst = 1 << iota
	fateLost
)

func (g *segment) fate() (bits uint32) {
	if g.half || g.broken {
		bits |= fateFirst
	}
	if g.lost {
		bits |= fateLost
	}
	return bits
}

// checkpointItems writes the messages, some hundred at a time.
func (s *Store) checkpointItems(w *checkpointWriter) {
	for id := queue.ID(0); w.err == nil; w.flush() {
		s.index.Lock()
		n := 0
		for ; n < 512; n++ {
			slot, ok := s.index.After(id)
			if !ok {
				break
			}
			id = s.index.Item(slot).ID()
			s.checkpointItem(w, slot, id)
		}
		s.index.Unlock()
		if n < 512 {
			return
		}
	}
}

func (s *Store) checkpointItem(w *checkpointWriter, slot agenda.Slot, id queue.ID) {
	st, flags := s.stateOf(slot)
	d := &s.index.Item(slot).Data
	chain := s.chains[slot]
	file, hasFile := s.bodies[id]
	if hasFile {
		flags |= flagFile
	}
	w.u64(uint64(id))
	w.u64(uint64(agenda.Nanos(st.due)))
	w.place(d.msg)
	w.u32(d.msgLen)
	w.place(d.state)
	w.u32(d.stateLen)
	w.u32(uint32(flags) | uint32(len(chain))<<8)
	for _, l := range chain {
		w.place(l.place)
		w.u32(l.size)
	}
	if hasFile {
		w.u64(file.number)
		w.u64(uint64(file.size + file.metaLen))
	}
}

// checkpointed removes the files that nothing names any more.
func (s *Store) checkpointed(logged int64, doomed []uint64) {
	for _, number := range doomed {
		if err := s.fs.Remove(s.segmentPath(number)); err != nil {
			s.log.Warn("queue: empty segment left behind", "segment", number, "err", err)
		}
	}
	s.index.Lock()
	defer s.index.Unlock()
	s.logged -= logged
	s.doomed = s.doomed[len(doomed):]
}

// snapshot is a checkpoint that was read.
type snapshot struct {
	nextID, nextLSN, nextNumber uint64
	lastSeq                     uint32
	segments                    map[uint32]*snapshotSegment
	tokens                      [][16]byte
	items                       []byte
}

type snapshotSegment struct {
	number uint64
	end    int64
	sealed bool
	fate   uint32
	tombs  map[uint32]int64
}

// snapshotItem is a message in a checkpoint.
type snapshotItem struct {
	id     queue.ID
	due    int64
	meta   meta
	flags  uint8
	chain  []link
	number uint64
	size   int64
}

// readSnapshot reads the checkpoint. It returns nil if there is none, and
// errCorrupt if it is not worth anything.
func (s *Store) readSnapshot(p *retries) (*snapshot, error) {
	f, err := s.fs.Open(s.checkpointPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case spoolfs.Unreadable(err):
		return nil, errors.Join(err, errCorrupt)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if lost, err := readAround(f, b, 0, p); err != nil || lost != nil {
		return nil, errors.Join(err, errCorrupt)
	}
	n := len(b) - 4
	if n < len(checkpointMagic) || string(b[:len(checkpointMagic)]) != checkpointMagic || binary.LittleEndian.Uint32(b[n:]) != checksum(b[:n]) {
		return nil, errCorrupt
	}
	return parseSnapshot(&reader{b: b[len(checkpointMagic):n]})
}

// reader takes numbers from a checkpoint. What is not there is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.err = nil, errCorrupt
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u32() uint32  { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64  { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) place() place { return place{r.u32(), r.u32()} }

func parseSnapshot(r *reader) (*snapshot, error) {
	sn := &snapshot{segments: make(map[uint32]*snapshotSegment)}
	sn.nextID, sn.nextLSN, sn.nextNumber, sn.lastSeq = r.u64(), r.u64(), r.u64(), r.u32()
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		seq := r.u32()
		g := &snapshotSegment{number: r.u64(), end: int64(r.u64()), sealed: r.u32() != 0, fate: r.u32()}
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			if g.tombs == nil {
				g.tombs = make(map[uint32]int64)
			}
			g.tombs[r.u32()] = int64(r.u64())
		}
		sn.segments[seq] = g
	}
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		sn.tokens = append(sn.tokens, [16]byte(r.take(16)))
	}
	sn.items = r.b
	if r.err != nil {
		return nil, r.err
	}
	return sn, sn.check()
}

// check reads all messages once, so that what is wrong is found before the
// index is half full.
func (sn *snapshot) check() error {
	c := *sn
	for {
		var it snapshotItem
		if more, err := c.next(&it); !more || err != nil {
			return err
		}
	}
}

// next reads the next message, and reports whether there is one.
func (sn *snapshot) next(it *snapshotItem) (bool, error) {
	r := reader{b: sn.items}
	if it.id = queue.ID(r.u64()); it.id == 0 {
		return false, r.err
	}
	it.due = int64(r.u64())
	it.meta.msg, it.meta.msgLen = r.place(), r.u32()
	it.meta.state, it.meta.stateLen = r.place(), r.u32()
	flags := r.u32()
	it.flags = uint8(flags)
	for n := flags >> 8; n > 0 && r.err == nil; n-- {
		it.chain = append(it.chain, link{r.place(), r.u32()})
	}
	if it.flags&flagFile != 0 {
		it.number, it.size = r.u64(), int64(r.u64())
	}
	sn.items = r.b
	return r.err == nil, r.err
}
