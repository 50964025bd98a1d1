package segstore

import (
	"context"
	"io"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
)

func putOne(t *testing.T, s *Store, text string) queue.ID {
	t.Helper()
	d, err := s.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, text)
	id, err := d.Commit(context.Background(), queue.Submission{Envelope: &sqmail.Envelope{Recipients: make([]sqmail.Recipient, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func reopened(t *testing.T, disk *crashfs.FS, checkpoint bool) *Store {
	t.Helper()
	if !checkpoint {
		disk.Remove("/queue/checkpoint")
	}
	s, err := Open("/queue", TinyQuiet(disk))
	if err == nil {
		err = s.Loaded(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// segmentOf returns the segment that has a message's record.
func (s *Store) segmentOf(id queue.ID) *segment {
	s.index.Lock()
	defer s.index.Unlock()
	slot, _ := s.index.Find(id)
	return s.segments[s.index.Item(slot).Data.msg.seq]
}

// A crash while a segment is being cleaned leaves a message in two of them. If
// it is finished then, the record of that refers to one. The other must go
// before that one does: else the message comes back when both that one and the
// record are gone.
func TestAMessageThatWasMovedHalfwayDoesNotComeBack(t *testing.T) {
	for _, c := range []struct{ checkpoint, crash bool }{{true, true}, {false, true}, {false, false}} {
		disk := &crashfs.FS{}
		s := reopened(t, disk, true)
		moved, busy := putOne(t, s, "moved\n"), putOne(t, s, "busy\n")
		s.front.leave()
		other := putOne(t, s, "other\n")
		s.front.leave()
		if c.checkpoint {
			if err := s.checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.own(context.Background(), busy); err != nil {
			t.Fatal(err)
		}
		for _, id := range []queue.ID{other, moved} {
			if _, err := s.clean(s.segmentOf(id)); err != nil {
				t.Fatal(err)
			}
		}
		s.freeSegments() // the one that the other message was in
		if s.segmentOf(moved) != s.segmentOf(other) || s.segmentOf(moved) == s.segmentOf(busy) {
			t.Fatal("the messages are not where the test wants them")
		}

		if c.crash {
			disk = disk.Crash(crashfs.LoseAll, 1)
			s = reopened(t, disk, c.checkpoint)
			if err := s.Remove(context.Background(), busy); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Remove(context.Background(), moved); err != nil {
			t.Fatal(err)
		}
		if !c.crash { // nothing but the busy message keeps the first segment
			s.rear.leave()
			if err := s.Remove(context.Background(), other); err != nil {
				t.Fatal(err)
			}
			other = 0
		}
		gone := func(op string) {
			t.Helper()
			left := reopened(t, disk.Crash(crashfs.LoseAll, 1), false)
			defer left.Close()
			if left.has(moved) || left.has(busy) == c.crash || left.has(other) != c.crash {
				t.Fatalf("%+v, after a crash %s: moved %v, busy %v, other %v", c, op, left.has(moved), left.has(busy), left.has(other))
			}
		}
		for range 4 { // whatever can be freed is freed
			s.front.leave()
			s.keepHouse()
			gone("when the house was kept")
			putOne(t, s, "filler\n")
		}
		s.Close()
	}
}

// While a sync has failed on one segment and its messages are still in it, no
// other segment is freed.
func TestABrokenSegmentGoesBeforeOthers(t *testing.T) {
	disk := &crashfs.FS{}
	s := reopened(t, disk, true)
	defer s.Close()
	first := putOne(t, s, "first\n")
	s.front.leave()
	second := putOne(t, s, "second\n")
	broken := s.segmentOf(second)
	s.front.abandon()
	if err := s.Remove(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	if err := s.own(context.Background(), second); err != nil {
		t.Fatal(err)
	}
	before := len(s.spares) + len(s.doomed)
	s.freeSegments()
	if n := len(s.spares) + len(s.doomed); n != before {
		t.Errorf("%d segments are free while one is broken, want %d", n, before)
	}
	s.disown(second)
	s.keepHouse()
	if s.segmentOf(second) == broken || s.Unsettled() {
		t.Error("the broken segment is still in use")
	}
}
