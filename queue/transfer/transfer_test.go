package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
	"github.com/sqmail/sqmail/queue/transfer"
)

func envelope(to ...string) *sqmail.Envelope {
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("sender@example.org")}
	for _, addr := range to {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(addr)})
	}
	return env
}

// messages is a source of n messages.
func messages(n int) iter.Seq2[*transfer.Item, error] {
	return func(yield func(*transfer.Item, error) bool) {
		for i := range n {
			text := fmt.Sprintf("Subject: %d\n\n%s", i, strings.Repeat("body\n", 10*i))
			item := &transfer.Item{
				Name: fmt.Sprintf("message %d", i), Key: transfer.KeyOf(fmt.Sprint(i)),
				Submission: queue.Submission{Envelope: envelope(fmt.Sprintf("r%d@example.net", i))},
				Content:    strings.NewReader(text),
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

func ledger(t *testing.T) *transfer.Ledger {
	t.Helper()
	l, err := transfer.OpenLedger(filepath.Join(t.TempDir(), "imported"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// entries returns what is in a queue.
func entries(t *testing.T, s queue.Store) (all []*queue.Entry) {
	t.Helper()
	for e, err := range s.Scan(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func text(t *testing.T, s queue.Store, id queue.ID) string {
	t.Helper()
	m, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, err := io.ReadAll(io.NewSectionReader(m.Content, 0, m.Size))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// exported writes all of a queue to a stream.
func exported(t *testing.T, s queue.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	w := transfer.NewWriter(&b)
	for _, e := range entries(t, s) {
		m, err := s.Open(t.Context(), e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(m.Entry, m.Content); err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// full is a queue with a message of each kind.
func full(t *testing.T) *memstore.Store {
	t.Helper()
	s := &memstore.Store{}
	born := time.Date(2026, 11, 20, 1, 2, 3, 4, time.UTC)
	rich := envelope("ann@example.net", "bob@example.net", `"a b"@example.net`)
	rich.Header, rich.SMTPUTF8, rich.EnvelopeID = []byte("Received: here\n"), true, "id"
	rich.Recipients[0].Notify, rich.Recipients[0].Original = sqmail.NotifySuccess, "rfc822;ann"
	rich.Verdicts = []sqmail.Verdict{{Stage: "connect", Filter: "rbl", Rule: "x", File: "control/rbls", Line: 3}}
	for _, sub := range []queue.Submission{
		{Envelope: envelope("a@b.test"), Arrived: born},
		{Envelope: rich, Arrived: born, Due: born.Add(24000 * time.Hour), Journal: []queue.Attempt{
			{Recipient: 0, Number: 1, At: born, Status: queue.Delivered, Outcome: sqmail.Outcome{Class: sqmail.Accepted, Text: "ok"}},
			{Recipient: 1, Number: 2, At: born, Status: queue.Failed, Outcome: sqmail.Outcome{Class: sqmail.Rejection, Text: "no\nway\n"}},
			{Recipient: 2, Number: 3, At: born, Due: born.Add(24000 * time.Hour), Outcome: sqmail.Outcome{Class: sqmail.Deferral, Text: "later"}},
		}},
		{Envelope: envelope("held@b.test"), Arrived: born, Held: true},
		{Envelope: &sqmail.Envelope{Recipients: envelope("x@y.test").Recipients}, Arrived: born},
	} {
		body := []string{"", "Subject: x\n\nbody\n", strings.Repeat("long\n", 200_000), "{\"end\":true,\"messages\":0}\n"}[len(entries(t, s))]
		if _, err := queue.Import(t.Context(), s, sub, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestExportAndImportKeepAll(t *testing.T) {
	from, to := full(t), &memstore.Store{}
	im := &transfer.Importer{Target: transfer.ToStore(to), Ledger: ledger(t)}
	result, err := im.Import(t.Context(), transfer.Read(bytes.NewReader(exported(t, from))))
	if err != nil || result != (transfer.Result{transfer.Imported: 4}) {
		t.Fatalf("%v, %v", result, err)
	}
	before, after := entries(t, from), entries(t, to)
	for i, was := range before {
		is := after[i]
		if text(t, from, was.ID) != text(t, to, is.ID) {
			t.Errorf("message %d: the content differs", i)
		}
		last := len(is.Envelope.Verdicts) - 1
		if last < 0 || is.Envelope.Verdicts[last].Stage != "import" {
			t.Errorf("message %d: no trace of the import: %+v", i, is.Envelope.Verdicts)
		}
		is.Envelope.Verdicts = is.Envelope.Verdicts[:last]
		was.Envelope.Header = nil // it stands in the content now
		a, b := fmt.Sprintf("%+v", was.Envelope), fmt.Sprintf("%+v", is.Envelope)
		if a != b || was.Held != is.Held || !was.Arrived.Equal(is.Arrived) || !was.Due.Equal(is.Due) || was.Size != is.Size {
			t.Errorf("message %d:\n%+v\n%+v", i, was, is)
		}
		if len(was.Journal)+len(is.Journal) > 0 && !reflect.DeepEqual(was.Journal, is.Journal) {
			t.Errorf("message %d: journal\n%+v\n%+v", i, was.Journal, is.Journal)
		}
	}
}

func TestSecondImportDoesNothing(t *testing.T) {
	s := &memstore.Store{}
	im := &transfer.Importer{Target: transfer.ToStore(s), Ledger: ledger(t)}
	for round := range 3 {
		result, err := im.Import(t.Context(), messages(100+round))
		want := transfer.Result{transfer.Imported: 100}
		if round > 0 {
			want = transfer.Result{transfer.Imported: 1, transfer.Known: 99 + round}
		}
		if err != nil || result != want {
			t.Fatalf("round %d: %v, %v; want %v", round, result, err, want)
		}
	}
	if st := s.Stats(); st.Fresh != 102 {
		t.Errorf("%+v, want 102 messages", st)
	}
}

func TestMessageThatIsTwiceInTheSourceIsImportedOnce(t *testing.T) {
	s := &memstore.Store{}
	im := &transfer.Importer{Target: transfer.ToStore(s), Ledger: ledger(t)}
	twice := func(yield func(*transfer.Item, error) bool) {
		for range 2 {
			for item, err := range messages(3) {
				if !yield(item, err) {
					return
				}
			}
		}
	}
	result, err := im.Import(t.Context(), twice)
	if err != nil || result != (transfer.Result{transfer.Imported: 3, transfer.Known: 3}) {
		t.Errorf("%v, %v", result, err)
	}
}

// What is wrong with one message keeps no other.
func TestBadItemsAreReportedAndTheOthersGoOn(t *testing.T) {
	s := &memstore.Store{}
	reports := map[string]error{}
	im := &transfer.Importer{Target: transfer.ToStore(s), Ledger: ledger(t), Report: func(name string, what transfer.What, id queue.ID, err error) {
		if what == transfer.Failed {
			reports[name] = err
		}
	}}
	broken := errors.New("disk error")
	source := func(yield func(*transfer.Item, error) bool) {
		n := 0
		for item := range messages(6) {
			var err error
			switch n++; n {
			case 2:
				item, err = nil, errors.New("info/1/24: damaged")
			case 3:
				item.Content = io.MultiReader(strings.NewReader("half"), errReader{broken})
			case 4:
				item.Submission.Envelope.Recipients = nil
			}
			if !yield(item, err) {
				return
			}
		}
	}
	result, err := im.Import(t.Context(), source)
	if err != nil || result != (transfer.Result{transfer.Imported: 3, transfer.Failed: 3}) || len(reports) != 3 {
		t.Errorf("%v, %v, %v", result, err, reports)
	}
	if !errors.Is(reports["message 2"], broken) || sqmail.ClassOf(reports["message 3"]) != sqmail.Rejection {
		t.Errorf("%v", reports)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// failing is a queue that fails now and then.
type failing struct {
	transfer.Target
	fail func(call string) error
}

func (f *failing) Import(ctx context.Context, s queue.Submission, r io.Reader) (queue.ID, error) {
	if err := f.fail("import"); err != nil {
		return 0, err
	}
	id, err := f.Target.Import(ctx, s, r)
	if lost := f.fail("answer"); lost != nil {
		return 0, lost
	}
	return id, err
}

func (f *failing) Release(ctx context.Context, id queue.ID) error {
	if err := f.fail("release"); err != nil {
		return err
	}
	return f.Target.Release(ctx, id)
}

// Whatever call fails, and whether or not it did its work, the next import goes
// on: each message is there once, and none stays held.
func TestImportGoesOnAfterAnyFailure(t *testing.T) {
	lost := errors.New("connection lost")
	for n := 1; ; n++ {
		s := &memstore.Store{}
		calls := 0
		var mu sync.Mutex // several messages are released at a time
		target := &failing{transfer.ToStore(s), func(string) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls == n {
				return lost
			}
			return nil
		}}
		im := &transfer.Importer{Target: target, Ledger: ledger(t)}
		im.SetBatch(3)
		_, err := im.Import(t.Context(), messages(7))
		over := calls < n
		if !over && !errors.Is(err, lost) {
			t.Fatalf("call %d: %v", n, err)
		}
		calls = n
		// What was let go is delivered meanwhile.
		delivered := drain(t, s)
		if _, err := im.Import(t.Context(), messages(7)); err != nil {
			t.Fatalf("call %d: the second import: %v", n, err)
		}
		for to, count := range drain(t, s) {
			delivered[to] += count
		}
		if st := s.Stats(); len(delivered) != 7 || st.Held > 0 {
			t.Fatalf("call %d: %d of 7 messages delivered, %+v left", n, len(delivered), st)
		}
		for to, count := range delivered {
			if count != 1 {
				t.Fatalf("call %d: %s was delivered %d times", n, to, count)
			}
		}
		if over {
			return
		}
	}
}

// drain delivers what may be delivered.
func drain(t *testing.T, s queue.Store) map[string]int {
	t.Helper()
	delivered := map[string]int{}
	for _, e := range entries(t, s) {
		if !e.Held {
			delivered[e.Envelope.Recipients[0].Path.String()]++
			if err := s.Remove(t.Context(), e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	return delivered
}

func TestCancelledImportIsNotInDoubt(t *testing.T) {
	s := &memstore.Store{}
	ctx, cancel := context.WithCancel(t.Context())
	im := &transfer.Importer{Target: transfer.ToStore(s), Ledger: ledger(t)}
	im.Report = func(string, transfer.What, queue.ID, error) {
		if s.Stats().Held == 5 {
			cancel()
		}
	}
	result, err := im.Import(ctx, messages(20))
	if !errors.Is(err, context.Canceled) || result != (transfer.Result{transfer.Imported: 5}) {
		t.Fatalf("%v, %v", result, err)
	}
	if st := s.Stats(); st.Held != 0 || st.Fresh != 5 {
		t.Errorf("%+v, want five messages, none held", st)
	}
	result, err = im.Import(t.Context(), messages(20))
	if err != nil || result != (transfer.Result{transfer.Imported: 15, transfer.Known: 5}) {
		t.Errorf("%v, %v", result, err)
	}
}

// What an administrator holds stays held, whatever imports do.
func TestResumeLeavesAloneWhatOthersHold(t *testing.T) {
	s := &memstore.Store{}
	fail := false
	target := &failing{transfer.ToStore(s), func(call string) error {
		if fail && call == "answer" {
			return errors.New("lost")
		}
		return nil
	}}
	im := &transfer.Importer{Target: target, Ledger: ledger(t)}
	if _, err := im.Import(t.Context(), messages(3)); err != nil {
		t.Fatal(err)
	}
	s.Hold(t.Context(), 2)
	fail = true
	im.Import(t.Context(), messages(4))
	fail = false
	result, err := im.Import(t.Context(), messages(4))
	if err != nil || result != (transfer.Result{transfer.Resumed: 1, transfer.Known: 4}) {
		t.Errorf("%v, %v", result, err)
	}
	if st := s.Stats(); st.Held != 1 || st.Fresh != 3 {
		t.Errorf("%+v, want one held", st)
	}
}

func TestOneLedgerOneImport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imported")
	l, err := transfer.OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.OpenLedger(path); err == nil {
		t.Error("two have the ledger open")
	}
	l.Close()
	if l, err = transfer.OpenLedger(path); err != nil {
		t.Fatal(err)
	}
	l.Close()
}
