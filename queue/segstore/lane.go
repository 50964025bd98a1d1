package segstore

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
)

// lane appends records to segments, one after the other. Whoever comes while
// a sync is running waits, and shares the next one with all others who do:
// the first of them leads, that is, writes for all. On a disk whose sync takes
// long, the leader first waits a moment for those who had the last one.
type lane struct {
	s      *Store
	rear   bool
	urgent bool // the rear may take the last segment in reserve

	mu      sync.Mutex
	waiting []*entry
	led     bool // somebody leads
	closed  bool
	idle    chan struct{} // closed when nobody leads any more; nil until close
	enough  int           // how many the leader is waiting for
	crew    int           // how many came back for the last sync, or were there
	peak    int           // the most of late that were
	full    chan struct{} // closed when they are there; nil if it is not waiting

	// The leader's.
	seg   *segment
	buf   []byte        // small records, gathered to be written together
	at    int64         // where the next write goes
	took  time.Duration // a sync
	voids []void
	sync  spoolfs.Syncer

	unsaid atomic.Bool // there are voids
}

// entry is a record on its way.
type entry struct {
	header header
	buf    []byte // the record, but for its header
	fresh  bool   // a new message: it gets its number when it is written

	// apply is called when the record is durable, with the index locked.
	apply func(place)

	turn chan bool // true: lead; false: done
	err  error
}

// void says that what a segment has from an offset on does not count, because
// the sync of it failed: it may be there, but it was or will be written
// elsewhere, or somebody was told that it is not.
type void = place

const maxBatch = 4 << 20

// alone is which part of a segment a record takes that is written by itself:
// it is worth a call to save a copy.
const alone = 256

// commit appends records, and returns when they are durable. Each entry has an
// error of its own; the first is returned.
func (l *lane) commit(entries ...*entry) error {
	for _, e := range entries {
		e.turn = make(chan bool, 1)
	}
	lead, err := l.queue(entries)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if lead || <-e.turn {
			l.lead(e)
			lead = false
		}
		if err == nil {
			err = e.err
		}
	}
	return err
}

// queue puts entries in line, and reports whether the caller is to lead.
func (l *lane) queue(entries []*entry) (lead bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, queue.ErrClosed
	}
	l.waiting = append(l.waiting, entries...)
	if l.full != nil && len(l.waiting) >= l.enough {
		close(l.full)
		l.full = nil
	}
	lead = !l.led
	l.led = true
	return lead, nil
}

// lead writes a batch, of which own is the first, and passes the lead on.
func (l *lane) lead(own *entry) {
	l.gather()
	batch := l.take()
	l.write(batch)

	l.mu.Lock()
	l.observe(len(batch))
	if len(l.waiting) > 0 {
		l.waiting[0].turn <- true
	} else {
		l.led = false
		if l.idle != nil {
			close(l.idle)
		}
	}
	l.mu.Unlock()
	for _, e := range batch {
		if e != own {
			e.turn <- false
		}
	}
}

// take takes from those who wait as many as one sync is for.
func (l *lane) take() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for share := l.share(); n < len(l.waiting) && n < share; n++ {
		if size += len(l.waiting[n].buf); size > maxBatch && n > 0 {
			break
		}
	}
	batch := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil
	}
	return batch
}

// write makes a batch durable, or sets the errors of what it cannot.
func (l *lane) write(batch []*entry) {
	failures := 0
	for len(batch) > 0 {
		if err := l.room(batch[0]); err != nil {
			batch = l.refuse(batch, err)
			continue
		}
		n, err := l.append(batch)
		if err == nil {
			batch, failures = batch[n:], 0
			continue
		}
		l.s.log.Error("queue: write failed, segment given up", "segment", l.seg.number, "err", err)
		l.abandon()
		if failures++; failures == 2 {
			for _, e := range batch {
				e.err = storageError("commit", err)
			}
			return
		}
	}
}

// refuse fails the entries for which there is no segment: new messages, and
// when not even the reserve is left, all.
func (l *lane) refuse(batch []*entry, err error) (left []*entry) {
	refused := batch[0]
	for _, e := range batch {
		if refused.fresh && !e.fresh {
			left = append(left, e)
			continue
		}
		e.err = storageError("commit", err)
	}
	return left
}

// room sees to it that there is a segment with room for e.
func (l *lane) room(e *entry) error {
	need := int64(len(e.buf)) + int64(len(l.voids)*headerLen)
	if l.seg != nil && l.seg.end+need <= l.seg.room {
		return nil
	}
	seg, err := l.s.takeSegment(!e.fresh && (!l.rear || l.urgent))
	if err != nil {
		return err
	}
	l.leave()
	l.seg = seg
	return nil
}

// leave ends the writing to the segment.
func (l *lane) leave() {
	if l.seg == nil {
		return
	}
	l.s.index.Lock()
	l.seg.sealed = true
	l.seg.pins--
	l.s.index.Unlock()
	l.seg = nil
	l.s.keeper.wake()
}

// abandon gives up the segment after a failed write or sync: what had been
// synced before is good, what was to be synced may or may not be there.
func (l *lane) abandon() {
	l.voids = append(l.voids, void{l.seg.seq, uint32(l.seg.end)})
	l.unsaid.Store(true)
	l.s.index.Lock()
	l.seg.broken = true
	l.s.index.Unlock()
	l.leave()
}

// append writes and syncs as much of the batch as there is room for, and
// returns how much that was.
func (l *lane) append(batch []*entry) (int, error) {
	g := l.seg
	l.buf, l.at = l.buf[:0], g.end
	first := uint8(flagBatch)
	for _, v := range l.voids {
		h := header{kind: kindVoid, flags: first, id: queue.ID(v.off), arg: v.seq}
		if err := l.add(&h, bare(&h, nil)); err != nil {
			return 0, err
		}
		first = 0
	}
	places := make([]place, 0, len(batch))
	for _, e := range batch {
		at := l.at + int64(len(l.buf))
		if at+int64(len(e.buf)) > g.room {
			break
		}
		places = append(places, place{g.seq, uint32(at)})
		if e.fresh && e.header.id == 0 {
			e.header.id = queue.ID(l.s.nextID.Add(1) - 1)
		}
		e.header.flags = e.header.flags&^flagBatch | first
		if err := l.add(&e.header, e.buf); err != nil {
			return 0, err
		}
		first = 0
	}
	began := time.Now()
	err := l.flush()
	if err == nil {
		err = l.datasync(g.f)
	}
	if err != nil {
		return 0, err
	}
	l.measured(time.Since(began))
	l.done(batch[:len(places)], places)
	return len(places), nil
}

// add completes a record, and writes it or appends it to what is gathered.
func (l *lane) add(h *header, buf []byte) error {
	h.seq = l.seg.seq
	if h.lsn == 0 {
		h.lsn = l.s.nextLSN.Add(1) - 1
	}
	h.put(buf, l.seg.nonce)
	if int64(len(buf)) < l.s.opt.segmentSize/alone {
		l.buf = append(l.buf, buf...)
		return nil
	}
	if err := l.flush(); err != nil {
		return err
	}
	return l.put(buf)
}

// flush writes what is gathered.
func (l *lane) flush() error {
	err := l.put(l.buf)
	l.buf = l.buf[:0]
	return err
}

func (l *lane) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := l.seg.f.WriteAt(p, l.at)
	l.at += int64(len(p))
	return err
}

// done enters in the index what is durable now.
func (l *lane) done(batch []*entry, places []place) {
	s := l.s
	s.index.Lock()
	for _, v := range l.voids {
		s.addTomb(l.seg, v.seq)
	}
	for i, e := range batch {
		e.apply(places[i])
	}
	s.logged += l.at - l.seg.end
	l.seg.end = l.at
	s.dirty = true
	due := s.logged >= s.checkpointAfter()
	s.index.Unlock()
	l.voids = l.voids[:0]
	l.unsaid.Store(false)
	if due {
		s.keeper.wake()
	}
}

// settle writes the voids, if there are any, without waiting for somebody who
// has something to write.
func (l *lane) settle() error {
	if !l.unsaid.Load() {
		return nil
	}
	h := header{kind: kindVoid} // of no segment: it only takes the others along
	e := &entry{header: h, buf: bare(&h, nil), apply: func(place) {}}
	return l.commit(e)
}

// close refuses new records, and waits for those in progress.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	led := l.led
	if led && l.idle == nil {
		l.idle = make(chan struct{})
	}
	l.mu.Unlock()
	if led {
		<-l.idle
	}
	l.sync.Close()
}
