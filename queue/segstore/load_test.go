package segstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// loading opens a store whose loading stops before a stage, until the function
// that is returned is called.
func loading(t *testing.T, disk *crashfs.FS, stage string) (*segstore.Store, func()) {
	t.Helper()
	g := &gate{stage: stage, open: make(chan struct{})}
	s := opened(t, "/queue", segstore.TinyQuiet(disk).Unread().Paused(g.pass))
	return s, func() {
		close(g.open)
		if err := s.Loaded(ctx); err != nil {
			t.Error(err)
		}
	}
}

// soon is a context that ends before the loading goes on by itself.
func soon(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(ctx, time.Second)
	t.Cleanup(cancel)
	return c
}

// killed returns the disk of a process that was killed with three messages in
// its store: one that is finished, one that is deferred, one that is held.
func killed(t *testing.T) (disk *crashfs.FS, deferred, held queue.ID) {
	disk = &crashfs.FS{}
	s := open(t, "/queue", segstore.TinyQuiet(disk))
	put(t, s, "done\n", queue.Submission{Envelope: dropEnvelope("done")})
	deferred = put(t, s, "deferred\n", queue.Submission{Envelope: dropEnvelope("deferred")})
	held = put(t, s, "held\n", queue.Submission{Envelope: dropEnvelope("held")})
	for range 2 {
		l, err := s.Lease(ctx, time.Minute)
		if err == nil && l.Entry().ID == deferred {
			err = l.Retry(ctx, []queue.Attempt{{Number: 1}}, time.Time{})
		} else if err == nil {
			err = l.Done(ctx, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Hold(ctx, held); err != nil {
		t.Fatal(err)
	}
	disk = disk.Crash(crashfs.LoseAll, 1)
	s.Close()
	return disk, deferred, held
}

// Before a store has read what it holds, mail comes and is delivered, and no
// message is touched whose end may stand in what was not read yet.
func TestMailComesWhileTheIndexIsLoaded(t *testing.T) {
	for _, stage := range []string{"read", "build"} {
		t.Run(stage, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, deferred, held := killed(t)
				s, goOn := loading(t, disk, stage)
				defer s.Close()
				id := put(t, s, "new\n", queue.Submission{Envelope: dropEnvelope("new")})
				if id <= held {
					t.Errorf("message %v follows %v", id, held)
				}
				if st := s.Stats(); !st.Loading || st.Fresh != 1 || st.Deferred != 0 {
					t.Errorf("%+v, want the new message alone", st)
				}
				l, err := s.Lease(ctx, time.Minute)
				if err != nil || l.Entry().ID != id {
					t.Fatalf("leased %+v, %v, want the new message", l, err)
				}
				if err := l.Done(ctx, nil); err != nil {
					t.Fatal(err)
				}
				if l, err := s.Lease(soon(t), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("leased %+v, %v before everything is known", l, err)
				}
				goOn()
				if st := s.Stats(); st.Loading || st.Deferred != 1 || st.Held != 1 || st.Fresh != 0 {
					t.Errorf("%+v, want one deferred and one held", st)
				}
				l, err = s.Lease(ctx, time.Minute)
				if err != nil || l.Entry().ID != deferred || len(l.Entry().Journal) != 1 {
					t.Errorf("leased %+v, %v, want the deferred message with its journal", l, err)
				}
			})
		})
	}
}

// What asks for a message that may be there, or for all, waits.
func TestQuestionsWaitUntilTheIndexIsLoaded(t *testing.T) {
	scan := func(ctx context.Context, s *segstore.Store) (n int, failed error) {
		for _, err := range s.Scan(ctx) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	for name, ask := range map[string]func(context.Context, *segstore.Store, queue.ID) error{
		"Open": func(ctx context.Context, s *segstore.Store, id queue.ID) error {
			m, err := s.Open(ctx, id)
			if err == nil {
				m.Close()
			}
			return err
		},
		"Hold":    func(ctx context.Context, s *segstore.Store, id queue.ID) error { return s.Hold(ctx, id) },
		"Release": func(ctx context.Context, s *segstore.Store, id queue.ID) error { return s.Release(ctx, id) },
		"Retry":   func(ctx context.Context, s *segstore.Store, id queue.ID) error { return s.Retry(ctx, id, time.Time{}) },
		"Remove":  func(ctx context.Context, s *segstore.Store, id queue.ID) error { return s.Remove(ctx, id) },
		"Replaces": func(ctx context.Context, s *segstore.Store, id queue.ID) error {
			d, err := s.Begin(ctx)
			if err != nil {
				return err
			}
			_, err = d.Commit(ctx, queue.Submission{Envelope: dropEnvelope("bounce"), Replaces: id})
			return err
		},
		"Scan": func(ctx context.Context, s *segstore.Store, _ queue.ID) error {
			n, err := scan(ctx, s)
			if err == nil && n != 2 {
				err = fmt.Errorf("%d messages in the scan, want 2", n)
			}
			return err
		},
		"Loaded": func(ctx context.Context, s *segstore.Store, _ queue.ID) error { return s.Loaded(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, deferred, _ := killed(t)
				s, goOn := loading(t, disk, "build")
				defer s.Close()
				if err := ask(soon(t), s, deferred); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("before it is known: %v", err)
				}
				answer := make(chan error)
				go func() { answer <- ask(ctx, s, deferred) }()
				synctest.Wait()
				select {
				case err := <-answer:
					t.Fatalf("did not wait: %v", err)
				default:
				}
				goOn()
				if err := <-answer; err != nil {
					t.Error(err)
				}
				if _, err := s.Open(ctx, 1); !errors.Is(err, queue.ErrNotFound) {
					t.Errorf("the finished message: %v", err)
				}
			})
		})
	}
}

// A message that nobody can have is not waited for.
func TestANewNumberIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, _, _ := killed(t)
		s, goOn := loading(t, disk, "read")
		defer s.Close()
		defer goOn()
		id := put(t, s, "new\n", queue.Submission{Envelope: dropEnvelope("new")})
		if err := s.Remove(soon(t), id+1); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if err := s.Remove(soon(t), id); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseEndsTheLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, _, _ := killed(t)
		s, _ := loading(t, disk, "read")
		id := put(t, s, "new\n", queue.Submission{Envelope: dropEnvelope("new")})
		asked := make(chan error)
		go func() { asked <- s.Loaded(ctx) }()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-asked; err != queue.ErrClosed {
			t.Errorf("Loaded: %v", err)
		}
		s = open(t, "/queue", segstore.TinyQuiet(disk))
		defer s.Close()
		if st := s.Stats(); st.Deferred != 1 || st.Held != 1 || st.Fresh != 1 {
			t.Errorf("%+v, want three messages", st)
		}
		if got := put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("x")}); got <= id {
			t.Errorf("message %v follows %v", got, id)
		}
	})
}

// A disk that fails while the index is loaded closes the store, and everybody
// hears why. What was accepted meanwhile is kept.
func TestALoadingThatFailsClosesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, _, _ := killed(t)
		broken := false
		disk.Hook = func(op crashfs.Op) error {
			if broken && op.Before && strings.HasSuffix(op.Name, "redo.new") {
				return syscall.EIO
			}
			return nil
		}
		g := &gate{stage: "read", open: make(chan struct{})}
		s := opened(t, "/queue", segstore.TinyQuiet(disk).Unread().Paused(g.pass))
		put(t, s, "new\n", queue.Submission{Envelope: dropEnvelope("new")})
		l, err := s.Lease(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() {
			_, err := s.Lease(ctx, time.Minute)
			waiting <- err
		}()
		synctest.Wait()
		broken = true
		close(g.open)
		loaded := s.Loaded(ctx)
		_, begin := s.Begin(ctx)
		for name, err := range map[string]error{
			"Loaded": loaded, "Lease": <-waiting, "Begin": begin, "Hold": s.Hold(ctx, 1), "Hold of a new one": s.Hold(ctx, l.Entry().ID),
		} {
			if !errors.Is(err, queue.ErrClosed) || !errors.Is(err, syscall.EIO) || sqmail.ReplyFor(err).Code/100 != 4 {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := l.Done(ctx, nil); !errors.Is(err, queue.ErrLeaseLost) {
			t.Errorf("Done: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		broken = false
		s = open(t, "/queue", segstore.TinyQuiet(disk))
		defer s.Close()
		if st := s.Stats(); st.Deferred != 1 || st.Held != 1 || st.Fresh != 1 {
			t.Errorf("%+v, want three messages", st)
		}
	})
}

// A spare that was not needed at a start is sealed for the checkpoint. If a
// later start used it again as it is, a crash after that would lose what was
// written to it, for what is sealed is not read.
func TestASpareThatTheCheckpointCallsSealedIsNotWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &crashfs.FS{}
		s := open(t, "/queue", segstore.TinyQuiet(disk))
		for range 3 {
			put(t, s, strings.Repeat("x\n", 1500), queue.Submission{Envelope: dropEnvelope("1")})
		}
		s.KeepHouse() // there are spares now
		s.Close()
		s, goOn := loading(t, disk, "read")
		put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("2")})
		s.KeepHouse() // and others, so that those are not needed
		goOn()
		s.Close()
		s = open(t, "/queue", segstore.TinyQuiet(disk))
		for range 30 {
			put(t, s, "x\n", queue.Submission{Envelope: dropEnvelope("3")})
		}
		left := open(t, "/queue", segstore.TinyQuiet(disk.Crash(crashfs.LoseAll, 1)))
		defer left.Close()
		defer s.Close()
		if n := left.Stats().Fresh; n != 34 {
			t.Errorf("%d messages are there after a crash, want 34", n)
		}
	})
}

// A store that is killed again before it has written a checkpoint guesses
// numbers again. They are others than the first time.
func TestNumbersAreGuessedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &crashfs.FS{}
		s := open(t, "/queue", segstore.TinyQuiet(disk))
		for range 3 {
			put(t, s, strings.Repeat("x\n", 1500), queue.Submission{Envelope: dropEnvelope("1")})
		}
		s.KeepHouse() // there are spares now
		s.Close()
		last := queue.ID(3)
		for n := range 5 {
			s, goOn := loading(t, disk, "read")
			if n%2 == 0 {
				goOn() // the next start has its mail before it has read of this one's
			}
			for range 2 {
				id := put(t, s, "y\n", queue.Submission{Envelope: dropEnvelope("2")})
				if id <= last {
					t.Fatalf("start %d: message %v follows %v", n, id, last)
				}
				last = id
			}
			disk = disk.Crash(crashfs.LoseAll, 1)
			if n%2 != 0 {
				goOn()
			}
			s.Close()
		}
		s = open(t, "/queue", segstore.TinyQuiet(disk))
		defer s.Close()
		if n := s.Stats().Fresh; n != 13 {
			t.Errorf("%d messages, want 13", n)
		}
	})
}

// A redo file whose name may not be durable, because the sync of the directory
// failed, is made once more before it is relied on.
func TestARedoFileIsMadeOnceMoreBeforeItIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, _, _ := killed(t)
		renamed := false
		disk.Hook = func(op crashfs.Op) error {
			if op.Before && op.Kind == crashfs.SyncDir && op.Name == "/queue" && renamed {
				return syscall.EIO
			}
			renamed = renamed || op.Kind == crashfs.Rename && strings.HasSuffix(op.Name, "redo.new")
			return nil
		}
		s := opened(t, "/queue", segstore.TinyQuiet(disk))
		if err := s.Loaded(ctx); !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v, want EIO", err)
		}
		s.Close()
		points := 0
		disk.Hook = func(op crashfs.Op) error {
			for _, loss := range crashfs.Losses() {
				points++
				left := open(t, "/queue", segstore.TinyQuiet(op.Crash(loss, uint64(points))))
				if st := left.Stats(); st.Deferred != 1 || st.Held != 1 || st.Fresh != 0 || st.Quarantined != 0 {
					t.Errorf("crash at operation %d (%s %s), loss %q: %+v, want one deferred and one held", op.N, op.Kind, op.Name, loss, st)
				}
				left.Close()
			}
			return nil
		}
		open(t, "/queue", segstore.TinyQuiet(disk)).Close()
		t.Logf("%d crash points", points)
	})
}
