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
	stuck  map[string]bool      // what can be neither taken nor moved, and was told of

	spoiled bool // the directory could not be synced once
}

const (
	dropPoll   = time.Second           // where the kernel does not tell of new files,
	dropCheck  = 5 * time.Second       // and where it does
	dropGap    = 10 * time.Millisecond // between two looks at the directory, however many come,
	dropRest   = 10                    // and so many times as long as the last one took
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
	if disk, ok := s.fs.(interface{ OwnGroup(dir string) error }); ok {
		if err := disk.OwnGroup(s.dropDir()); err != nil { // the group of files to come, by which we read them
			s.log.Warn("queue: the group of the drop directory is not ours: what others submit cannot be read", "err", err)
		}
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
		began := time.Now()
		err := d.takeAll(ctx)
		// Whoever fills the directory with names does not keep a processor busy.
		gap := min(max(dropGap, dropRest*time.Since(began)), dropPause)
		if err != nil && ctx.Err() == nil && !errors.Is(err, queue.ErrClosed) {
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
	l := look{parts: make(map[string]time.Time), stuck: make(map[string]bool)}
	for _, name := range names {
		if err := d.takeOne(ctx, name, &l); err != nil {
			return err
		}
	}
	d.seen, d.stuck = l.parts, l.stuck
	return l.failed
}

// look is what was found in one look at the directory.
type look struct {
	parts  map[string]time.Time // unfinished files
	stuck  map[string]bool      // what is in the way
	failed error                // what may be taken later
}

// takeOne takes in what has a name. The error is not about that alone: the others
// cannot be taken either.
func (d *drop) takeOne(ctx context.Context, name string, l *look) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := filepath.Join(d.s.dropDir(), name)
	if d.stuck[name] {
		l.stuck[name] = true
		return nil
	}
	if strings.HasSuffix(name, dropPart) {
		d.unfinished(path, l.parts)
		return nil
	}
	err := errCorrupt
	if token, ok := dropToken(name); ok {
		err = d.take(ctx, path, token)
	}
	if later, ok := errors.AsType[fileError](err); ok {
		l.failed = errors.Join(l.failed, later)
		return nil
	}
	if isForeign(err) {
		if !d.putAside(path, err) {
			l.stuck[name] = true
		}
		return nil
	}
	return err
}

// fileError is trouble with one file, which may pass.
type fileError struct{ error }

// Unwrap returns the cause.
func (e fileError) Unwrap() error { return e.error }

// isForeign reports whether an error says that a file is none that [Submit] has
// made.
func isForeign(err error) bool {
	return errors.Is(err, errCorrupt) || errors.Is(err, spoolfs.ErrNotRegular) || errors.Is(err, spoolfs.ErrNotPlain) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENXIO) || errors.Is(err, fs.ErrPermission)
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

// putAside moves what is no drop file to the quarantine, and reports whether it
// is out of the way. A directory of somebody else's cannot be moved.
func (d *drop) putAside(path string, cause error) bool {
	d.s.quarantined.Add(1)
	d.s.log.Error("queue: foreign or damaged file in the drop directory put aside", "file", path, "err", cause)
	return d.s.saveFile(path) || d.s.fs.Remove(path) == nil
}

// take takes in one file and removes it. The message's record has the token:
// whatever fails, and whenever power does, the file is not taken in twice.
func (d *drop) take(ctx context.Context, path string, token [16]byte) error {
	if !d.s.hasToken(token) {
		f, err := openDrop(d.s.fs, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // withdrawn by its sender
		}
		if err != nil {
			return ofFile(err)
		}
		err = d.read(ctx, f, token)
		f.Close()
		if err != nil {
			return err
		}
	}
	if err := d.s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError{err}
	}
	return nil
}

// openDrop opens a drop file. What has cost its maker less than it would cost us
// is none: a file of two names, or with holes.
func openDrop(files spoolfs.FS, path string) (spoolfs.File, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	if real, ok := f.(interface{ Plain() error }); ok {
		err = real.Plain()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// read commits the message in a drop file. What it commits is what it has
// checked, even if the file is changed meanwhile.
func (d *drop) read(ctx context.Context, f spoolfs.File, token [16]byte) error {
	h, m, err := dropMessage(f)
	if err != nil {
		return ofFile(err)
	}
	open, err := d.s.Begin(ctx)
	if err != nil {
		return err
	}
	dr := open.(*draft)
	defer dr.Abort()
	w := &dropWriter{w: dr}
	body := dropReader{io.NewSectionReader(f, dropHeadLen, h.body)}
	if _, err := io.CopyBuffer(w, body, make([]byte, fileBuffer)); err != nil {
		return err
	}
	if w.size != h.body || w.sum != h.bodyCRC {
		return errCorrupt
	}
	// Nobody comes from the future: it would never be too old.
	arrived := m.arrived
	if now := time.Now(); arrived.After(now) {
		arrived = now
	}
	sub := queue.Submission{Envelope: &m.env, Arrived: arrived, Due: m.due, Held: h.flags&flagHeld != 0, Journal: m.journal}
	id, err := dr.commit(ctx, sub, &token)
	if err == nil {
		// What package queue says of the messages that it is given.
		d.s.log.Info("new msg", "id", uint64(id), "bytes", w.size+int64(len(m.env.Header)), "from", m.env.ReversePath.String(),
			"recipients", len(m.env.Recipients), "dropped", true)
	}
	return err
}

// dropReader marks errors of reading a drop file, as against the store's.
type dropReader struct{ io.Reader }

func (r dropReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fileError{err}
	}
	return n, err
}

// ofFile marks trouble with a file that is one of ours.
func ofFile(err error) error {
	if isForeign(err) {
		return err
	}
	return fileError{err}
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
