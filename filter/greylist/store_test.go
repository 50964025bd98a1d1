package greylist_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/greylist"
	"github.com/sqmail/sqmail/filter/greylist/greylisttest"
)

func Example() {
	dir, _ := os.MkdirTemp("", "greylist")
	defer os.RemoveAll(dir)
	store, err := greylist.Open(filepath.Join(dir, "greylist.db"), 0)
	if err != nil {
		panic(err)
	}
	defer store.Close()
	f := &filter.Greylist{Store: store}
	s := &filter.Session{
		Peer:     &sqmail.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:25")},
		Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("joe@example.net")},
	}
	v, err := f.Recipient(context.Background(), s, &sqmail.Recipient{Path: sqmail.PathOf("sue@example.org")})
	fmt.Println(v.Reply, err)
	// Output: 450 4.7.1 greylisted, please try again later <nil>
}

func open(t testing.TB, name string, most int) *greylist.Store {
	t.Helper()
	s, err := greylist.Open(name, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	greylisttest.Run(t, func(t *testing.T) filter.GreyStore {
		return open(t, filepath.Join(t.TempDir(), "g.db"), 0)
	})
}

// put makes a record that lives for an hour.
func put(s *greylist.Store, key string) error {
	return s.Update(context.Background(), key, func(filter.GreyRecord) filter.GreyRecord {
		now := time.Now()
		return filter.GreyRecord{First: now, Expires: now.Add(time.Hour)}
	})
}

func has(t *testing.T, s *greylist.Store, key string) bool {
	t.Helper()
	found := false
	err := s.Update(t.Context(), key, func(r filter.GreyRecord) filter.GreyRecord {
		found = !r.First.IsZero()
		return r
	})
	if err != nil && !errors.Is(err, greylist.ErrFull) {
		t.Error(err)
	}
	return found
}

func TestRecordsSurviveClose(t *testing.T) {
	name := filepath.Join(t.TempDir(), "g.db")
	s := open(t, name, 0)
	if err := put(s, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := greylist.Open(name, 0); err == nil {
		t.Error("two have the file open")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := put(s, "b"); !errors.Is(err, greylist.ErrClosed) {
		t.Errorf("%v", err)
	}
	if !has(t, open(t, name, 0), "a") {
		t.Error("the record is gone")
	}
}

func TestRecordsAreBoundedAndRemoved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "g.db")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, name, 10)
		for i := range 10 {
			if err := put(s, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := put(s, "one more"); !errors.Is(err, greylist.ErrFull) {
			t.Errorf("%v", err)
		}
		if err := put(s, "3"); err != nil {
			t.Errorf("a record that is there: %v", err)
		}
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		if err := put(s, "one more"); err != nil {
			t.Errorf("the others have expired: %v", err)
		}
		if has(t, s, "3") {
			t.Error("an expired record is still there")
		}
		s.Close()
		s = open(t, name, 2) // counts what is there
		if err := put(s, "two more"); err != nil {
			t.Error(err)
		}
		if err := put(s, "three more"); !errors.Is(err, greylist.ErrFull) {
			t.Errorf("%v", err)
		}
	})
}

func TestDamagedFileDoesNotStopTheProcess(t *testing.T) {
	name := filepath.Join(t.TempDir(), "g.db")
	s := open(t, name, 0)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			if err := put(s, fmt.Sprintf("%032d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.Close()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for at := 0; at < len(whole); at += page {
		for _, damage := range []byte{0x00, 0xff} {
			torn := append([]byte(nil), whole...)
			for i := at; i < min(at+page, len(torn)); i++ {
				torn[i] = damage
			}
			tryDamaged(t, torn)
		}
	}
	for _, n := range []int{0, 1, page, len(whole) - page, len(whole) - 1} {
		tryDamaged(t, whole[:n])
	}
}

// tryDamaged uses a file of some content: errors may come, nothing else.
func tryDamaged(t *testing.T, content []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "g.db")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := greylist.Open(name, 0)
	if err != nil {
		return
	}
	for i := range 3 {
		put(s, fmt.Sprintf("%032d", i*200))
		put(s, fmt.Sprint("new ", i))
	}
	s.Close()
}

func TestUpdateNeedsAKey(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "g.db"), 0)
	for _, key := range []string{"", string(make([]byte, 300))} {
		if err := put(s, key); err == nil {
			t.Errorf("a key of %d octets was taken", len(key))
		}
	}
}

func BenchmarkFirstAttempts(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "g.db"), 0)
	var n atomic.Int64
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := put(s, fmt.Sprintf("%016d", n.Add(1))); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkKnown(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "g.db"), 0)
	if err := put(s, "known"); err != nil {
		b.Fatal(err)
	}
	same := func(r filter.GreyRecord) filter.GreyRecord { return r }
	for b.Loop() {
		if err := s.Update(b.Context(), "known", same); err != nil {
			b.Fatal(err)
		}
	}
}
