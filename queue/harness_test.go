package queue_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// call is one attempt that a Deliverer was given.
type call struct {
	id       string
	to       []string
	from     string
	route    sqmail.Route
	attempt  int
	at       time.Duration // since the world's start
	contents string
}

// world is a queue in a bubble of virtual time.
type world struct {
	*queue.Queue
	t     *testing.T
	store *memstore.Store
	start time.Time

	mu    sync.Mutex
	calls []call
	done  chan error
}

// inTime runs a test in virtual time, with a queue whose fields set may
// change, and whose deliverer is deliver.
func inTime(t *testing.T, deliver queue.DelivererFunc, set func(*queue.Queue), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memstore.Store{}, deliver, set)
		defer w.stop()
		test(w)
	})
}

func newWorld(t *testing.T, store *memstore.Store, deliver queue.DelivererFunc, set func(*queue.Queue)) *world {
	w := &world{t: t, store: store, start: time.Now(), done: make(chan error, 1)}
	w.Queue = &queue.Queue{Store: store, Deliverer: w.recorded(deliver), Bounces: queue.Bounces{Host: "mail.example.org"}}
	if set != nil {
		set(w.Queue)
	}
	go func() { w.done <- w.Run(context.Background()) }()
	return w
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
	defer cancel()
	if err := w.Shutdown(ctx); err != nil {
		w.t.Error("Shutdown:", err)
	}
	if err := <-w.done; err != nil {
		w.t.Error("Run:", err)
	}
}

func (w *world) recorded(deliver queue.DelivererFunc) queue.DelivererFunc {
	return func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		c := call{id: m.ID, from: m.Envelope.ReversePath.Unquoted(), route: m.Route, attempt: m.Attempt, at: time.Since(w.start)}
		for _, r := range m.Envelope.Recipients {
			c.to = append(c.to, r.Path.Unquoted())
		}
		b, err := io.ReadAll(m.Reader())
		if err != nil {
			w.t.Error("reading the message:", err)
		}
		c.contents = string(b)
		w.mu.Lock()
		w.calls = append(w.calls, c)
		w.mu.Unlock()
		return deliver(ctx, m)
	}
}

func (w *world) deliveries() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]call(nil), w.calls...)
}

// envelope makes an envelope of addresses; the first is the reverse-path.
func envelope(from string, to ...string) *sqmail.Envelope {
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf(from)}
	for _, a := range to {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(a)})
	}
	return env
}

func (w *world) send(env *sqmail.Envelope, body string) queue.ID {
	w.t.Helper()
	r, err := w.Receive(context.Background(), env, strings.NewReader(body))
	if err != nil {
		w.t.Fatal("Receive:", err)
	}
	id, err := queue.ParseID(r.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// entries lists what is in the queue.
func (w *world) entries() (all []*queue.Entry) {
	for e, err := range w.store.Scan(context.Background()) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func (w *world) wantEmpty() {
	w.t.Helper()
	synctest.Wait()
	for _, e := range w.entries() {
		w.t.Errorf("still queued: %v to %v, journal %+v", e.ID, e.Envelope.Recipients, e.Journal)
	}
}

// wantNothingRemembered is for a queue without messages.
func (w *world) wantNothingRemembered() {
	w.t.Helper()
	synctest.Wait()
	if n := w.Remembered(); n != 0 {
		w.t.Errorf("nothing is queued, and %d things are remembered: %+v, %d waiting", n, w.Channels(), w.Waiting())
	}
}

// discard accepts everything.
func discard(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	return outcomes(m, sqmail.Outcome{Class: sqmail.Accepted, Text: "ok\n"})
}

// outcomes gives all recipients the same outcome.
func outcomes(m *sqmail.Message, o sqmail.Outcome) ([]sqmail.Outcome, error) {
	all := make([]sqmail.Outcome, len(m.Envelope.Recipients))
	for i := range all {
		all[i] = o
		all[i].Recipient = i
	}
	return all, nil
}

var (
	accepted = sqmail.Outcome{Class: sqmail.Accepted, Text: "ok\n"}
	rejected = sqmail.Outcome{Class: sqmail.Rejection, Text: "no such user\n", Reply: sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 1}, Text: "no such user"}}
	greylist = sqmail.Outcome{Class: sqmail.Deferral, Text: "come back\n", Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "come back"}}
	noAnswer = sqmail.Outcome{Class: sqmail.Deferral, Text: "no answer\n"}

	errPlain = errors.New("something broke")
)

// always gives every recipient o.
func always(o sqmail.Outcome) queue.DelivererFunc {
	return func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) { return outcomes(m, o) }
}

func newStore() *memstore.Store { return &memstore.Store{} }

// box collects messages.
type box struct {
	mu   sync.Mutex
	all  []string
	envs []*sqmail.Envelope
	err  error // what Receive answers
}

func (b *box) Receive(_ context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return sqmail.Receipt{}, b.err
	}
	b.all, b.envs = append(b.all, string(text)), append(b.envs, env)
	return sqmail.Receipt{ID: "box"}, nil
}

func (b *box) messages() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.all...)
}

func (b *box) want(t *testing.T, n int) {
	t.Helper()
	if got := len(b.messages()); got != n {
		t.Errorf("%d messages in the box, want %d", got, n)
	}
}

// plain makes a deliverer of a function that needs no context.
func plain(f func(*sqmail.Message) ([]sqmail.Outcome, error)) queue.DelivererFunc {
	return func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) { return f(m) }
}
