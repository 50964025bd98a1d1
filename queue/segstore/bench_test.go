package segstore_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// slow is a disk whose syncs take 5 ms longer.
type slow struct{ spoolfs.FS }

type slowFile struct{ spoolfs.File }

func (s slow) Create(name string, perm os.FileMode) (spoolfs.File, error) {
	f, err := s.FS.Create(name, perm)
	return slowFile{f}, err
}

func (s slow) Open(name string) (spoolfs.File, error) {
	f, err := s.FS.Open(name)
	return slowFile{f}, err
}

func (f slowFile) Datasync() error {
	time.Sleep(5 * time.Millisecond)
	return f.File.Datasync()
}

// parallel runs do b.N times, in n goroutines.
func parallel(b *testing.B, n int, do func()) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range n {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func benchStore(b *testing.B, files spoolfs.FS) *segstore.Store {
	b.Helper()
	s, err := segstore.OpenOn(files, b.TempDir(), &segstore.Options{NoDrop: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func benchPut(b *testing.B, s *segstore.Store, body []byte, sub queue.Submission) {
	d, err := s.Begin(ctx)
	if err != nil {
		b.Error(err)
		return
	}
	d.Write(body)
	if _, err := d.Commit(ctx, sub); err != nil {
		b.Error(err)
	}
}

// BenchmarkCommit commits messages while a worker delivers them, beside what
// the same disk does with nothing but writes and syncs (raw: each writer has
// a file of its own that exists in full).
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 100 << 10} {
		body := bytes.Repeat([]byte("x"), size)
		sub := queue.Submission{Envelope: dropEnvelope("1")}
		for _, writers := range []int{1, 32, 128} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, writers), func(b *testing.B) {
				s := benchStore(b, spoolfs.Disk{})
				stop := deliver(s, 2)
				parallel(b, writers, func() { benchPut(b, s, body, sub) })
				stop()
			})
			if size == 4<<10 {
				b.Run(fmt.Sprintf("%dKiB/%d/5ms", size>>10, writers), func(b *testing.B) {
					s := benchStore(b, slow{spoolfs.Disk{}})
					parallel(b, writers, func() { benchPut(b, s, body, sub) })
				})
			}
			b.Run(fmt.Sprintf("%dKiB/%d/raw", size>>10, writers), func(b *testing.B) { benchRaw(b, writers, body) })
		}
	}
}

// deliver finishes messages until it is stopped.
func deliver(s *segstore.Store, workers int) (stop func()) {
	end, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				l, err := s.Lease(end, time.Minute)
				if err != nil {
					return
				}
				l.Done(ctx, nil)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// benchRaw is the ceiling: each writer overwrites a file and syncs it.
func benchRaw(b *testing.B, writers int, body []byte) {
	dir := b.TempDir()
	files := make(chan spoolfs.File, writers)
	for i := range writers {
		f, err := spoolfs.Disk{}.Create(filepath.Join(dir, fmt.Sprint(i)), 0o600)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		f.WriteAt(body, 0)
		f.Datasync()
		files <- f
	}
	parallel(b, writers, func() {
		f := <-files
		f.WriteAt(body, 0)
		f.Datasync()
		files <- f
	})
}

// BenchmarkLeaseDone is the way of a message through a queue that does nothing
// else: lease and finish.
func BenchmarkLeaseDone(b *testing.B) {
	s := benchStore(b, spoolfs.Disk{})
	body := bytes.Repeat([]byte("x"), 4<<10)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range b.N/64 + 1 {
				benchPut(b, s, body, queue.Submission{Envelope: dropEnvelope("1")})
			}
		})
	}
	all.Wait()
	parallel(b, 256, func() {
		l, err := s.Lease(ctx, time.Minute)
		if err != nil {
			b.Error(err)
			return
		}
		l.Done(ctx, nil)
	})
}

// BenchmarkOpen opens a store with many deferred messages, with and without a
// checkpoint. It reports when the store takes messages (ready), when all are in
// the index (loaded), and what the index takes for each. The messages have no
// body, to spare the disk; that makes no difference to the index.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			s, err := segstore.Open(dir, &segstore.Options{NoDrop: true})
			if err != nil {
				b.Fatal(err)
			}
			fill(b, s, n)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.Run("checkpoint", func(b *testing.B) { benchOpen(b, dir, n, func() {}) })
			b.Run("no-checkpoint", func(b *testing.B) {
				benchOpen(b, dir, n, func() { os.Remove(filepath.Join(dir, "checkpoint")) })
			})
		})
	}
}

func benchOpen(b *testing.B, dir string, n int, prepare func()) {
	var before, after runtime.MemStats
	var ready time.Duration
	for b.Loop() {
		b.StopTimer()
		prepare()
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		start := time.Now()
		s, err := segstore.Open(dir, &segstore.Options{NoDrop: true})
		if err != nil {
			b.Fatal(err)
		}
		ready += time.Since(start)
		if err := s.Loaded(ctx); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if st := s.Stats(); st.Deferred != n {
			b.Fatalf("%+v", st)
		}
		s.Close()
		b.StartTimer()
	}
	b.ReportMetric(ready.Seconds()/float64(b.N), "s-ready")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s-loaded")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/msg")
}

// fill commits n messages and defers them.
func fill(b *testing.B, s *segstore.Store, n int) {
	b.Helper()
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for range 256 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				benchPut(b, s, nil, queue.Submission{Envelope: dropEnvelope("1")})
				l, err := s.Lease(ctx, time.Minute)
				if err == nil {
					err = l.Retry(ctx, []queue.Attempt{{Number: 1, At: time.Now()}}, time.Now().Add(time.Hour))
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
}
