package segstore

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
)

// drop is the goroutine that takes in what others have left in the drop
// directory (see [Submit]).
type drop struct {
	s      *Store
	cancel context.CancelFunc
	done   sync.WaitGroup
	seen   map[string]time.Time // unfinished files, since when

	spoiled bool // the directory could not be synced once
}

const (
	dropPoll   = time.Second           // where the kernel does not tell of new files,
	dropCheck  = 5 * time.Second       // and where it does
	dropGap    = 10 * time.Millisecond // between two looks at the directory, however many come
	dropPause  = 10 * time.Second      // after a failure
	dropGiveUp = 36 * time.Hour        // an unfinished file of this age has no writer any more
)

// dropPerm lets everybody put a file there, and its owner alone see the names
// and remove files. Files get the directory's group, which can read them.
const dropPerm = fs.ModeSticky | fs.ModeSetgid | 0o733

func (s *Store) dropDir() string { return filepath.Join(s.dir, "drop") }

// start makes the directory and starts the goroutine; Close stops it.
func (d *drop) start(s *Store) error {
	d.s, d.cancel = s, func() {}
	if s.opt.NoDrop {
		return nil
	}
	if err := s.fs.Mkdir(s.dropDir(), dropPerm); err == nil {
		if err := s.fs.SyncDir(s.dir); err != nil {
			s.fs.Remove(s.dropDir())
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if s.opt.quiet {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.done.Go(func() { d.run(ctx) })
	return nil
}

func (d *drop) stop() {
	d.cancel()
	d.done.Wait()
}

// run looks at the directory when the kernel tells of a new file there and
// every few seconds in any case, or else every second.
func (d *drop) run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	over, stop, poll := d.watch(changed)
	defer stop()
	for {
		gap := dropGap
		if err := d.takeAll(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, queue.ErrClosed) {
			d.s.log.Warn("queue: drop directory", "err", err)
			gap = dropPause
		}
		if !pause(ctx, gap) {
			return
		}
		select {
		case <-changed:
		case <-time.After(poll - min(gap, poll)):
		case <-over:
			over, poll = nil, dropPoll
		case <-ctx.Done():
			return
		}
	}
}

// watch has changed told of new files, until over is closed or stop called.
// It says how often to look nevertheless.
func (d *drop) watch(changed chan<- struct{}) (over <-chan struct{}, stop func(), poll time.Duration) {
	if _, real := d.s.fs.(spoolfs.Disk); real && d.s.opt.Watch {
		over, stop, err := watchDir(&d.done, d.s.dropDir(), changed)
		if err == nil {
			return over, stop, dropCheck
		}
		d.s.log.Debug("queue: drop directory is not watched", "err", err)
	}
	return nil, func() {}, dropPoll
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// takeAll takes in what is there, when the tokens are known of what was taken
// in before.
func (d *drop) takeAll(ctx context.Context) error {
	if err := d.s.Loaded(ctx); err != nil {
		return err
	}
	names, err := d.s.fs.ReadDir(d.s.dropDir())
	if err != nil {
		return err
	}
	if d.s.tokenCount() > 0 {
		if err := d.forget(names); err != nil {
			return err
		}
	}
	parts := make(map[string]time.Time)
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		path := filepath.Join(d.s.dropDir(), name)
		if strings.HasSuffix(name, dropPart) {
			d.unfinished(path, parts)
			continue
		}
		token, ok := dropToken(name)
		if !ok {
			d.putAside(path, errCorrupt)
			continue
		}
		if err := d.take(ctx, path, token); err != nil {
			return err
		}
	}
	d.seen = parts
	return nil
}

func dropToken(name string) (token [16]byte, ok bool) {
	digits, found := strings.CutSuffix(name, dropSuffix)
	if !found || len(digits) != 2*len(token) {
		return token, false
	}
	_, err := hex.Decode(token[:], []byte(digits))
	return token, err == nil
}

// unfinished removes a file that nobody can be writing any more.
func (d *drop) unfinished(path string, parts map[string]time.Time) {
	since, known := d.seen[path]
	if !known {
		since = time.Now()
	}
	if time.Since(since) > dropGiveUp {
		d.s.fs.Remove(path)
		return
	}
	parts[path] = since
}

// putAside moves what is no drop file to the quarantine.
func (d *drop) putAside(path string, cause error) {
	d.s.quarantined.Add(1)
	d.s.log.Error("queue: foreign or damaged file in the drop directory put aside", "file", path, "err", cause)
	d.s.saveFile(path)
}

// take takes in one file and removes it. The message's record has the token:
// whatever fails, and whenever power does, the file is not taken in twice.
func (d *drop) take(ctx context.Context, path string, token [16]byte) error {
	if !d.s.hasToken(token) {
		f, err := d.s.fs.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // withdrawn by its sender
		case errors.Is(err, spoolfs.ErrNotRegular), errors.Is(err, syscall.ELOOP), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENXIO):
			d.putAside(path, err)
			return nil
		case err != nil:
			return err
		}
		err = d.read(ctx, f, token)
		f.Close()
		if errors.Is(err, errCorrupt) {
			d.putAside(path, err)
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := d.s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// read commits the message in a drop file. What it commits is what it has
// checked, even if the file is changed meanwhile.
func (d *drop) read(ctx context.Context, f spoolfs.File, token [16]byte) error {
	h, m, err := dropMessage(f)
	if err != nil {
		return err
	}
	open, err := d.s.Begin(ctx)
	if err != nil {
		return err
	}
	dr := open.(*draft)
	defer dr.Abort()
	w := &dropWriter{w: dr}
	if _, err := io.CopyBuffer(w, io.NewSectionReader(f, dropHeadLen, h.body), make([]byte, fileBuffer)); err != nil {
		return err
	}
	if w.size != h.body || w.sum != h.bodyCRC {
		return errCorrupt
	}
	sub := queue.Submission{Envelope: &m.env, Arrived: m.arrived, Due: m.due, Held: h.flags&flagHeld != 0, Journal: m.journal}
	id, err := dr.commit(ctx, sub, &token)
	if err == nil {
		d.s.log.Debug("queue: message taken from the drop directory", "message", id)
	}
	return err
}

// forget forgets the tokens of files that are gone for good.
func (d *drop) forget(names []string) error {
	if d.spoiled {
		return nil
	}
	if err := d.s.fs.SyncDir(d.s.dropDir()); err != nil {
		d.spoiled = true // a later sync would say nothing of what is gone now
		return err
	}
	there := make(map[[16]byte]bool)
	for _, name := range names {
		if token, ok := dropToken(name); ok {
			there[token] = true
		}
	}
	d.s.index.Lock()
	defer d.s.index.Unlock()
	for token := range d.s.tokens {
		if !there[token] {
			delete(d.s.tokens, token)
		}
	}
	return nil
}

func (s *Store) tokenCount() int {
	s.index.Lock()
	defer s.index.Unlock()
	return len(s.tokens)
}

func (s *Store) hasToken(token [16]byte) bool {
	s.index.Lock()
	defer s.index.Unlock()
	return s.tokens[token]
}
