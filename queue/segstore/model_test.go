package segstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
	"pgregory.net/rapid"
)

// TestStoreBehavesAsItsModel compares the store with a map that says the same
// in a few lines, over random sequences of calls: crashes, cleaning and
// checkpoints among them, which must not be seen.
func TestStoreBehavesAsItsModel(t *testing.T) {
	t.Parallel()
	for i := range 100 { // rapid checks a hundred sequences each time
		if !t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { rapid.Check(noDeadline{t}, runModel) })
		}) {
			return
		}
	}
}

// noDeadline hides a method that cannot be called in a bubble.
type noDeadline struct{ rapid.TB }

// model is what a store should know.
type model struct {
	disk     *crashfs.FS
	store    *segstore.Store
	messages map[queue.ID]*modelMessage
	last     queue.ID
	serial   int
}

type modelMessage struct {
	text     string
	due      time.Time
	held     bool
	parked   string
	lease    queue.Lease
	expires  time.Time
	override *time.Time
	journal  []queue.Attempt
}

func runModel(t *rapid.T) {
	m := &model{disk: &crashfs.FS{}, messages: make(map[queue.ID]*modelMessage)}
	m.reopen(t)
	defer func() { m.store.Close() }()
	t.Repeat(map[string]func(*rapid.T){
		"commit":     m.commit,
		"commit 2":   m.commit,
		"lease":      m.lease,
		"lease 2":    m.lease,
		"checkpoint": m.checkpoint,
		"retry":      m.retryLease,
		"park":       m.park,
		"done":       m.done,
		"replace":    m.replace,
		"wake":       m.wake,
		"hold":       m.hold,
		"release":    m.release,
		"due":        m.retry,
		"remove":     m.remove,
		"wait":       func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute) },
		"house":      func(t *rapid.T) { m.store.KeepHouse() },
		"clean":      func(t *rapid.T) { m.store.CleanAll() },
		"close":      func(t *rapid.T) { must(t, m.store.Close()); m.reopen(t) },
		"crash":      m.crash,
		"":           m.check,
	})
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) reopen(t *rapid.T) {
	s, err := segstore.Open("/queue", segstore.TinyQuiet(m.disk))
	must(t, err)
	m.store = s
	for _, msg := range m.messages {
		if msg.override != nil {
			msg.due = *msg.override
		}
		msg.lease, msg.override = nil, nil
		if msg.parked != "" {
			msg.parked, msg.due = "", time.Time{} // as it was before, which is not later than now
		}
	}
}

func (m *model) crash(t *rapid.T) {
	loss := rapid.SampledFrom(crashfs.Losses()).Draw(t, "loss")
	left := m.disk.Crash(loss, rapid.Uint64().Draw(t, "seed"))
	m.store.Close()
	m.disk = left
	m.reopen(t)
}

// expire lets leases run out.
func (m *model) expire() {
	for _, msg := range m.messages {
		if msg.lease != nil && !time.Now().Before(msg.expires) {
			msg.end(time.Now())
		}
	}
}

// end ends a lease.
func (msg *modelMessage) end(due time.Time) {
	if msg.override != nil {
		due = *msg.override
	}
	msg.lease, msg.override, msg.due = nil, nil, due
}

func (msg *modelMessage) ready() bool {
	return msg.lease == nil && !msg.held && !msg.due.After(time.Now())
}

// pick returns a message for which want is true, or ends the action.
func (m *model) pick(t *rapid.T, want func(*modelMessage) bool) (queue.ID, *modelMessage) {
	m.expire()
	var ids []queue.ID
	for id, msg := range m.messages {
		if want(msg) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip("none")
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(t, "message")
	return id, m.messages[id]
}

func leased(msg *modelMessage) bool { return msg.lease != nil }
func every(*modelMessage) bool      { return true }

// when draws a time.
func when(t *rapid.T) time.Time {
	return time.Now().Add(time.Duration(rapid.IntRange(-60, 120).Draw(t, "due in minutes")) * time.Minute)
}

func (m *model) put(t *rapid.T, replaces queue.ID) {
	m.serial++
	body := strings.Repeat(fmt.Sprint("line ", m.serial, "\n"), rapid.SampledFrom([]int{0, 1, 40, 300, 900}).Draw(t, "lines"))
	env := &sqmail.Envelope{Header: []byte(fmt.Sprint("N: ", m.serial, "\n")), Recipients: make([]sqmail.Recipient, 2)}
	sub := queue.Submission{Envelope: env, Due: when(t), Held: rapid.Bool().Draw(t, "held"), Replaces: replaces}
	d, err := m.store.Begin(ctx)
	must(t, err)
	_, err = io.WriteString(d, body)
	must(t, err)
	id, err := d.Commit(ctx, sub)
	must(t, err)
	if id <= m.last {
		t.Fatalf("message %v follows %v", id, m.last)
	}
	m.last = id
	m.messages[id] = &modelMessage{text: string(env.Header) + body, due: sub.Due, held: sub.Held}
	delete(m.messages, replaces)
}

func (m *model) commit(t *rapid.T) { m.put(t, 0) }

func (m *model) replace(t *rapid.T) {
	id, _ := m.pick(t, every)
	m.put(t, id)
}

func (m *model) lease(t *rapid.T) {
	m.expire()
	now, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	ttl := time.Duration(rapid.IntRange(5, 100).Draw(t, "ttl")) * time.Minute
	ready := 0
	for _, msg := range m.messages {
		if msg.ready() {
			ready++
		}
	}
	l, err := m.store.Lease(now, ttl)
	if ready == 0 {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("nothing is due, and Lease returns %v, %v", l, err)
		}
		return
	}
	must(t, err)
	msg := m.messages[l.Entry().ID]
	if msg == nil || !msg.ready() {
		t.Fatalf("message %v is leased: %+v", l.Entry().ID, msg)
	}
	msg.parked, msg.lease, msg.expires = "", l, time.Now().Add(ttl)
}

// attempts draws what is written to a journal.
func (msg *modelMessage) attempts(t *rapid.T) (list []queue.Attempt) {
	for range rapid.IntRange(0, 3).Draw(t, "attempts") {
		a := queue.Attempt{Recipient: rapid.IntRange(0, 1).Draw(t, "recipient"), Number: len(msg.journal) + len(list) + 1, At: time.Now(), Due: time.Now().Add(time.Hour)}
		a.Outcome.Text = strings.Repeat("no ", rapid.IntRange(0, 300).Draw(t, "text"))
		list = append(list, a)
	}
	return list
}

// add adds attempts to the journal as a store does.
func (msg *modelMessage) add(list []queue.Attempt) {
	msg.journal = append(slices.Clone(msg.journal), list...)
	if msg.override != nil {
		msg.setDue(*msg.override)
	}
}

func (msg *modelMessage) setDue(at time.Time) {
	for r := range 2 {
		for i := len(msg.journal) - 1; i >= 0; i-- {
			if msg.journal[i].Recipient == r {
				msg.journal[i].Due = at
				break
			}
		}
	}
}

func (m *model) checkpoint(t *rapid.T) {
	_, msg := m.pick(t, leased)
	list := msg.attempts(t)
	must(t, msg.lease.Checkpoint(ctx, list))
	msg.add(list)
}

func (m *model) retryLease(t *rapid.T) {
	_, msg := m.pick(t, leased)
	list, at := msg.attempts(t), when(t)
	must(t, msg.lease.Retry(ctx, list, at))
	msg.add(list)
	msg.end(at)
}

func (m *model) park(t *rapid.T) {
	_, msg := m.pick(t, leased)
	key, until := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"), when(t)
	must(t, msg.lease.Park(key, until))
	overridden := msg.override != nil
	msg.end(until)
	if !overridden && !msg.held {
		msg.parked = key
	} else if !overridden {
		msg.due = time.Time{} // as it was before
	}
}

func (m *model) wake(t *rapid.T) {
	m.expire()
	key := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
	woken := 0
	for _, msg := range m.messages {
		if msg.parked == key {
			msg.parked, msg.due = "", time.Now()
			woken++
		}
	}
	if n := m.store.Wake(key, -1); n != woken {
		t.Fatalf("%d woken, want %d", n, woken)
	}
}

func (m *model) done(t *rapid.T) {
	id, msg := m.pick(t, leased)
	must(t, msg.lease.Done(ctx, nil))
	delete(m.messages, id)
}

func (m *model) hold(t *rapid.T) {
	id, msg := m.pick(t, every)
	must(t, m.store.Hold(ctx, id))
	msg.held = true
	if msg.parked != "" {
		msg.parked, msg.due = "", time.Now()
	}
}

func (m *model) release(t *rapid.T) {
	id, msg := m.pick(t, every)
	must(t, m.store.Release(ctx, id))
	msg.held = false
}

func (m *model) retry(t *rapid.T) {
	id, msg := m.pick(t, every)
	at := when(t)
	must(t, m.store.Retry(ctx, id, at))
	msg.journal = slices.Clone(msg.journal)
	msg.setDue(at)
	if msg.lease != nil {
		msg.override = &at
		return
	}
	msg.parked, msg.due = "", at
}

func (m *model) remove(t *rapid.T) {
	id, _ := m.pick(t, every)
	must(t, m.store.Remove(ctx, id))
	delete(m.messages, id)
}

// check compares the whole.
func (m *model) check(t *rapid.T) {
	m.expire()
	var ids []queue.ID
	for e, err := range m.store.Scan(ctx) {
		must(t, err)
		ids = append(ids, e.ID)
		msg := m.messages[e.ID]
		if msg == nil {
			t.Fatalf("message %v should be gone", e.ID)
		}
		if e.Held != msg.held || e.Leased != (msg.lease != nil) || e.Parked != msg.parked {
			t.Fatalf("message %v: held %v, leased %v, parked %q; want %+v", e.ID, e.Held, e.Leased, e.Parked, msg)
		}
		if late := msg.due.After(time.Now()); msg.lease == nil && (late && !e.Due.Equal(msg.due) || !late && e.Due.After(time.Now())) {
			t.Fatalf("message %v: due %v, want %v", e.ID, e.Due, msg.due)
		}
		m.compare(t, e, msg)
	}
	if len(ids) != len(m.messages) || !slices.IsSorted(ids) {
		t.Fatalf("messages %v, want %d", ids, len(m.messages))
	}
	if st := m.store.Stats(); st.Fresh+st.Deferred+st.Held+st.Leased+st.Parked != len(ids) || st.Quarantined != 0 {
		t.Fatalf("%+v for %d messages", st, len(ids))
	}
}

// compare compares journal and content.
func (m *model) compare(t *rapid.T, e *queue.Entry, msg *modelMessage) {
	for r := range 2 { // a store may forget what is in between
		got, want := attemptsAt(e.Journal, r), attemptsAt(msg.journal, r)
		if len(want) > 9 {
			want = append(want[:1:1], want[len(want)-8:]...)
		}
		if len(got) > 9 {
			got = append(got[:1:1], got[len(got)-8:]...)
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("message %v, recipient %d:\n got %v\nwant %v", e.ID, r, got, want)
		}
	}
	o, err := m.store.Open(ctx, e.ID)
	must(t, err)
	defer o.Close()
	text, err := io.ReadAll(io.NewSectionReader(o.Content, 0, o.Size))
	must(t, err)
	if string(text) != msg.text {
		t.Fatalf("message %v: content is not what was written", e.ID)
	}
}

func attemptsAt(journal []queue.Attempt, recipient int) (list []string) {
	for _, a := range journal {
		if a.Recipient == recipient {
			a.At, a.Due = a.At.UTC(), a.Due.UTC()
			text, _ := json.Marshal(a)
			list = append(list, string(text))
		}
	}
	return list
}
