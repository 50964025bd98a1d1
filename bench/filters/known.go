package main

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/greylist"
)

// makeGreylist enters what the clients send, from wherever, as it is when they
// have come back in time.
func (l *lists) makeGreylist() (err error) {
	if l.greylist, err = greylist.Open(filepath.Join(l.dir, "greylist"), 0); err != nil {
		return err
	}
	var all learning
	f := &filter.Greylist{Store: &all}
	for n := range networks {
		peer := &sqmail.Peer{Remote: netip.AddrPortFrom(clientAddress(n), 40000)}
		for i := range pairs {
			from, to := pair(i, l.records)
			s := &filter.Session{Peer: peer, Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf(from)}}
			if _, err := f.Recipient(context.Background(), s, &sqmail.Recipient{Path: sqmail.PathOf(to)}); err != nil {
				return err
			}
		}
	}
	return all.writeTo(l.greylist)
}

// learning is a GreyStore that only notes what it is asked for.
type learning []string

func (all *learning) Update(_ context.Context, key string, _ func(filter.GreyRecord) filter.GreyRecord) error {
	*all = append(*all, key)
	return nil
}

// writeTo enters a record that has passed for each key, many at a time: they
// share syncs.
func (all learning) writeTo(store filter.GreyStore) error {
	now := time.Now()
	record := filter.GreyRecord{First: now.Add(-time.Hour), Passed: true, Expires: now.Add(35 * 24 * time.Hour)}
	const writers = 500
	errs := make([]error, writers)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := w; i < len(all) && errs[w] == nil; i += writers {
				errs[w] = store.Update(context.Background(), all[i], func(filter.GreyRecord) filter.GreyRecord { return record })
			}
		})
	}
	writing.Wait()
	return errors.Join(errs...)
}
