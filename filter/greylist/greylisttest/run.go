// Package greylisttest checks that a store keeps the promises of
// [filter.GreyStore].
package greylisttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail/filter"
)

// Run runs all checks, each with a store of its own that open returns empty.
func Run(t *testing.T, open func(t *testing.T) filter.GreyStore) {
	t.Run("keeps", func(t *testing.T) { keeps(t, open(t)) })
	t.Run("one at a time", func(t *testing.T) { oneAtATime(t, open(t)) })
	t.Run("calls nobody late", func(t *testing.T) { callsNobodyLate(t, open(t)) })
}

// keeps: a record is what the last Update made of it, to the second, and no
// other has changed.
func keeps(t *testing.T, s filter.GreyStore) {
	now := time.Unix(1_700_000_000, 0)
	records := map[string]filter.GreyRecord{
		"a":                {First: now, Expires: now.Add(time.Hour)},
		"b":                {First: now, Expires: now.Add(24 * time.Hour), Passed: true},
		"a\x00":            {First: now.Add(time.Second), Expires: now.Add(time.Minute)},
		"sixteen octets..": {First: now.Add(-time.Hour), Expires: now.Add(time.Minute)},
	}
	for key, r := range records {
		var got filter.GreyRecord
		if err := s.Update(t.Context(), key, func(old filter.GreyRecord) filter.GreyRecord { got = old; return r }); err != nil {
			t.Fatal(err)
		}
		if got != (filter.GreyRecord{}) {
			t.Errorf("%q: %+v before it was put", key, got)
		}
	}
	if got := look(t, s, "c"); got != (filter.GreyRecord{}) {
		t.Errorf("%+v, of which nobody has heard", got)
	}
	for key, want := range records {
		if got := look(t, s, key); !got.First.Equal(want.First) || !got.Expires.Equal(want.Expires) || got.Passed != want.Passed {
			t.Errorf("%q: %+v, want %+v", key, got, want)
		}
	}
}

// look returns a record.
func look(t *testing.T, s filter.GreyStore, key string) (r filter.GreyRecord) {
	t.Helper()
	err := s.Update(t.Context(), key, func(old filter.GreyRecord) filter.GreyRecord { r = old; return old })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// oneAtATime: no Update of a key is lost to another.
func oneAtATime(t *testing.T, s filter.GreyStore) {
	const clients, times = 8, 20
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for range times {
				err := s.Update(t.Context(), "counter", func(r filter.GreyRecord) filter.GreyRecord {
					if r.First.IsZero() {
						r.First = time.Unix(0, 0)
					}
					r.First, r.Expires = r.First.Add(time.Second), time.Now().Add(time.Hour)
					return r
				})
				if err == nil {
					err = s.Update(t.Context(), fmt.Sprint("own ", i), func(filter.GreyRecord) filter.GreyRecord {
						return filter.GreyRecord{First: time.Unix(int64(i)+1, 0), Expires: time.Now().Add(time.Hour)}
					})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := look(t, s, "counter").First.Unix(); got != clients*times {
		t.Errorf("%d updates have left their mark, of %d", got, clients*times)
	}
	for i := range clients {
		if got := look(t, s, fmt.Sprint("own ", i)).First.Unix(); got != int64(i)+1 {
			t.Errorf("record %d is that of %d", i, got-1)
		}
	}
}

// callsNobodyLate: an Update whose context has ended returns its error, or has
// been made; its function is not called any more. (The race detector sees it.)
func callsNobodyLate(t *testing.T, s filter.GreyStore) {
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			all.Go(cancel)
			calls := 0
			err := s.Update(ctx, fmt.Sprint(i), func(filter.GreyRecord) filter.GreyRecord {
				calls++
				return filter.GreyRecord{First: time.Unix(1, 0), Expires: time.Now().Add(time.Hour)}
			})
			calls++
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
