package greylist

import (
	"context"
	"sync"
	"time"

	"github.com/sqmail/sqmail/filter"
)

// File is a [filter.GreyStore] that opens its [Store] when it is first used, so
// that those who do not greylist have none. A store that cannot be opened is
// tried again after a minute; until then every Update fails. Its methods may be
// called concurrently; the fields must not change then.
type File struct {
	// Path and MaxRecords are those of Open.
	Path       string
	MaxRecords int

	once    sync.Once
	opening chan struct{} // holds one token: who has it may change what follows
	store   *Store
	err     error
	tried   time.Time
	closed  bool
}

var _ filter.GreyStore = (*File)(nil)

// retryAfter is how long a store that could not be opened is left alone.
const retryAfter = time.Minute

// Update changes a record; see [Store.Update]. Its errors are those of Open,
// too.
func (f *File) Update(ctx context.Context, key string, change func(filter.GreyRecord) filter.GreyRecord) error {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	return s.Update(ctx, key, change)
}

// open returns the store.
func (f *File) open(ctx context.Context) (*Store, error) {
	f.init()
	select {
	case <-f.opening:
		defer func() { f.opening <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case f.closed:
		return nil, ErrClosed
	case f.store != nil:
		return f.store, nil
	case f.err != nil && time.Since(f.tried) < retryAfter:
		return nil, f.err
	}
	f.store, f.err = Open(f.Path, f.MaxRecords)
	f.tried = time.Now()
	return f.store, f.err
}

func (f *File) init() {
	f.once.Do(func() {
		f.opening = make(chan struct{}, 1)
		f.opening <- struct{}{}
	})
}

// Close closes the store, if it is open. What has not been written by then is
// written.
func (f *File) Close() error {
	f.init()
	<-f.opening
	defer func() { f.opening <- struct{}{} }()
	if f.closed {
		return nil
	}
	f.closed = true
	if f.store == nil {
		return nil
	}
	return f.store.Close()
}
