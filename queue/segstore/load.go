package segstore

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// loader is the goroutine that fills the index after Open.
type loader struct {
	first queue.ID      // messages with lower numbers were there before Open
	done  chan struct{} // closed when it has ended
	err   error         // how; set before done is closed
	quit  chan struct{} // closed when it is to end
	wait  sync.WaitGroup
}

// start starts the goroutine; Close stops it.
func (l *loader) start(r *recovery) {
	s := r.s
	l.first = queue.ID(s.nextID.Load())
	s.index.Split(l.first)
	l.wait.Go(func() {
		switch err := r.load(); {
		case err == nil:
		case l.stopped():
			l.err = queue.ErrClosed
		default:
			s.log.Error("queue: the index cannot be loaded, the store is closed", "err", err)
			l.err = fmt.Errorf("%w: its index cannot be loaded: %w", queue.ErrClosed, err)
			s.index.CloseWith(l.err)
		}
		close(l.done)
		s.keeper.wake()
	})
}

// patience is what Close gives the loading to end. If it does there is a
// checkpoint, and the next start need not do it all again.
const patience = time.Second

func (l *loader) stop() {
	select {
	case <-l.done:
	case <-time.After(patience):
	}
	close(l.quit)
	l.wait.Wait()
}

func (l *loader) stopped() bool { return isClosed(l.quit) }

// loaded reports whether all is in the index.
func (l *loader) loaded() bool {
	select {
	case <-l.done:
		return l.err == nil
	default:
		return false
	}
}

// Loaded waits until every message that was there when the store was opened
// is in the index, and returns nil. Messages are leased, and new ones taken,
// before that. If the index cannot be loaded, Loaded returns why, an error that
// is [queue.ErrClosed] as well: the store is closed then but for Close. It fails
// with ctx's error, too.
func (s *Store) Loaded(ctx context.Context) error {
	select {
	case <-s.loader.done:
		return s.loader.err
	default:
	}
	select {
	case <-s.loader.done:
		return s.loader.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// known waits until it is known whether a message is in the queue.
func (s *Store) known(ctx context.Context, id queue.ID) error {
	if id >= s.loader.first || s.loader.loaded() || s.has(id) {
		return nil
	}
	return s.Loaded(ctx)
}

// load is the second part of the recovery. No message is in the index before
// everything that was written is read: it may be about that message.
func (r *recovery) load() error {
	s := r.s
	s.opt.pause("read")
	err := r.read(r.unread)
	if err == nil {
		r.raiseLSN()
		err = r.secure()
	}
	if err == nil {
		s.opt.pause("build")
		err = r.build()
	}
	if err == nil {
		s.opt.pause("finish")
		r.dropEmpty()
		r.checkBodies()
		r.putLostAside()
	}
	if err == nil && s.loader.stopped() {
		err = errStopped
	}
	if err != nil {
		return err
	}
	s.log.Info("queue: index loaded", "messages", r.count, "took", time.Since(r.began))
	return nil
}

// dropEmpty sees to segments that were never written to in this use. Nothing
// says that their names are durable, unless the checkpoint does. Those are
// spares, unless it says as well that nothing is appended to them any more, or
// numbers were guessed, of which their labels do not tell. The others are made
// spares, as far as they are needed.
func (r *recovery) dropEmpty() {
	s := r.s
	ready, others := r.sortEmpty()
	for _, g := range ready {
		if err := s.restore(g); err != nil {
			others = append(others, g)
			continue
		}
		s.index.Lock()
		g.sealed = false
		s.spares = append(s.spares, g)
		delete(s.segments, g.seq)
		s.index.Unlock()
	}
	for _, g := range others {
		s.index.Lock()
		enough := len(s.spares) >= wantSpares
		s.index.Unlock()
		var spare *segment
		var err error
		if !enough {
			if spare, err = s.adopt(g); err != nil {
				s.log.Warn("queue: an empty segment cannot be used again", "segment", g.number, "err", err)
			}
		}
		if spare == nil {
			g.f.Close()
		}
		s.index.Lock()
		delete(s.segments, g.seq)
		if spare != nil {
			s.spares = append(s.spares, spare)
		} else {
			s.doomed = append(s.doomed, g.number) // until then its label is of use
		}
		s.index.Unlock()
	}
}

// sortEmpty returns the empty segments that are spares as they are, and those
// that are not.
func (r *recovery) sortEmpty() (ready, others []*segment) {
	s := r.s
	s.index.Lock()
	defer s.index.Unlock()
	for seq, g := range r.segments {
		if _, void := r.voids[seq]; void || g.end > segmentBody || len(g.tombs) > 0 || g.first() {
			continue
		}
		var was *snapshotSegment
		if r.snap != nil {
			was = r.snap.segments[seq]
		}
		switch {
		case was == nil:
			others = append(others, g)
		case !was.sealed && !r.guess && len(s.spares)+len(ready) < wantSpares:
			ready = append(ready, g)
		}
	}
	return ready, others
}

// checkBodies removes body files that no message has. If anything was damaged
// they are put aside instead: its message may be what was.
func (r *recovery) checkBodies() {
	s := r.s
	for _, name := range r.bodies {
		if s.loader.stopped() {
			return
		}
		path := filepath.Join(s.dir, "bodies", name)
		number, ok := fileNumber(name, ".body")
		switch {
		case !ok:
			r.foreign(path)
		case r.wanted[number]:
		case r.damage.Load() || r.lost.Load():
			r.foreign(path)
		default:
			s.removeBody(bodyFile{number: number})
		}
	}
}
