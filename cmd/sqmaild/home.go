package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/queueadmin"
	"github.com/sqmail/sqmail/queue/segstore"
)

// defaultHome is qmail's.
const defaultHome = "/var/qmail"

// homeFlag registers -home.
func homeFlag(fs *flag.FlagSet) *string {
	return fs.String("home", defaultHome, "the home `DIR`ectory")
}

// absolute returns the home's absolute path; it must be a directory.
func absolute(home string) (string, error) {
	home, err := filepath.Abs(home)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(home)
	if errors.Is(err, fs.ErrNotExist) {
		return "", permanentError{fmt.Errorf("%s does not exist; sqmaild init makes a home", home)}
	}
	if err == nil && !st.IsDir() {
		err = permanentError{fmt.Errorf("%s is not a directory", home)}
	}
	return home, err
}

// isPermanent reports whether trying again is of no use: somebody has to
// mend something first.
func isPermanent(err error) bool {
	if _, ok := errors.AsType[permanentError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*control.Error](err); ok {
		return true
	}
	return errors.Is(err, queue.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
}

// The parts of the home that are ours.
func queueDir(home string) string { return filepath.Join(home, "queue", "store") }
func runDir(home string) string   { return filepath.Join(home, "queue", "run") }
func scanDir(home string) string  { return filepath.Join(home, "queue", "scan") }
func greylistFile(home string) string {
	return filepath.Join(home, "queue", "greylist.db")
}

// makeQueueDirs makes the directories of the queue that are not there, but for
// the store, which makes itself. Every user may go through to the store, where
// the drop directory is; nobody but us sees what is there.
func makeQueueDirs(home string) error {
	top := filepath.Join(home, "queue")
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{top, 0o711}, {runDir(home), 0o700}, {scanDir(home), 0o700}} {
		err := os.Mkdir(dir.path, dir.mode)
		if err == nil {
			err = os.Chmod(dir.path, dir.mode) // whatever the umask
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// makeStore makes the store of a new home, so that mail can be submitted before
// the daemon has ever run.
func makeStore(home string) error {
	if err := makeQueueDirs(home); err != nil {
		return err
	}
	store, err := segstore.Open(queueDir(home), nil)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return errors.Join(store.Close(), giveQueueToOwner(home))
}

// tempDir returns scanDir as far as it is there and we may use it, for
// commands that run the filters of a home; else "", the system's directory.
func tempDir(home string) string {
	f, err := os.CreateTemp(scanDir(home), "sqmail-filter-")
	if err != nil {
		return ""
	}
	f.Close()
	os.Remove(f.Name())
	return scanDir(home)
}

// removeScans removes what a daemon that was killed has left of messages that
// programs were looking at. Nothing was promised to anybody about them.
func removeScans(home string) {
	left, _ := filepath.Glob(filepath.Join(scanDir(home), "sqmail-filter-*"))
	for _, path := range left {
		os.Remove(path)
	}
}

// openQueue returns the queue of a home: through the daemon if one is running,
// else from its files.
func openQueue(ctx context.Context, home string) (adminCloser, error) {
	socket, done, err := shortPath(runDir(home), "admin")
	if err == nil {
		if c, err := queueadmin.Dial(ctx, socket); err == nil {
			return &runningQueue{c, done}, nil
		}
		done()
	}
	store, err := segstore.Open(queueDir(home), &segstore.Options{NoDrop: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, permanentError{fmt.Errorf("%s is no home of a sqmaild: %w; sqmaild init makes one", home, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	if err := store.Loaded(ctx); err != nil {
		return nil, fmt.Errorf("queue: %w", errors.Join(err, store.Close()))
	}
	return &stoppedQueue{store, home}, nil
}

// adminCloser is a queue to look at and to act on.
type adminCloser interface {
	queueadmin.Admin
	queueadmin.Importer
	io.Closer
}

// runningQueue is the queue of a daemon.
type runningQueue struct {
	*queueadmin.Client
	done func()
}

// Close ends the connection.
func (q *runningQueue) Close() error {
	defer q.done()
	return q.Client.Close()
}

// stoppedQueue is the queue of a home whose daemon is not running.
type stoppedQueue struct {
	*segstore.Store
	home string
}

// Import puts a message of another queue into the store.
func (q *stoppedQueue) Import(ctx context.Context, s queue.Submission, content io.Reader) (queue.ID, error) {
	return queue.Import(ctx, q.Store, s, content)
}

// Close closes the store. What root has made there is given to whom the home's
// queue belongs to: else the daemon, which runs as that user, could not open
// it.
func (q *stoppedQueue) Close() error {
	return errors.Join(q.Store.Close(), giveQueueToOwner(q.home))
}

// withQueue parses a queue command's flags and arguments, message numbers, and
// opens the queue.
func withQueue(ctx context.Context, fs *flag.FlagSet, args []string, least, most int) (adminCloser, []queue.ID, error) {
	homeDir := homeFlag(fs)
	args, err := parse(fs, args, least, most)
	if err != nil {
		return nil, nil, err
	}
	var ids []queue.ID
	for _, arg := range args {
		id, err := queue.ParseID(arg)
		if err != nil {
			return nil, nil, usageError{err}
		}
		ids = append(ids, id)
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return nil, nil, err
	}
	q, err := openQueue(ctx, home)
	return q, ids, err
}

// shortPath returns a path for a socket in dir that the kernel can take: an
// address of a Unix socket has room for about a hundred octets, a path may
// have more. done is called when the path is no longer needed.
func shortPath(dir, name string) (path string, done func(), err error) {
	path = filepath.Join(dir, name)
	if len(path) < 100 {
		return path, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + name, func() { d.Close() }, nil
}
