package segstore

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

// Options change how a [Store] works. Nil and the zero value mean the
// defaults.
type Options struct {
	// Logger hears of what was damaged, lost power or has no room. Nil: nobody.
	Logger *slog.Logger

	// Memory is how many octets the bodies of all drafts may take together;
	// beyond it they are written to files at once. 0: 32 MiB.
	Memory int64

	// NoDrop leaves the drop directory alone (see [Submit]).
	NoDrop bool

	// Watch has the kernel tell of new files in the drop directory, so that
	// they are taken in at once (Linux; elsewhere it changes nothing). Without
	// it the Store looks once a second. In a bubble of testing/synctest it
	// must not be set: a goroutine that waits for the kernel stops time.
	Watch bool

	fs          spoolfs.FS // nil: the disk
	segmentSize int64      // 0: 8 MiB
	bodyMax     int64      // the largest body that is kept in a segment; 0: 256 KiB
	logMax      int64      // log octets after which a checkpoint is due; 0: 64 MiB
	openMax     int64      // octets of segments that Open reads before it returns; 0: 64 MiB
	readers     int        // that read segments at the same time; 0: as many as there are processors
	quiet       bool       // no keeper: tests call it themselves

	pause func(stage string) // called before each stage of the loading; nil: nothing is
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.fs == nil {
		c.fs = spoolfs.Disk{}
	}
	for _, d := range []struct {
		value   *int64
		standby int64
	}{{&c.Memory, 32 << 20}, {&c.segmentSize, 8 << 20}, {&c.bodyMax, 256 << 10}, {&c.logMax, 64 << 20}, {&c.openMax, 64 << 20}} {
		if *d.value == 0 {
			*d.value = d.standby
		}
	}
	if c.readers == 0 {
		c.readers = runtime.GOMAXPROCS(0)
	}
	if c.pause == nil {
		c.pause = func(string) {}
	}
	return c
}

// Store is a [queue.Store] in a directory. Open makes one.
type Store struct {
	dir  string
	fs   spoolfs.FS
	opt  Options
	log  *slog.Logger
	lock io.Closer

	front *lane // what comes in, and what becomes of it
	rear  *lane // what is moved so that segments get free

	nextID, nextLSN, nextNumber atomic.Uint64
	lastSeq                     atomic.Uint32
	memory                      atomic.Int64 // octets of drafts
	quarantined                 atomic.Int64

	// index and what follows have one lock: index.Lock.
	index       agenda.Agenda[meta]
	segments    map[uint32]*segment
	spares      []*segment
	doomed      []uint64                   // files without use, to be removed after a checkpoint
	chains      map[agenda.Slot][]link     // states before the last one, oldest first
	bodies      map[queue.ID]bodyFile      // of messages that have one
	busy        map[queue.ID]chan struct{} // messages whose records are being written
	unreadTimes map[queue.ID]int           // how often the disk did not give a message
	tokens      map[[16]byte]bool          // drop files taken in, perhaps not removed yet
	logged      int64                      // octets since the last checkpoint
	dirty       bool                       // there is something to checkpoint

	bodyBytes atomic.Int64
	badSyncs  atomic.Int64 // of the directory of bodies
	making    sync.Mutex   // held while a segment file is made
	loader    loader
	keeper    keeper
	drop      drop
	closing   sync.Once
	closeErr  error
}

// meta is what the index knows of a message besides its place in the agenda.
type meta struct {
	msg, state       place
	msgLen, stateLen uint32 // stateLen 0: there is none
}

// link is a record of a chain.
type link struct {
	place
	size uint32
}

// Open opens the store in a directory, which it makes if it is not there; its
// parent must be. Only one process at a time can have a store open: for others
// the error says which one has it.
//
// Open returns as soon as messages can be taken, long before those of a large
// queue are known: their index is loaded meanwhile, at about a million messages
// a second. A message can be leased when it is in the index, and it is not there
// before all is known that was written about it. What asks for a certain
// message, or for all, waits until then; [Store.Loaded] tells, and so does the
// field Loading of Stats.
//
// What is damaged or cannot be read, be it a sector, is put aside in the
// directory quarantine, with a line in the log, and everything else goes on. An
// end of a message that stood there is not known: it is delivered once more. On
// a full disk the index is loaded when there is space for the little that this
// needs.
//
// Open fails only if the file system does otherwise, or if the store is of a
// newer version. If it fails later, while the index is loaded, the store is
// closed as if by Close: every call, Lease above all, fails with an error that
// is [queue.ErrClosed] and names the cause. What was accepted is on the disk. To
// go on would let messages lie, and a process that ends is seen.
func Open(dir string, o *Options) (*Store, error) {
	s := &Store{
		dir: dir, opt: o.withDefaults(),
		segments:    make(map[uint32]*segment),
		chains:      make(map[agenda.Slot][]link),
		bodies:      make(map[queue.ID]bodyFile),
		busy:        make(map[queue.ID]chan struct{}),
		tokens:      make(map[[16]byte]bool),
		unreadTimes: make(map[queue.ID]int),
	}
	s.fs, s.log = s.opt.fs, s.opt.Logger
	s.loader.done, s.loader.quit = make(chan struct{}), make(chan struct{})
	s.front, s.rear = &lane{s: s}, &lane{s: s, rear: true}
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	lock, err := s.fs.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	s.lock = lock
	r := newRecovery(s)
	if err := r.start(); err != nil {
		r.closeFiles()
		return nil, errors.Join(err, lock.Close())
	}
	s.keeper.start(s)
	s.loader.start(r)
	if err := s.drop.start(s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenOn is Open on another file system than the disk. It is for the tests and
// benchmarks of this module: nobody else can make one.
func OpenOn(fs spoolfs.FS, dir string, o *Options) (*Store, error) {
	var c Options
	if o != nil {
		c = *o
	}
	c.fs = fs
	return Open(dir, &c)
}

// makeDirs makes the directories that are not there. Their names are durable
// when it returns nil. If that fails the new ones are removed: a later sync
// that succeeds would say nothing about them.
func (s *Store) makeDirs() error {
	var made []string
	err := func() error {
		for _, name := range []string{"", "segments", "bodies", "quarantine"} {
			path := filepath.Join(s.dir, name)
			perm := fs.FileMode(0o700)
			if name == "" {
				perm = 0o711 // the way to the drop directory
			}
			switch err := s.fs.Mkdir(path, perm); {
			case err == nil:
				made = append(made, path)
			case !errors.Is(err, fs.ErrExist):
				return err
			}
		}
		if err := s.fs.SyncDir(filepath.Dir(s.dir)); err != nil {
			return err
		}
		return s.fs.SyncDir(s.dir)
	}()
	if err != nil {
		for _, path := range slices.Backward(made) {
			s.fs.Remove(path)
		}
	}
	return err
}

// Stats implements [queue.Store].
func (s *Store) Stats() queue.Stats {
	s.index.Lock()
	defer s.index.Unlock()
	st := s.index.Stats()
	st.Loading = !s.loader.loaded() && !s.index.Closed()
	st.Quarantined = int(s.quarantined.Load())
	files := len(s.segments) + len(s.spares) + len(s.doomed)
	st.Bytes = int64(files)*s.opt.segmentSize + s.bodyBytes.Load()
	return st
}

// Wake implements [queue.Store].
func (s *Store) Wake(key string, n int) int {
	s.index.Lock()
	defer s.index.Unlock()
	if s.index.Closed() {
		return 0
	}
	return s.index.Wake(key, n)
}

// Close implements [queue.Store].
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.drop.stop()
		s.index.Close()
		s.keeper.stop()
		s.loader.stop()
		s.front.settle() // or the next start finds out
		s.rear.settle()
		s.front.close()
		s.rear.close()
		if s.dirty && s.loader.loaded() {
			s.closeErr = s.checkpoint()
		}
		s.closeFiles()
		s.closeErr = errors.Join(s.closeErr, s.lock.Close())
	})
	return s.closeErr
}

func (s *Store) closeFiles() {
	for _, g := range s.segments {
		g.f.Close()
	}
	for _, g := range s.spares {
		g.f.Close()
	}
}

var _ queue.Store = (*Store)(nil)
