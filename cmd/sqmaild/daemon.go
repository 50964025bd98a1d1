package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/filter/greylist"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/queueadmin"
	"github.com/sqmail/sqmail/queue/segstore"
	"github.com/sqmail/sqmail/resolver"
)

// drainTime is what sessions, and then deliveries, get to end when the daemon
// is asked to, unless daemon.drain says otherwise.
const drainTime = 20 * time.Second

// daemon is a home at work.
type daemon struct {
	home    string
	log     *slog.Logger
	out     io.Writer   // who hears of the listeners and that we are ready
	classic *appendFile // of classic lines; nil: none are wanted
	drain   time.Duration

	watcher *control.Watcher
	dns     *resolver.Client
	store   *segstore.Store
	grey    *greylist.File
	queue   *queue.Queue
	now     atomic.Pointer[snapshot] // the configuration in force

	programs *local.Programs // nil: users' programs are not run

	mu        sync.Mutex
	listeners []*listener
	leaving   map[*listener]bool // closed by a reload; their last sessions run on
	unopened  chan struct{}      // says that a listener is to be tried again
	tasks     sync.WaitGroup
	failed    chan error
}

// serveHome runs the daemon d, whose first fields are set, until ctx ends.
// Whenever something comes from reload it reads the configuration again, as it
// does when a file changes.
func serveHome(ctx context.Context, d *daemon, reload <-chan os.Signal) error {
	d.failed, d.unopened = make(chan error, 1), make(chan struct{}, 1)
	if d.dns == nil {
		d.dns = &resolver.Client{}
	}
	if d.drain == 0 {
		d.drain = drainTime
	}
	d.watcher = &control.Watcher{Home: d.home, Log: d.log, Changed: func(_, c *control.Config) { d.apply(ctx, c) }}
	if err := d.watcher.Reload(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		d.programs = &local.Programs{}
	} else {
		d.log.Warn("running as root: mail for programs is deferred, for they would run as root")
	}
	if err := d.openQueue(d.watcher.Config()); err != nil {
		return err
	}
	defer d.store.Close()
	d.grey = &greylist.File{Path: greylistFile(d.home)}
	defer d.grey.Close() // after stop: sessions use it
	d.now.Store(newSnapshot(d, d.watcher.Config()))
	if err := d.start(ctx); err != nil {
		return errors.Join(err, d.stop())
	}
	fmt.Fprintln(d.out, "ready")
	err := d.wait(ctx, reload)
	return errors.Join(err, d.stop())
}

// wait follows the configuration until ctx ends or a part of the daemon fails.
func (d *daemon) wait(ctx context.Context, reload <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { d.watcher.Run(ctx) })
	watching.Go(func() { boundGarbage(ctx) })
	watching.Go(func() { d.reopen(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.failed:
			return err
		case <-reload:
			if d.classic != nil {
				if err := d.classic.Reopen(); err != nil {
					d.log.Error("the classic log stays where it was", "err", err)
				}
			}
			d.watcher.Reload() // which logs what is wrong
		}
	}
}

// apply puts a changed configuration in force. Sessions and deliveries that are
// running go on with the one that they began with; the last of them lets it go.
func (d *daemon) apply(ctx context.Context, c *control.Config) {
	old := d.now.Swap(newSnapshot(d, c))
	if err := d.listen(ctx); err != nil {
		d.log.Error("a listener cannot be opened", "err", err)
		select {
		case d.unopened <- struct{}{}:
		default:
		}
	}
	d.queue.SetLifetime(c.QueueLifetime)
	d.queue.SetBounces(c.Bounces())
	for channel, n := range c.Concurrency() {
		d.queue.SetConcurrency(channel, n)
	}
	old.retire()
}

// openQueue opens the store and makes the queue.
func (d *daemon) openQueue(c *control.Config) error {
	if err := makeQueueDirs(d.home); err != nil {
		return err
	}
	var err error
	if d.store, err = segstore.Open(queueDir(d.home), &segstore.Options{Logger: d.log, Watch: true}); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	removeScans(d.home) // the store's lock is ours: nobody uses them
	d.queue = &queue.Queue{
		Store:       d.store,
		Router:      (*currentRouter)(d),
		Deliverer:   (*currentAgents)(d),
		Lifetime:    c.QueueLifetime,
		Concurrency: c.Concurrency(),
		Bounces:     c.Bounces(),
		Log:         d.log,
	}
	return nil
}

// start opens the listeners and the administrators' socket, and lets the queue
// run.
func (d *daemon) start(ctx context.Context) error {
	if err := d.listen(ctx); err != nil {
		return err
	}
	if err := d.serveAdmin(); err != nil {
		return err
	}
	d.tasks.Go(func() {
		if err := d.queue.Run(context.WithoutCancel(ctx)); err != nil {
			d.fail(fmt.Errorf("queue: %w", err))
		}
	})
	return nil
}

// fail ends the daemon because a part of it has ended.
func (d *daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

// serveAdmin serves the socket through which "sqmaild queue" works on a
// running daemon, and "sqmaild explain" asks its greylist. Only the daemon's user can open it.
func (d *daemon) serveAdmin() error {
	os.Remove(filepath.Join(runDir(d.home), "admin")) // of a daemon that was killed; the store's lock is ours
	path, done, err := shortPath(runDir(d.home), "admin")
	if err != nil {
		return err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		done()
		return fmt.Errorf("queue administration: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", queueadmin.Handler(d.queue))
	mux.HandleFunc("GET "+greylistPath+"{key}", d.tellGreyRecord)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	d.mu.Lock()
	d.listeners = append(d.listeners, &listener{name: "admin", addr: path, stop: server.Shutdown})
	d.mu.Unlock()
	d.tasks.Go(func() {
		defer done()
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			d.fail(fmt.Errorf("queue administration: %w", err))
		}
	})
	return nil
}

// stop drains: sessions first, so that what they accept is in the queue, then
// the queue, then the agents.
func (d *daemon) stop() error {
	d.stopListeners()
	ctx, cancel := context.WithTimeout(context.Background(), d.drain)
	defer cancel()
	if err := d.queue.Shutdown(ctx); err != nil {
		d.log.Warn("deliveries were cut off", "err", err)
	}
	d.now.Load().retire()
	d.tasks.Wait()
	d.log.Info("stopped")
	return nil
}

func (d *daemon) stopListeners() {
	ctx, cancel := context.WithTimeout(context.Background(), d.drain)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	var wait sync.WaitGroup
	for _, l := range slices.AppendSeq(slices.Clone(d.listeners), maps.Keys(d.leaving)) {
		wait.Go(func() {
			if err := l.stop(ctx); err != nil {
				d.log.Warn("sessions were cut off", "listener", l.name, "err", err)
			}
		})
	}
	wait.Wait()
}

// currentRouter routes by the configuration in force.
type currentRouter daemon

func (d *currentRouter) Route(ctx context.Context, env *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	now := (*daemon)(d).current()
	defer now.done()
	return now.router.Route(ctx, env, to)
}

// currentAgents delivers by the configuration in force.
type currentAgents daemon

func (d *currentAgents) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	now := (*daemon)(d).current()
	defer now.done()
	return now.agents.Deliver(ctx, m)
}
