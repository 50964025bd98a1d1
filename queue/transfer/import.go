package transfer

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/queueadmin"
)

// Target is the queue that messages are brought to: a *queueadmin.Client if it
// is running, else what [ToStore] returns.
type Target interface {
	Import(ctx context.Context, s queue.Submission, content io.Reader) (queue.ID, error)
	Scan(ctx context.Context) iter.Seq2[*queue.Entry, error]
	Release(ctx context.Context, id queue.ID) error
}

// ToStore returns the Target for a store that no queue.Queue is running on.
func ToStore(s queue.Store) Target { return storeTarget{s} }

type storeTarget struct{ queue.Store }

func (t storeTarget) Import(ctx context.Context, s queue.Submission, content io.Reader) (queue.ID, error) {
	return queue.Import(ctx, t.Store, s, content)
}

// Importer puts messages into a queue, each of them once.
type Importer struct {
	Target Target
	Ledger *Ledger

	// Report, if not nil, hears what became of each item. name is "" for an
	// error of the source that names no item. Imported messages have their
	// number in the queue, the others 0.
	Report func(name string, what What, id queue.ID, err error)

	batch int // how many messages are held while the Ledger waits; 0: batchSize
}

// What became of an item.
type What uint8

// The fates of an item.
const (
	Imported What = iota // is in the queue
	Resumed              // was put there by a run that was cut off
	Known                // was imported before: nothing is done
	Failed               // could not be read, or was refused: the others go on
)

// Result counts items by their fate.
type Result [Failed + 1]int

const batchSize = 64

// entered is a message that is in the queue and held.
type entered struct {
	name string
	key  Key
	id   queue.ID
	keep bool // it is to stay held
}

// run is one call of Import.
type run struct {
	*Importer
	result Result
	batch  []entered
}

// Import takes what items yields. An item that cannot be read, or that the
// queue rejects, is counted and reported, and is not the end. Import ends when
// items does, or with the first error of the queue or the Ledger, or ctx's:
// what was imported until then is in the queue once and will not be imported
// again. In every case it can be called again with the same items.
func (im *Importer) Import(ctx context.Context, items iter.Seq2[*Item, error]) (Result, error) {
	r := &run{Importer: im}
	if im.Ledger.open {
		if err := r.resume(ctx); err != nil {
			return r.result, err
		}
	}
	if err := im.Ledger.begin(); err != nil {
		return r.result, err
	}
	err := r.all(ctx, items)
	if flushed := r.flush(context.WithoutCancel(ctx)); flushed != nil {
		return r.result, errors.Join(err, flushed)
	}
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) { // else a message may be in doubt
		err = errors.Join(err, im.Ledger.end())
	}
	return r.result, err
}

func (r *run) all(ctx context.Context, items iter.Seq2[*Item, error]) error {
	for item, err := range items {
		if stop := ctx.Err(); stop != nil {
			return stop
		}
		if err != nil {
			r.note("", Failed, 0, err)
			continue
		}
		if err := r.one(ctx, item); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (r *run) one(ctx context.Context, item *Item) error {
	if r.Ledger.Known(item.Key) || r.waits(item.Key) {
		r.note(item.Name, Known, 0, nil)
		return nil
	}
	content := &source{from: item.Content}
	// The message is not cut off in its midst: it would be in doubt.
	id, err := r.Target.Import(context.WithoutCancel(ctx), marked(item), content)
	switch {
	case err == nil:
	case content.err != nil:
		r.note(item.Name, Failed, 0, content.err)
		return nil
	case sqmail.ClassOf(err) == sqmail.Rejection:
		r.note(item.Name, Failed, 0, err)
		return nil
	default:
		return err
	}
	r.batch = append(r.batch, entered{item.Name, item.Key, id, item.Submission.Held})
	r.note(item.Name, Imported, id, nil)
	if len(r.batch) < cmp.Or(r.Importer.batch, batchSize) {
		return nil
	}
	return r.flush(context.WithoutCancel(ctx))
}

// waits reports whether a message stands in the batch: an import may hold one
// twice.
func (r *run) waits(k Key) bool {
	for _, e := range r.batch {
		if e.key == k {
			return true
		}
	}
	return false
}

func (r *run) note(name string, what What, id queue.ID, err error) {
	r.result[what]++
	if r.Report != nil {
		r.Report(name, what, id, err)
	}
}

// source is a reader that remembers its error.
type source struct {
	from io.Reader
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// The trace of an import in a message's envelope, by which a run that was cut
// off finds its messages again.
const (
	stage      = "import"
	ruleHeld   = "held" // it was held where it comes from
	ruleActive = "active"
)

// marked returns the submission of an item, held, and with the trace.
func marked(item *Item) queue.Submission {
	s := item.Submission
	env := *s.Envelope
	rule := ruleActive
	if s.Held {
		rule = ruleHeld
	}
	env.Verdicts = append(env.Verdicts[:len(env.Verdicts):len(env.Verdicts)],
		sqmail.Verdict{Stage: stage, Filter: item.Name, Rule: rule, Input: item.Key.String()})
	s.Envelope, s.Held = &env, true
	return s
}

// markOf returns the trace of the last import.
func markOf(e *queue.Entry) (m entered, found bool) {
	n := len(e.Envelope.Verdicts)
	if n == 0 || e.Envelope.Verdicts[n-1].Stage != stage {
		return m, false
	}
	v := e.Envelope.Verdicts[n-1]
	if m.key.UnmarshalText([]byte(strings.TrimSpace(v.Input))) != nil {
		return m, false
	}
	m.name, m.id, m.keep = v.Filter, e.ID, v.Rule == ruleHeld
	return m, true
}

// resume finds the messages that a run which was cut off has left held, enters
// those that the Ledger does not have, and releases all.
func (r *run) resume(ctx context.Context) error {
	var left []entered
	for e, err := range r.Target.Scan(ctx) {
		if errors.Is(err, queueadmin.ErrLost) || errors.Is(err, queue.ErrClosed) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			continue // damaged, and not ours to tell
		}
		if m, found := markOf(e); found && e.Held && (!r.Ledger.Known(m.key) || r.Ledger.fresh(m.key)) {
			left = append(left, m)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, m := range left {
		if !r.Ledger.Known(m.key) {
			r.batch = append(r.batch, m)
		}
		r.note(m.name, Resumed, m.id, nil)
	}
	if err := r.enterBatch(); err != nil {
		return err
	}
	return r.release(ctx, left)
}

// enterBatch enters the batch in the Ledger.
func (r *run) enterBatch() error {
	if len(r.batch) == 0 {
		return nil
	}
	if err := r.Ledger.enter(r.batch); err != nil {
		return err
	}
	r.batch = r.batch[:0]
	return nil
}

// flush enters the batch in the Ledger and lets the messages go.
func (r *run) flush(ctx context.Context) error {
	done := append([]entered(nil), r.batch...)
	if err := r.enterBatch(); err != nil {
		return err
	}
	return r.release(ctx, done)
}

// releasers is how many messages are released at a time, so that they share a
// sync.
const releasers = 16

// release lets messages go that are not to stay held.
func (r *run) release(ctx context.Context, batch []entered) error {
	work := make(chan queue.ID)
	errs := make([]error, releasers)
	var wait sync.WaitGroup
	for i := range releasers {
		wait.Go(func() {
			for id := range work {
				if err := r.Target.Release(ctx, id); err != nil && !errors.Is(err, queue.ErrNotFound) {
					errs[i] = err
				}
			}
		})
	}
	for _, e := range batch {
		if !e.keep {
			work <- e.id
		}
	}
	close(work)
	wait.Wait()
	return errors.Join(errs...)
}
