package queue_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

type routerFunc func(to sqmail.Path) (sqmail.Routing, error)

func (f routerFunc) Route(_ context.Context, _ *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	return f(to)
}

// What nobody classified is a deferral.
func TestUnknownIsADeferral(t *testing.T) {
	tests := []struct {
		name    string
		deliver queue.DelivererFunc
		router  queue.Router
		want    queue.Status
		text    string
	}{
		{"deliverer: plain error", func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) { return nil, errPlain }, nil, queue.Pending, "451 4.3.0 temporary failure, try again later"},
		{"deliverer: nothing", func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) { return nil, nil }, nil, queue.Pending, "The delivery agent gave no answer."},
		{"deliverer: panic", func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) { panic("oh") }, nil, queue.Pending, "451 4.3.0 temporary failure, try again later"},
		{"deliverer: class from nowhere", always(sqmail.Outcome{Class: 77, Text: "?"}), nil, queue.Pending, "?"},
		{"deliverer: rejection", func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) {
			return nil, &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 550, Text: "no"}}
		}, nil, queue.Failed, "550 no"},
		{"deliverer: rejection, but an outcome", func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			return []sqmail.Outcome{{Class: sqmail.Deferral, Text: "later"}}, &sqmail.Error{Class: sqmail.Rejection}
		}, nil, queue.Pending, "later"},
		{"deliverer: contradiction", func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			return []sqmail.Outcome{rejected, accepted, rejected}, nil
		}, nil, queue.Delivered, "ok\n"},
		{"router: plain error", discard, routerFunc(func(sqmail.Path) (sqmail.Routing, error) { return sqmail.Routing{}, errPlain }), queue.Pending, "451 4.3.0 temporary failure, try again later"},
		{"router: panic", discard, routerFunc(func(sqmail.Path) (sqmail.Routing, error) { panic("oh") }), queue.Pending, "451 4.3.0 temporary failure, try again later"},
		{"router: rejection", discard, routerFunc(func(sqmail.Path) (sqmail.Routing, error) {
			return sqmail.Routing{}, &sqmail.Error{Class: sqmail.Rejection, Err: errPlain}
		}), queue.Failed, "554 5.3.0 refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := box{err: errPlain} // keeps settled messages in the queue
			inTime(t, tt.deliver, func(q *queue.Queue) { q.Router, q.Bounces.Receiver = tt.router, &b }, func(w *world) {
				env := envelope("s@x.test", "a@b.test")
				env.Recipients[0].Notify = sqmail.NotifySuccess | sqmail.NotifyFailure
				w.send(env, "x\n")
				synctest.Wait()
				e := w.entries()[0]
				if got := e.States()[0]; got.Status != tt.want || got.Last.Outcome.Text != tt.text {
					t.Errorf("%v, %q; want %v, %q", got.Status, got.Last.Outcome.Text, tt.want, tt.text)
				}
				if tt.want == queue.Pending && (!e.Due.After(time.Now()) || len(e.Journal) != 1) {
					t.Errorf("due at %v, journal %v", e.Due, e.Journal)
				}
			})
		})
	}
}

func TestInDoubtStandsInTheJournal(t *testing.T) {
	inTime(t, always(sqmail.Outcome{Class: sqmail.Deferral, InDoubt: true, Where: "mx"}), nil, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		synctest.Wait()
		if a := w.entries()[0].Journal[0]; !a.Outcome.InDoubt || a.Outcome.Where != "mx" || a.Number != 1 {
			t.Errorf("journal: %+v", a)
		}
	})
}

func TestLongReportsAreCut(t *testing.T) {
	inTime(t, always(sqmail.Outcome{Text: strings.Repeat("x", 1<<20), Where: strings.Repeat("y", 1<<20)}), nil, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), "x\n")
		synctest.Wait()
		o := w.entries()[0].Journal[0].Outcome
		if len(o.Text) != 10_000 || !strings.HasSuffix(o.Text, "x\nError report too long, sorry.\n") || len(o.Where) > 1000 {
			t.Errorf("%d octets of text, %d of place", len(o.Text), len(o.Where))
		}
	})
}

// brokenStore fails in one place.
type brokenStore struct {
	queue.Store
	begin, write, commit error
}

type brokenDraft struct {
	queue.Draft
	s *brokenStore
}

func (s *brokenStore) Begin(ctx context.Context) (queue.Draft, error) {
	if s.begin != nil {
		return nil, s.begin
	}
	d, err := s.Store.Begin(ctx)
	return brokenDraft{d, s}, err
}

func (d brokenDraft) Write(p []byte) (int, error) {
	if d.s.write != nil {
		return 0, d.s.write
	}
	return d.Draft.Write(p)
}

func (d brokenDraft) Commit(ctx context.Context, s queue.Submission) (queue.ID, error) {
	if d.s.commit != nil {
		return 0, d.s.commit
	}
	return d.Draft.Commit(ctx, s)
}

func TestReceiveErrors(t *testing.T) {
	refuse := &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 552, Text: "too big"}}
	tests := []struct {
		name  string
		store brokenStore
		env   *sqmail.Envelope
		body  io.Reader
		class sqmail.Class
		code  int
		is    error
	}{
		{name: "fine", class: sqmail.Accepted, code: 250},
		{name: "no recipients", env: envelope("s@x.test"), class: sqmail.Rejection, code: 554},
		{name: "begin", store: brokenStore{begin: errPlain}, code: 451, is: errPlain},
		{name: "write", store: brokenStore{write: errPlain}, code: 451, is: errPlain},
		{name: "commit", store: brokenStore{commit: errPlain}, code: 451, is: errPlain},
		{name: "the store rejects", store: brokenStore{commit: refuse}, class: sqmail.Rejection, code: 552, is: refuse},
		{name: "the store is full", store: brokenStore{Store: &memstore.Store{MaxBytes: 10}}, body: strings.NewReader("more than ten"), code: 452},
		{name: "the client is gone", body: iotest.ErrReader(io.ErrUnexpectedEOF), code: 451, is: io.ErrUnexpectedEOF},
		{name: "a filter rejects at the end", body: io.MultiReader(strings.NewReader("x\n"), iotest.ErrReader(refuse)), class: sqmail.Rejection, code: 552, is: refuse},
		{name: "data with the end", body: iotest.DataErrReader(strings.NewReader("x\n")), class: sqmail.Accepted, code: 250},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := tt.store
			if store.Store == nil {
				store.Store = newStore()
			}
			env, body := tt.env, tt.body
			if env == nil {
				env = envelope("s@x.test", "a@b.test")
			}
			if body == nil {
				body = strings.NewReader("x\n")
			}
			q := queue.Queue{Store: &store}
			receipt, err := q.Receive(t.Context(), env, body)
			if sqmail.ClassOf(err) != tt.class || sqmail.ReplyFor(err).Code != tt.code || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v: %v %v, want %v %v", err, sqmail.ClassOf(err), sqmail.ReplyFor(err), tt.class, tt.code)
			}
			want := queue.Stats{}
			if err == nil {
				want.Fresh = 1
				if receipt.ID == "" || receipt.Time.IsZero() {
					t.Errorf("receipt %+v", receipt)
				}
			}
			got := q.Stats()
			if got.Bytes = 0; got != want {
				t.Errorf("in the queue: %+v, want %+v", got, want)
			}
		})
	}
}

// Header fields that a filter adds at the end of the body stand before it.
func TestReceiveTakesTheHeaderAtTheEnd(t *testing.T) {
	inTime(t, discard, nil, func(w *world) {
		env := envelope("s@x.test", "a@b.test")
		body := io.MultiReader(strings.NewReader("Subject: x\n"), readerFunc(func([]byte) (int, error) {
			env.Header = []byte("X-Late: yes\n")
			return 0, io.EOF
		}))
		if _, err := w.Receive(w.t.Context(), env, body); err != nil {
			t.Fatal(err)
		}
		w.wantEmpty()
		if got := w.deliveries()[0].contents; got != "X-Late: yes\nSubject: x\n" {
			t.Errorf("message %q", got)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestRunNeedsAStoreAndADeliverer(t *testing.T) {
	for _, q := range []*queue.Queue{{}, {Store: newStore()}} {
		if q.Run(t.Context()) == nil {
			t.Error("Run without them succeeded")
		}
	}
}

func TestRunEndsWhenTheStoreIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		q := &queue.Queue{Store: store, Deliverer: queue.DelivererFunc(discard)}
		done := make(chan error)
		go func() { done <- q.Run(context.Background()) }()
		synctest.Wait()
		store.Close()
		if err := <-done; !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
}
