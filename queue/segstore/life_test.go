package segstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

var ctx = context.Background()

// life is a scripted life of a store. It goes on when calls fail: a test that
// makes the disk fail lives it too.
type life struct {
	open   func() (*segstore.Store, error)
	store  *segstore.Store
	ledger *ledger
	n      int
	failed int // calls
	churns int // how often the queue fills and drains at the end

	rest func() // if not nil, called now and then, when nothing else is going on
	gate *gate  // if not nil, what comes while the store is loaded is part of the life
}

// gate keeps the loading of a store from going on.
type gate struct {
	stage string // before which it waits
	turn  int
	open  chan struct{}
}

var stages = []string{"read", "build", "batch", "finish"}

// shut closes the gate, before another stage each time.
func (g *gate) shut() {
	g.stage, g.open = stages[g.turn%len(stages)], make(chan struct{})
	g.turn++
}

// pass is what the loading calls. It goes on by itself after some time.
func (g *gate) pass(stage string) {
	if stage == g.stage {
		select {
		case <-g.open:
		case <-time.After(3 * time.Second):
		}
	}
}

// key names the next message.
func (l *life) key() string {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	l.n++
	return fmt.Sprintf("message-%d", l.n)
}

// failedCall counts errors.
func (l *life) failedCall(err error) bool {
	if err != nil {
		l.ledger.note(func() { l.failed++ })
	}
	return err != nil
}

// text returns a message that is like no other.
func text(key string, size int) string {
	line := key + " " + strings.Repeat("x", len(key)%7) + "\n"
	return strings.Repeat(line, size/len(line)+1)
}

// submit commits a message of about size octets.
func (l *life) submit(size int, recipients int, sub queue.Submission, replaces *fact) *fact {
	key := l.key()
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("sender@example.org"), EnvelopeID: key, Header: []byte("Received: " + key + "\n")}
	for i := range recipients {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(fmt.Sprintf("r%d@example.net", i))})
	}
	js, err := json.Marshal(env)
	if err != nil {
		panic(err)
	}
	f := &fact{key: key, envelope: string(js)}
	body := text(key, size)
	f.text = string(env.Header) + body
	sub.Envelope = env
	if sub.Held {
		held := true
		f.held = &held
	}
	l.ledger.note(func() { l.ledger.facts[key] = f })
	d, err := l.store.Begin(ctx)
	if l.failedCall(err) {
		return f
	}
	defer d.Abort()
	for rest := []byte(body); len(rest) > 0; {
		n := min(len(rest), 1000)
		if _, err := d.Write(rest[:n]); l.failedCall(err) {
			return f
		}
		rest = rest[n:]
	}
	if replaces != nil {
		sub.Replaces = replaces.id
	}
	var refusals []*fact
	l.ledger.note(func() {
		refusals = l.ledger.refusals()
		f.began = true
		if replaces != nil {
			replaces.heirs = append(replaces.heirs, f)
		}
	})
	id, err := d.Commit(ctx, sub)
	if l.failedCall(err) {
		l.ledger.note(func() { f.refused = true })
		return f
	}
	l.ledger.note(func() {
		f.id, f.kept = id, true
		for _, other := range refusals {
			other.void = true
		}
		l.ledger.lastID = max(l.ledger.lastID, id)
		if replaces != nil {
			replaces.ended = true
		}
	})
	return f
}

// together submits messages at the same time, so that they share syncs.
func (l *life) together(n, size int) (facts []*fact) {
	facts = make([]*fact, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { facts[i] = l.submit(size+i*37, 1, queue.Submission{}, nil) })
	}
	all.Wait()
	return facts
}

// lease leases what is due next; nil if nothing is.
func (l *life) lease() (queue.Lease, *fact) {
	now, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
	defer cancel()
	lease, err := l.store.Lease(now, time.Hour)
	if err != nil {
		return nil, nil
	}
	return lease, l.fact(lease.Entry())
}

func (l *life) fact(e *queue.Entry) *fact {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	return l.ledger.facts[e.Envelope.EnvelopeID]
}

// tried returns an attempt, and enters it in the ledger as asked.
func (l *life) tried(f *fact, recipient, number int, status queue.Status) []queue.Attempt {
	a := queue.Attempt{Recipient: recipient, Number: number, At: time.Unix(int64(number), 0), Status: status,
		Outcome: sqmail.Outcome{Text: f.key + " was not taken", Where: "mx.example.net"}}
	l.ledger.note(func() { f.asked = append(f.asked, attemptText(a)) })
	return []queue.Attempt{a}
}

func (l *life) recorded(f *fact, attempts []queue.Attempt, err error) {
	if l.failedCall(err) {
		return
	}
	l.ledger.note(func() {
		for _, a := range attempts {
			f.promised = append(f.promised, attemptText(a))
		}
	})
}

func (l *life) done(lease queue.Lease, f *fact) {
	l.ledger.note(func() { f.ending = true })
	err := lease.Done(ctx, nil)
	l.ended(f, err)
}

func (l *life) ended(f *fact, err error) {
	if !l.failedCall(err) {
		l.ledger.note(func() { f.ended = true })
	}
}

func (l *life) postpone(lease queue.Lease, f *fact, at time.Time) {
	n := len(lease.Entry().Journal)
	a := l.tried(f, 0, n+1, queue.Pending)
	l.recorded(f, a, lease.Retry(ctx, a, at))
}

func (l *life) hold(f *fact, held bool) {
	l.ledger.note(func() { f.holding = &held })
	var err error
	if held {
		err = l.store.Hold(ctx, f.id)
	} else {
		err = l.store.Release(ctx, f.id)
	}
	if l.failedCall(err) {
		return
	}
	l.ledger.note(func() { f.held, f.holding = &held, nil })
}

func (l *life) remove(f *fact) {
	l.ledger.note(func() { f.ending = true })
	l.ended(f, l.store.Remove(ctx, f.id))
}

// reopen closes the store and opens it again. It reports whether it is open.
func (l *life) reopen() bool {
	if l.store != nil {
		l.failedCall(l.store.Close())
		l.ledger.note(func() {
			for _, f := range l.ledger.refusals() {
				f.excused = f.excused || !f.void
			}
		})
	}
	for i := range 12 {
		if l.begin(i) {
			return true
		}
	}
	l.store = nil
	return false
}

// begin opens the store, and waits until it is loaded. At first what comes
// meanwhile comes twice: the first time the loading does not come to its end.
func (l *life) begin(try int) bool {
	if l.gate != nil {
		l.gate.shut()
	}
	s, err := l.open()
	if l.failedCall(err) {
		return false
	}
	l.store = s
	if l.gate != nil {
		if try < 2 {
			l.meanwhile()
		}
		if try == 0 {
			l.failedCall(s.Close())
			return false
		}
		close(l.gate.open)
	}
	if l.failedCall(s.Loaded(ctx)) {
		l.failedCall(s.Close())
		return false
	}
	return true
}

// meanwhile is what comes while the store is loaded.
func (l *life) meanwhile() {
	l.submit(400, 1, queue.Submission{}, nil)
	l.submit(6000, 1, queue.Submission{}, nil) // a body file
	if lease, f := l.lease(); lease != nil {
		l.done(lease, f)
	}
	l.keepHouse()
	l.together(2, 700)
}

func (l *life) keepHouse() {
	l.store.KeepHouse()
	if l.rest != nil {
		l.rest()
	}
}

// live is the script: fifty messages and all that can become of them.
func (l *life) live() {
	if !l.reopen() {
		return
	}
	soon, late := time.Time{}, time.Now().Add(time.Hour)
	var deferred []*fact
	for i := range 6 { // some come, one at a time, and are delivered or deferred
		l.submit(300+i*400, 1+i%3, queue.Submission{}, nil)
		if lease, f := l.lease(); lease != nil {
			if i%2 == 0 {
				l.done(lease, f)
			} else {
				l.postpone(lease, f, late)
				deferred = append(deferred, f)
			}
		}
	}
	big := l.submit(9000, 2, queue.Submission{}, nil) // a body file
	held := l.submit(500, 1, queue.Submission{Held: true}, nil)
	l.together(6, 900)
	for range 3 {
		if lease, f := l.lease(); lease != nil {
			a := l.tried(f, 0, 1, queue.Pending)
			l.recorded(f, a, lease.Checkpoint(ctx, a))
			l.failedCall(lease.Park("example.net", late))
		}
	}
	l.store.Wake("example.net", -1)
	l.keepHouse()
	if held.kept {
		l.hold(held, false)
		l.hold(held, true)
	}
	for range 6 {
		if lease, f := l.lease(); lease != nil {
			l.bounce(lease, f)
		}
	}
	if !l.reopen() {
		return
	}
	for range 4 {
		l.together(4, 1500)
		for range 3 {
			if lease, f := l.lease(); lease != nil {
				l.postpone(lease, f, soon)
			}
			if lease, f := l.lease(); lease != nil {
				l.done(lease, f)
			}
		}
		l.keepHouse()
	}
	for _, f := range deferred {
		if f.must() {
			l.failedCall(l.store.Retry(ctx, f.id, soon))
		}
	}
	if big.must() {
		l.remove(big)
	}
	l.submit(20_000, 1, queue.Submission{}, nil)
	l.keepHouse()
	if !l.reopen() {
		return
	}
	for range 30 { // nearly all leave
		lease, f := l.lease()
		if lease == nil {
			break
		}
		l.done(lease, f)
	}
	for range l.churns { // many segments at once, then none of them is needed
		for range 4 {
			l.together(8, 3000)
		}
		for range 35 {
			if lease, f := l.lease(); lease != nil {
				l.done(lease, f)
			}
		}
		l.keepHouse()
	}
	l.together(3, 200)
	l.keepHouse()
	l.submit(100, 1, queue.Submission{}, nil)
}

// bounce replaces a message by its bounce, after a checkpoint.
func (l *life) bounce(lease queue.Lease, f *fact) {
	n := len(lease.Entry().Journal)
	a := l.tried(f, 0, n+1, queue.Failed)
	err := lease.Checkpoint(ctx, a)
	l.recorded(f, a, err)
	if err == nil {
		l.submit(700, 1, queue.Submission{}, f)
	}
}

// probe commits a message to a store that was opened after a crash, and checks
// its number.
func (l *ledger) probe(s *segstore.Store) (*fact, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	env := &sqmail.Envelope{EnvelopeID: "probe", Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("a@b.test")}}}
	js, _ := json.Marshal(env)
	f := &fact{key: "probe", envelope: string(js), text: text("probe", 100), began: true, kept: true}
	if _, err := io.Copy(d, bytes.NewReader([]byte(f.text))); err != nil {
		return nil, err
	}
	f.id, err = d.Commit(ctx, queue.Submission{Envelope: env})
	if err == nil && f.id <= l.lastID {
		err = fmt.Errorf("number %v was given before, the last is %v", f.id, l.lastID)
	}
	return f, err
}
