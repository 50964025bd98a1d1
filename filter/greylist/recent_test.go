package greylist_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail/filter"
)

// TestRecordsInMemoryAreThoseOfTheFile: whoever has written or seen a record
// finds it, and none before it, however many look at the same time.
func TestRecordsInMemoryAreThoseOfTheFile(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "db"), 0)
	defer store.Close()
	read := func(key string) (found int64) {
		err := store.Update(context.Background(), key, func(r filter.GreyRecord) filter.GreyRecord {
			found = max(0, r.First.Unix())
			return r
		})
		if err != nil {
			t.Error(err)
		}
		return found
	}
	var working sync.WaitGroup
	for k := range 3 {
		key := fmt.Sprintf("%016d", k)
		done := make(chan struct{})
		for range 2 {
			working.Go(func() {
				for last := int64(0); ; {
					if n := read(key); n < last {
						t.Errorf("%d after %d", n, last)
						return
					} else if n > 0 {
						last = n
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		working.Go(func() {
			defer close(done)
			for n := range int64(50) {
				record := filter.GreyRecord{First: time.Unix(n+1, 0), Expires: time.Unix(n+2, 0)}
				if err := store.Update(context.Background(), key, func(filter.GreyRecord) filter.GreyRecord { return record }); err != nil {
					t.Error(err)
				}
				if found := read(key); found != n+1 {
					t.Errorf("%d was written, and %d found", n+1, found)
				}
			}
		})
	}
	working.Wait()
}
