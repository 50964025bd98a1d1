package segstore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// read reads what was written to segments after the checkpoint.
func (r *recovery) read(segments []*segment) error {
	tails := make([]*tail, len(segments))
	errs := make([]error, len(segments))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(r.s.opt.readers, len(segments)) {
		all.Go(func() {
			var buf []byte
			for {
				i := int(next.Add(1)) - 1
				if i >= len(segments) || r.s.loader.stopped() {
					return
				}
				if tails[i], buf, errs[i] = r.readSegment(segments[i], buf); errs[i] != nil {
					next.Store(int64(len(segments))) // the others need not begin
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if r.s.loader.stopped() {
		return errStopped
	}
	for _, t := range tails {
		if t != nil {
			r.take(t)
		}
	}
	return nil
}

// take adds what was read of a segment to what is known.
func (r *recovery) take(t *tail) {
	s := r.s
	raise(&s.nextID, t.nextID)
	raise(&s.nextLSN, t.nextLSN)
	raise(&s.nextNumber, t.nextNumber)
	for _, v := range t.voids {
		r.voids[v.seq] = v.off
	}
	maps.Copy(r.files, t.files)
	r.tails = append(r.tails, t)
	s.index.Lock()
	defer s.index.Unlock()
	for _, token := range t.tokens {
		s.tokens[token] = true
	}
	if t.grown > 0 {
		s.logged += t.grown
		s.dirty = true
	}
}

// readSegment reads one segment, into buf if there is room.
func (r *recovery) readSegment(g *segment, buf []byte) (*tail, []byte, error) {
	size, err := g.f.Size()
	if err != nil {
		return nil, buf, err
	}
	from := g.end
	n := int(max(size-from, 0))
	buf = slices.Grow(buf[:0], n)[:n]
	lost, err := readAround(g.f, buf, from, &r.retries)
	if err != nil {
		return nil, buf, fmt.Errorf("segment %d: %w", g.number, err)
	}
	t := &tail{lost: lost}
	last, end, bad := skim(buf, from, g.nonce, g.seq, func(off int64, rec record) {
		t.note(place{g.seq, uint32(off)}, rec)
	}, t.restart)
	g.end = end
	t.g, t.last, t.end, t.grown = g, last, end, end-from
	if lost != nil {
		r.lost.Store(true)
		r.s.loseRegions(g, lost)
	}
	for _, b := range readable(bad, lost) {
		r.damage.Store(true)
		r.s.quarantined.Add(1)
		r.s.log.Error("queue: segment is damaged", "segment", g.number, "offset", b.from, "octets", b.to-b.from)
		r.s.saveRegion(g, b)
	}
	t.sort()
	r.entomb(g, t)
	return t, buf, nil
}

// entomb counts the records that keep a segment because of others.
func (r *recovery) entomb(g *segment, t *tail) {
	count := func(target uint32) {
		if target != g.seq && r.segments[target] != nil {
			g.addTomb(target, headerLen)
		}
	}
	for _, f := range t.refs {
		if f.kind == kindDone {
			count(f.arg)
		}
	}
	for _, v := range t.voids {
		count(v.seq)
	}
}
