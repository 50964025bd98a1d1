// Package spool makes the stores that the benchmarks fill.
package spool

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/disk"
	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// Open opens a store in a directory; every sync of it takes delay longer.
func Open(dir string, delay time.Duration) (*segstore.Store, error) {
	if delay == 0 {
		return segstore.Open(dir, nil)
	}
	return segstore.OpenOn(disk.Slow{FS: spoolfs.Disk{}, Delay: delay}, dir, nil)
}

// Temp makes a directory below dir ("": the system's place for such), and
// returns it with what removes it.
func Temp(dir string) (string, func(), error) {
	path, err := os.MkdirTemp(dir, "sqmail-bench-")
	return path, func() { os.RemoveAll(path) }, err
}

// Fill commits n messages from 64 goroutines, as fast as it goes.
func Fill(store queue.Store, n int, body []byte, message func(i int) queue.Submission) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := commit(ctx, store, body, message(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

func commit(ctx context.Context, store queue.Store, body []byte, s queue.Submission) error {
	d, err := store.Begin(ctx)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := d.Write(body); err != nil {
		return err
	}
	_, err = d.Commit(ctx, s)
	return err
}

// Envelope returns one for a message from and to one address.
func Envelope(from, to string) *sqmail.Envelope {
	return &sqmail.Envelope{ReversePath: sqmail.PathOf(from), Recipients: []sqmail.Recipient{{Path: sqmail.PathOf(to)}}}
}

// Size returns the octets of all files in a directory, by what they hold on
// the disk.
func Size(dir string) (total int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += allocated(info)
			}
		}
		return nil
	})
	return total
}
