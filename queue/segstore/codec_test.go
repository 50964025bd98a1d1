package segstore

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

func fullEnvelope() sqmail.Envelope {
	return sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe@example.org"), Size: 7, Body: sqmail.Body8Bit, SMTPUTF8: true, RequireTLS: true,
		Return: sqmail.ReturnFull, EnvelopeID: "\xff id", Header: []byte("A: b\n"),
		Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("ann@example.net"), Notify: sqmail.NotifyDelay, Original: "rfc822;x"}, {}},
		Verdicts:   []sqmail.Verdict{{Stage: "s", Filter: "f", Action: sqmail.ActionDrop, Reply: sqmail.Reply{Code: 550, Text: "no"}, Delay: 1, Header: "h", Rule: "r", Input: "i", File: "f", Line: 3, Took: 4}, {}},
	}
}

func fullJournal() []queue.Attempt {
	return []queue.Attempt{
		{Recipient: 1, Number: 2, At: time.Unix(3, 4), Status: queue.Failed, Due: time.Unix(5, 6), Outcome: sqmail.Outcome{
			Recipient: 1, Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 1}, Text: "no"}, Text: "t", Where: "w", InDoubt: true}},
		{},
	}
}

func TestMessagesAreReadAsTheyWereWritten(t *testing.T) {
	for _, flags := range []uint8{0, flagUnique, flagFile, flagFile | flagMeta, flagFull, flagUnique | flagFile | flagMeta | flagFull} {
		want := message{arrived: time.Unix(1, 2), due: time.Unix(3, 4), replaces: 5, env: fullEnvelope()}
		if flags&flagUnique != 0 {
			want.token = [16]byte{1, 2, 3}
		}
		if flags&flagFile != 0 {
			want.file = bodyFile{number: 9, size: 1 << 40, crc: 0xdeadbeef}
		}
		if flags&flagFull != 0 {
			want.journal = fullJournal()
		}
		meta, rest := encodeMessage(&want, flags)
		d := decoder{b: meta}
		got := d.head(flags)
		if flags&flagMeta != 0 {
			if int64(len(rest)) != want.file.metaLen || checksum(rest) != want.file.metaCRC || d.err != nil || len(d.b) != 0 {
				t.Fatalf("flags %x: the rest does not fit its description", flags)
			}
			d.b = rest
		}
		got.env = d.envelope()
		if flags&flagFull != 0 {
			got.journal = d.journal()
		}
		if d.err != nil || len(d.b) != 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("flags %x: %v\n got %+v\nwant %+v", flags, d.err, got, want)
		}
	}
}

func TestStatesAreReadAsTheyWereWritten(t *testing.T) {
	for _, flags := range []uint8{0, flagRetry} {
		want := state{due: time.Unix(1, 2), attempts: fullJournal()}
		if flags != 0 {
			want.retry = time.Unix(7, 8)
		}
		got, err := decodeState(encodeState(&want, flags), flags)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
		}
	}
}

func TestLongReportsAreCut(t *testing.T) {
	st := state{attempts: []queue.Attempt{{Outcome: sqmail.Outcome{Text: strings.Repeat("x", 1<<20)}}}}
	got, err := decodeState(encodeState(&st, 0), 0)
	if err != nil || len(got.attempts[0].Outcome.Text) != maxText {
		t.Errorf("%d octets kept, %v", len(got.attempts[0].Outcome.Text), err)
	}
}

func TestTimesOutOfRangeStayInOrder(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(1<<40, 0), time.Unix(-1<<40, 0)} {
		var e encoder
		e.time(at)
		got := (&decoder{b: e.b}).time()
		if at.IsZero() != got.IsZero() && at.Unix() >= 0 || at.Unix() > 0 && got.Before(time.Unix(0, 0)) {
			t.Errorf("%v is read as %v", at, got)
		}
	}
}

// FuzzDecodeMessage feeds the decoder foreign octets. What it takes it can
// write, and read again as the same.
func FuzzDecodeMessage(f *testing.F) {
	for _, flags := range []uint8{0, flagFile, flagFull | flagUnique} {
		meta, _ := encodeMessage(&message{env: fullEnvelope(), journal: fullJournal()}, flags)
		f.Add(meta, flags)
	}
	f.Fuzz(func(t *testing.T, meta []byte, flags uint8) {
		flags &^= flagMeta
		read := func(b []byte) (message, error) {
			d := decoder{b: b}
			m := d.head(flags)
			m.env = d.envelope()
			if flags&flagFull != 0 {
				m.journal = d.journal()
			}
			return m, d.err
		}
		first, err := read(meta)
		if err != nil {
			return
		}
		again, _ := encodeMessage(&first, flags)
		second, err := read(again)
		x, _ := json.Marshal(first.env)
		y, _ := json.Marshal(second.env)
		if err != nil || !bytes.Equal(x, y) || len(first.journal) != len(second.journal) {
			t.Errorf("%v\n%s\n%s", err, x, y)
		}
	})
}

// FuzzDecodeState is FuzzDecodeMessage for states.
func FuzzDecodeState(f *testing.F) {
	f.Add(encodeState(&state{attempts: fullJournal()}, flagRetry), uint8(flagRetry))
	f.Fuzz(func(t *testing.T, meta []byte, flags uint8) {
		st, err := decodeState(meta, flags)
		if err != nil {
			return
		}
		if again, err := decodeState(encodeState(&st, flags), flags); err != nil || len(again.attempts) != len(st.attempts) {
			t.Errorf("%v: %+v, then %+v", err, st, again)
		}
	})
}

// FuzzWalk lets a foreign hand write a segment. Only what has this segment's
// nonce is taken for a record, and the walk ends.
func FuzzWalk(f *testing.F) {
	h := header{kind: kindDone, flags: flagBatch, seq: 3, id: 1, arg: 2}
	good := bare(&h, []byte("meta"))
	h.put(good, 7)
	f.Add(good)
	f.Add(append(append([]byte("12345678"), good...), good[:20]...))
	f.Add(bytes.Repeat([]byte{0x51, 0x73}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		visited := int64(0)
		last, end, bad := walk(b, 100, 7, 3, func(off int64, r record) { visited += r.size() })
		if last < 100 || end < last && end != 100 || end > 100+int64(len(b)) || visited > int64(len(b)) {
			t.Errorf("last %d, end %d, visited %d of %d", last, end, visited, len(b))
		}
		for _, r := range bad {
			if r.from >= r.to || r.to > end {
				t.Errorf("damage %+v, end %d", r, end)
			}
		}
		walk(b, 100, 8, 3, func(off int64, r record) { t.Error("a record of another use is taken") })
	})
}

func TestWalkTellsDamageFromATornTail(t *testing.T) {
	batch := func(id uint64) []byte {
		h := header{kind: kindDone, flags: flagBatch, seq: 3, id: queue.ID(id)}
		b := bare(&h, []byte("meta"))
		h.put(b, 7)
		return b
	}
	n := int64(len(batch(1)))
	all := bytes.Join([][]byte{batch(1), batch(2), batch(3), make([]byte, 64)}, nil)
	for _, c := range []struct {
		name    string
		spoil   int64
		records int
		damaged int
	}{{"nothing", -1, 3, 0}, {"the first batch", 5, 2, 1}, {"a batch in the middle", n + 5, 2, 1}, {"the last batch", 2*n + 5, 2, 0}} {
		b := bytes.Clone(all)
		if c.spoil >= 0 {
			b[c.spoil] ^= 1
		}
		records := 0
		_, _, bad := walk(b, 0, 7, 3, func(int64, record) { records++ })
		if records != c.records || len(bad) != c.damaged {
			t.Errorf("%s spoilt: %d records, damage %v; want %d and %d", c.name, records, bad, c.records, c.damaged)
		}
	}
}

// FuzzDropHead and FuzzSnapshot feed what reads files at the start.
func FuzzDropHead(f *testing.F) {
	f.Add((&dropHead{flags: 1, body: 2, bodyCRC: 3, meta: 4, metaCRC: 5}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := parseDropHead(b); ok && (h.body < 0 || h.meta < 0) {
			t.Errorf("%+v", h)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	var w checkpointWriter
	for range 40 {
		w.u32(1)
	}
	f.Add(w.buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		sn, err := parseSnapshot(&reader{b: b})
		for n := 0; err == nil && n <= len(b); n++ {
			var it snapshotItem
			more := false
			if more, err = sn.next(&it); !more {
				return
			}
		}
	})
}

func TestTheYoungerLabelCounts(t *testing.T) {
	old, young := label{seq: 1, nonce: 2, nextID: 3, lsn: 4}, label{seq: 5, void: true, nonce: 6, nextID: 7, lsn: 8}
	for _, l := range []label{old, young} {
		if got, ok := parseLabel(l.encode()); !ok || got != l {
			t.Errorf("%+v is read as %+v", l, got)
		}
	}
	spoilt := young.encode()
	spoilt[20] ^= 1
	if _, ok := parseLabel(spoilt); ok {
		t.Error("a damaged label is taken")
	}
}
