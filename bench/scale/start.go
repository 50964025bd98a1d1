package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
	"golang.org/x/sys/unix"
)

// start opens a store, measures how new mail fares until it is loaded, and
// kills its process.
func start(path string, n int) error {
	before := meter.Heap()
	began := time.Now()
	store, err := segstore.Open(path, nil)
	if err != nil {
		return err
	}
	ready := time.Since(began)
	var loaded time.Duration
	done := make(chan error, 1)
	go func() {
		err := store.Loaded(context.Background())
		loaded = time.Since(began)
		done <- err
	}()
	took, err := meanwhile(store, done)
	if err != nil {
		return err
	}
	st := store.Stats()
	if st.Deferred < n {
		return fmt.Errorf("%d messages are there, want %d", st.Deferred, n)
	}
	each := float64(meter.Heap()-before) / float64(st.Deferred)
	fmt.Printf("ready %v, loaded %v, %.0f B of memory each", round(ready), round(loaded), each)
	if len(took) > 0 {
		slices.Sort(took)
		fmt.Printf("; %d new messages meanwhile, committed, leased and finished in %v (median), %v (most)", len(took), round(took[len(took)/2]), round(took[len(took)-1]))
	}
	fmt.Println()
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// meanwhile has messages come and go, one after the other, until the loading is
// done, and returns what they took.
func meanwhile(store *segstore.Store, loaded <-chan error) (took []time.Duration, err error) {
	body := load.Message(4096)
	env := spool.Envelope("sender@client.test", "user@near.test")
	for {
		select {
		case err := <-loaded:
			return took, err
		default:
		}
		began := time.Now()
		if err := spool.Fill(store, 1, body, func(int) queue.Submission { return queue.Submission{Envelope: env} }); err != nil {
			return nil, err
		}
		lease, err := store.Lease(context.Background(), time.Minute)
		if err != nil {
			return nil, err
		}
		if err := lease.Done(context.Background(), nil); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
}

// evict takes the files of a store out of the page cache.
func evict(dir string) error {
	unix.Sync()
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
	})
}
