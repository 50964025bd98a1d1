package control

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Watcher keeps the configuration of a home, and follows its files. Its fields
// must not be changed after the first call; its methods may be called
// concurrently.
type Watcher struct {
	// Home is the home directory.
	Home string

	// Interval is how often Run looks at the files. 0: 2 seconds.
	Interval time.Duration

	// Changed, if not nil, is called when a new configuration takes the place
	// of an old one, before Reload returns, by one goroutine at a time. It must
	// not call Reload. The first configuration does not change anything. Who
	// uses old closes it when the last one does not need it any more.
	Changed func(old, new *Config)

	// Log gets an event for each configuration that is taken or refused. Nil:
	// discarded.
	Log *slog.Logger

	current atomic.Pointer[Config]

	mu      sync.Mutex
	stamps  map[string]string // of the files as they were read last
	refused time.Time         // when they were, zero if they were not
}

// Config returns the configuration in force, nil before the first Reload that
// has succeeded.
func (w *Watcher) Config() *Config { return w.current.Load() }

// Reload reads the home now. If it is sound it takes the place of the
// configuration in force, even if nothing has changed. If not, the error is
// Load's, and the old configuration stays in force.
func (w *Watcher) Reload() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	config, problems, err := w.load()
	if err != nil {
		return err
	}
	w.refused = time.Time{}
	if err := failure(problems); err != nil {
		config.Close()
		w.refused = time.Now()
		w.logger().Error("configuration refused", "home", w.Home, "kept", w.Config() != nil, "err", err)
		return err
	}
	config.Problems = problems
	old := w.current.Swap(config)
	for _, p := range problems {
		w.logger().Warn("configuration is doubtful", "file", p.File, "line", p.Line, "problem", p.Text)
	}
	w.logger().Info("configuration taken", "home", w.Home)
	if old != nil && w.Changed != nil {
		w.Changed(old, config)
	}
	return nil
}

// load reads the home until nothing changes meanwhile, but not forever.
func (w *Watcher) load() (*Config, []Problem, error) {
	home, err := filepath.Abs(w.Home)
	if err != nil {
		return nil, nil, err
	}
	for try := 1; ; try++ {
		s := newSource(os.DirFS(home))
		config := s.config(home)
		w.stamps = s.stamps
		if failure(s.problems) == nil {
			delete(w.stamps, "users/accounts") // which is followed by itself
		}
		if try == 3 || maps.Equal(w.look(), w.stamps) {
			return config, s.problems, nil
		}
		config.Close()
	}
}

// look returns the stamps that the files have now.
func (w *Watcher) look() map[string]string {
	now := make(map[string]string, len(w.stamps))
	for file := range w.stamps {
		path := file
		if !filepath.IsAbs(file) {
			path = filepath.Join(w.Home, file)
		}
		now[file] = stamp(os.Stat(path))
	}
	return now
}

// Run looks at the files until ctx ends, and reloads when they have changed and
// then stayed the same from one look to the next: an editor may be in the midst
// of writing them. A configuration that is refused is tried again after the next
// change, and every minute: what could not be read for want of descriptors may be
// readable then. Before the first Reload there is nothing to look at. Run
// returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	interval := w.Interval
	if interval <= 0 {
		interval = 2 * time.Second
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before map[string]string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now, changed, again := w.state()
		if again || changed && maps.Equal(now, before) {
			w.Reload() // which logs its error
			now = nil
		}
		before = now
	}
}

// retryAfter is how long a refused configuration is left alone.
const retryAfter = time.Minute

// state returns the stamps of the files, whether they have changed since they
// were read, and whether it is time to read them again anyhow.
func (w *Watcher) state() (now map[string]string, changed, again bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now = w.look()
	return now, !maps.Equal(now, w.stamps), !w.refused.IsZero() && time.Since(w.refused) >= retryAfter
}

func (w *Watcher) logger() *slog.Logger {
	if w.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return w.Log
}

// stamp tells one version of a file from another; "" means that there is none.
func stamp(info fs.FileInfo, err error) string {
	if err != nil || info == nil {
		return ""
	}
	id := fmt.Sprint(info.Size(), info.ModTime().UnixNano(), info.Mode())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id += fmt.Sprint(" ", st.Ino)
	}
	return id
}
