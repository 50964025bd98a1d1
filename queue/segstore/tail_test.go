package segstore

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// The records of a message come together, whatever segments they are in, and
// those of the first segment first.
func TestTheRecordsOfAMessageComeTogether(t *testing.T) {
	var tails []*tail
	want := make(map[queue.ID]int)
	for seq := range uint32(20) {
		tl := &tail{}
		for off := range uint32(rand.IntN(200)) {
			id := queue.ID(1 + rand.IntN(300))
			tl.refs = append(tl.refs, ref{id: id, place: place{seq, off}})
			want[id]++
		}
		tl.sort()
		tails = append(tails, tl)
	}
	m := newMerger(tails)
	last := queue.ID(0)
	for m.peek() != 0 {
		id := m.peek()
		group := m.next(nil)
		if id <= last || len(group) != want[id] {
			t.Fatalf("%d records of message %v after %v, want %d", len(group), id, last, want[id])
		}
		if !slices.IsSortedFunc(group, func(a, b ref) int {
			return int(a.seq)<<16 + int(a.off) - int(b.seq)<<16 - int(b.off)
		}) {
			t.Errorf("message %v: %+v", id, group)
		}
		last = id
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("%d messages are missing", len(want))
	}
}

func batchOf(flags uint8, id queue.ID, body string) []byte {
	h := header{kind: kindMessage, flags: flags, seq: 3, id: id}
	e := encoder{}
	e.time(time.Unix(1, 0))
	e.time(time.Unix(1, 0))
	e.uint(0)
	b := seal(append(make([]byte, headerLen), body...), &h, e.b)
	h.put(b, 7)
	return b
}

// A body that was damaged after it was saved does not keep its message from
// the index: it is found when it is read. One in the last batch was perhaps
// never saved.
func TestOnlyTheBodiesOfTheLastBatchAreLookedAt(t *testing.T) {
	one, two := batchOf(flagBatch, 1, "body one"), batchOf(flagBatch, 2, "body two")
	three := batchOf(0, 3, "body three")
	all := bytes.Join([][]byte{one, two, three, make([]byte, 200)}, nil)
	for _, c := range []struct {
		spoilt string
		want   []queue.ID
	}{{"body one", []queue.ID{1, 2, 3}}, {"body two", []queue.ID{1, 3}}, {"body three", []queue.ID{1, 2}}, {"none", []queue.ID{1, 2, 3}}} {
		b := bytes.Clone(all)
		if i := bytes.Index(b, []byte(c.spoilt)); i >= 0 {
			b[i] ^= 1
		}
		tl := &tail{}
		last, end, bad := skim(b, 100, 7, 3, func(off int64, r record) { tl.note(place{3, uint32(off)}, r) }, tl.restart)
		var got []queue.ID
		for _, f := range tl.refs {
			got = append(got, f.id)
		}
		if !slices.Equal(got, c.want) || len(bad) > 0 {
			t.Errorf("%s spoilt: messages %v, damage %v, want %v", c.spoilt, got, bad, c.want)
		}
		if wantLast := int64(100 + len(one)); last != wantLast && c.spoilt != "none" && c.spoilt != "body three" || end <= wantLast {
			t.Errorf("%s spoilt: last %d, end %d", c.spoilt, last, end)
		}
	}
}

// FuzzSkim is FuzzWalk for skim: it finds what walk finds, and what is whole but
// for its body.
func FuzzSkim(f *testing.F) {
	f.Add(append(batchOf(flagBatch, 1, "body"), batchOf(flagBatch, 2, "body")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		tl := &tail{}
		found := make(map[int64]bool)
		last, end, _ := skim(b, 100, 7, 3, func(off int64, r record) {
			tl.note(place{3, uint32(off)}, r)
			found[off] = true
		}, tl.restart)
		if last < 100 || end > 100+int64(len(b)) {
			t.Errorf("last %d, end %d of %d", last, end, len(b))
		}
		tl.sort()
		for m := newMerger([]*tail{tl}); m.peek() != 0; {
			m.next(nil)
		}
	})
}

// FuzzRedo feeds what reads the redo file.
func FuzzRedo(f *testing.F) {
	w := checkpointWriter{buf: []byte(redoMagic)}
	w.u32(3)
	w.u32(segmentBody)
	w.u32(4)
	w.buf = append(w.buf, "abcd"...)
	w.u32(0)
	f.Add(w.buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		w := checkpointWriter{buf: bytes.Clone(b)}
		w.u32(checksum(b))
		r := &recovery{segments: map[uint32]*segment{3: {}}}
		for _, p := range r.parseRedo(w.buf) {
			if p.g != r.segments[3] || p.off < segmentBody || p.size != int64(len(p.content)) || len(p.content) > len(b) {
				t.Errorf("%+v", p)
			}
		}
	})
}
