package segstore

import (
	"cmp"
	"slices"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// ref is a record that says something about a message.
type ref struct {
	id    queue.ID
	lsn   uint64
	due   int64
	size  uint32
	arg   uint32 // of an end: the segment that has the message's own record
	kind  kind   // a message that replaces another is the end of that as well
	flags uint8
	place
}

func (f *ref) link() link { return link{f.place, f.size} }

// tail is what was read of a segment: what the checkpoint does not know.
type tail struct {
	refs   []ref
	voids  []void
	tokens [][16]byte
	files  map[place]bodyFile // of the messages that have one
	batch  [3]int             // how many refs, voids and tokens there were when the last batch began

	g         *segment
	last, end int64    // of the last batch
	grown     int64    // octets
	lost      []region // that cannot be read

	nextID, nextLSN, nextNumber uint64
}

// note enters a record.
func (t *tail) note(p place, rec record) {
	if rec.flags&flagBatch != 0 {
		t.batch = [3]int{len(t.refs), len(t.voids), len(t.tokens)}
	}
	t.nextLSN = max(t.nextLSN, rec.lsn+1)
	if rec.kind == kindVoid {
		t.voids = append(t.voids, void{rec.arg, uint32(rec.id)})
		return
	}
	if rec.id == 0 {
		return // nobody has this number
	}
	t.nextID = max(t.nextID, uint64(rec.id)+1)
	f := ref{id: rec.id, lsn: rec.lsn, place: p, size: uint32(rec.size()), arg: rec.arg, kind: rec.kind, flags: rec.flags}
	d := decoder{b: rec.meta}
	switch rec.kind {
	case kindMessage:
		t.noteMessage(&f, &d)
	case kindState:
		f.due = d.int()
		t.refs = append(t.refs, f)
	case kindDone:
		t.refs = append(t.refs, f)
	}
}

func (t *tail) noteMessage(f *ref, d *decoder) {
	m := d.head(f.flags)
	f.due = agenda.Nanos(m.due)
	t.refs = append(t.refs, *f)
	if f.flags&flagFile != 0 {
		if t.files == nil {
			t.files = make(map[place]bodyFile)
		}
		t.files[f.place] = m.file
		t.nextNumber = max(t.nextNumber, m.file.number+1)
	}
	if f.flags&flagUnique != 0 {
		t.tokens = append(t.tokens, m.token)
	}
	if m.replaces != 0 {
		t.refs = append(t.refs, ref{id: m.replaces, lsn: f.lsn, place: f.place, size: f.size, arg: f.arg, kind: kindDone})
	}
}

// restart forgets the last batch.
func (t *tail) restart() {
	t.refs, t.voids, t.tokens = t.refs[:t.batch[0]], t.voids[:t.batch[1]], t.tokens[:t.batch[2]]
}

// sort puts the records in the order of their messages.
func (t *tail) sort() {
	slices.SortFunc(t.refs, func(a, b ref) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.off, b.off))
	})
}

// merger goes through the records of many tails by message: for each those of
// the first tail first.
type merger struct {
	heap []source
}

// source is what is left of a tail.
type source struct {
	refs  []ref
	order int
}

func newMerger(tails []*tail) *merger {
	m := &merger{}
	for i, t := range tails {
		if len(t.refs) > 0 {
			m.heap = append(m.heap, source{t.refs, i})
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m
}

func (m *merger) less(i, j int) bool {
	a, b := &m.heap[i], &m.heap[j]
	return a.refs[0].id < b.refs[0].id || a.refs[0].id == b.refs[0].id && a.order < b.order
}

func (m *merger) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(m.heap) {
			return
		}
		if right := least + 1; right < len(m.heap) && m.less(right, least) {
			least = right
		}
		if !m.less(least, i) {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// peek returns the number of the next message, 0 at the end.
func (m *merger) peek() queue.ID {
	if len(m.heap) == 0 {
		return 0
	}
	return m.heap[0].refs[0].id
}

// next appends the records of the next message to group.
func (m *merger) next(group []ref) []ref {
	for id := m.peek(); id != 0 && m.peek() == id; {
		top := &m.heap[0]
		n := 1
		for n < len(top.refs) && top.refs[n].id == id {
			n++
		}
		group = append(group, top.refs[:n]...)
		if top.refs = top.refs[n:]; len(top.refs) == 0 {
			last := len(m.heap) - 1
			m.heap[0] = m.heap[last]
			m.heap = m.heap[:last]
		}
		m.down(0)
	}
	return group
}
