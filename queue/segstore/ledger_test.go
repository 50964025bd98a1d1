package segstore_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// ledger is what a store has been asked and has promised. What is asked is
// entered before the call, what is promised after it: so that whenever power
// fails, the ledger says what must be there and what may.
type ledger struct {
	mu     sync.Mutex
	facts  map[string]*fact // by envelope id
	lastID queue.ID
}

// fact is about one message.
type fact struct {
	key      string
	id       queue.ID
	envelope string // JSON
	text     string

	began, kept   bool // Commit was called, has returned nil
	ending, ended bool // an end was called, has returned nil
	refused       bool // Commit has failed, and the process went on
	void          bool // and a later one has not failed
	excused       bool // and the store was closed before the disk had recovered
	heirs         []*fact
	held, holding *bool
	promised      []string // attempts, JSON
	asked         []string
}

func newLedger() *ledger { return &ledger{facts: make(map[string]*fact)} }

// note changes the ledger.
func (l *ledger) note(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func attemptText(a queue.Attempt) string {
	a.At, a.Due = a.At.UTC(), a.Due.UTC()
	text, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// check compares a store with the ledger. After a crash a commit that failed
// may have left its message, if the disk took nothing any more.
func (l *ledger) check(s *segstore.Store, crashed bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(map[*fact]bool)
	for e, err := range s.Scan(ctx) {
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		f := l.facts[e.Envelope.EnvelopeID]
		if f == nil {
			return fmt.Errorf("message %v (%q) was never committed", e.ID, e.Envelope.EnvelopeID)
		}
		if found[f] {
			return fmt.Errorf("message %s is there twice", f.key)
		}
		found[f] = true
		if f.refused && !f.excused && (!crashed || f.void) {
			return fmt.Errorf("message %s is there, and its Commit has failed", f.key)
		}
		if err := f.check(s, e); err != nil {
			return fmt.Errorf("message %s (%v): %w", f.key, e.ID, err)
		}
	}
	for _, f := range l.facts {
		if f.must() && !found[f] {
			return fmt.Errorf("message %s (%v) is lost", f.key, f.id)
		}
		if n := f.successors(found); n != 1 {
			return fmt.Errorf("of message %s and what replaces it %d are there", f.key, n)
		}
	}
	if st := s.Stats(); st.Quarantined != 0 {
		return fmt.Errorf("%d damaged records", st.Quarantined)
	}
	return nil
}

// refusals returns the messages whose Commit has failed.
func (l *ledger) refusals() (list []*fact) {
	for _, f := range l.facts {
		if f.refused {
			list = append(list, f)
		}
	}
	return list
}

// must reports whether the message must be there.
func (f *fact) must() bool { return f.kept && !f.ending && len(f.heirs) == 0 }

// successors counts the message and what may have replaced it, if one of them
// must be there; else it returns 1.
func (f *fact) successors(found map[*fact]bool) int {
	n := 0
	if f.ending || f.ended || len(f.heirs) == 0 {
		return 1
	}
	if found[f] {
		n++
	}
	for _, h := range f.heirs {
		if h.ending {
			return 1
		}
		if found[h] {
			n++
		}
	}
	return n
}

// check compares a message with what was promised of it.
func (f *fact) check(s *segstore.Store, e *queue.Entry) error {
	switch {
	case !f.began:
		return fmt.Errorf("was never committed")
	case f.ended:
		return fmt.Errorf("came back after its end")
	case f.kept && e.ID != f.id:
		return fmt.Errorf("has another number, it was %v", f.id)
	}
	m, err := s.Open(ctx, e.ID)
	if err != nil {
		return err
	}
	defer m.Close()
	text, err := io.ReadAll(io.NewSectionReader(m.Content, 0, m.Size+1))
	if err != nil {
		return err
	}
	if string(text) != f.text {
		return fmt.Errorf("content is not what was written: %d octets, want %d", len(text), len(f.text))
	}
	if env, _ := json.Marshal(e.Envelope); string(env) != f.envelope {
		return fmt.Errorf("envelope is %s, want %s", env, f.envelope)
	}
	if f.held != nil && f.holding == nil && e.Held != *f.held {
		return fmt.Errorf("held: %v, want %v", e.Held, *f.held)
	}
	return f.checkJournal(e)
}

func (f *fact) checkJournal(e *queue.Entry) error {
	var have []string
	for _, a := range e.Journal {
		text := attemptText(a)
		have = append(have, text)
		if !slices.Contains(f.promised, text) && !slices.Contains(f.asked, text) {
			return fmt.Errorf("an attempt in the journal was never made: %s", text)
		}
	}
	for _, text := range f.promised {
		if !slices.Contains(have, text) {
			return fmt.Errorf("an attempt is missing in the journal of %d: %s", len(have), text)
		}
	}
	return nil
}
