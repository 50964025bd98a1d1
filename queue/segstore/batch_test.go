package segstore

import (
	"testing"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
)

// batchLane returns a lane of which so many were there when the last sync
// ended, which took so long.
func batchLane(crew int, took time.Duration) *lane {
	l := &lane{s: &Store{}, took: took}
	l.observe(crew)
	return l
}

func line(n int) []*entry {
	list := make([]*entry, n)
	for i := range list {
		list[i] = &entry{buf: make([]byte, 100)}
	}
	return list
}

func TestABatchOfAFastDiskLeavesHalfOfTheOthersAtWork(t *testing.T) {
	for _, c := range []struct {
		name                string
		crew, waiting, want int
		took                time.Duration
		rear                bool
	}{
		{"all wait", 128, 128, 64, 100 * time.Microsecond, false},
		{"half of them wait", 128, 64, 64, 100 * time.Microsecond, false},
		{"few wait", 128, 5, 5, 100 * time.Microsecond, false},
		{"few are there", 3, 3, 3, 100 * time.Microsecond, false},
		{"more than ever", 1, 100, minShare, 100 * time.Microsecond, false},
		{"slow disk", 128, 128, 128, 5 * time.Millisecond, false},
		{"what is moved comes all at once", 128, 128, 128, 100 * time.Microsecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := batchLane(c.crew, c.took)
			l.rear = c.rear
			l.waiting = line(c.waiting)
			first := l.waiting[0]
			batch := l.take()
			if len(batch) != c.want || len(l.waiting) != c.waiting-c.want {
				t.Errorf("batch of %d, %d are left; want %d", len(batch), len(l.waiting), c.want)
			}
			if batch[0] != first {
				t.Error("the leader's record is not in its batch")
			}
		})
	}
}

func TestAShareFollowsTheLoad(t *testing.T) {
	l := batchLane(128, 100*time.Microsecond)
	l.observe(1)
	if l.share() < 50 {
		t.Errorf("after one quiet moment a batch is %d", l.share())
	}
	for range 100 {
		l.observe(1)
	}
	if l.share() != minShare || l.peak != 1 {
		t.Errorf("long after a peak a batch is %d, the peak %d", l.share(), l.peak)
	}
}

func TestTheTimeOfASyncIsTheDisksNotTheSchedulers(t *testing.T) {
	l := &lane{}
	l.measured(100 * time.Microsecond)
	l.measured(3 * time.Millisecond) // the goroutine waited for its turn
	if l.took >= slow {
		t.Errorf("after one late return a sync takes %v", l.took)
	}
	for range 500 {
		l.measured(3 * time.Millisecond)
	}
	if l.took != 3*time.Millisecond {
		t.Errorf("of a disk that has become slow a sync takes %v", l.took)
	}
	l.measured(100 * time.Microsecond)
	if l.took != 100*time.Microsecond {
		t.Errorf("after one fast sync a sync takes %v", l.took)
	}
}

// TestEveryRecordIsCommittedOnceInShares: all who wait are served although no
// batch has room for all of them.
func TestEveryRecordIsCommittedOnceInShares(t *testing.T) {
	s, err := OpenOn(&crashfs.FS{}, "/queue", &Options{NoDrop: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	applied := make([]int, 100)
	entries := make([]*entry, len(applied))
	for i := range entries {
		h := header{kind: kindVoid}
		entries[i] = &entry{header: h, buf: bare(&h, nil), apply: func(place) { applied[i]++ }}
	}
	if err := s.front.commit(entries...); err != nil {
		t.Fatal(err)
	}
	for i, n := range applied {
		if n != 1 {
			t.Errorf("record %d was committed %d times", i, n)
		}
	}
}
