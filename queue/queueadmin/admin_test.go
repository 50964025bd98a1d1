package queueadmin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
	"github.com/sqmail/sqmail/queue/queueadmin"
)

func Example() {
	store := &memstore.Store{}
	defer store.Close()
	server := httptest.NewServer(queueadmin.Handler(store)) // in earnest: a Unix socket
	defer server.Close()

	ctx := context.Background()
	draft, _ := store.Begin(ctx)
	io.WriteString(draft, "Subject: hi\n\nhello\n")
	draft.Commit(ctx, queue.Submission{Envelope: &sqmail.Envelope{
		ReversePath: sqmail.PathOf("sue@example.org"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("joe@example.org")}},
	}})

	q := &queueadmin.Client{HTTP: clientOf(server)}
	for e, err := range q.Scan(ctx) {
		fmt.Println(e.Envelope.ReversePath, e.Size, err)
	}
	// Output: sue@example.org 19 <nil>
}

// clientOf returns a client that takes every host for the server.
func clientOf(s *httptest.Server) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.Listener.Addr().String())
	}}}
}

// both returns an admin and a client of it, over a Unix socket.
func both(t *testing.T, q queueadmin.Admin) *queueadmin.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: queueadmin.Handler(q)}
	done := make(chan struct{})
	go func() { server.Serve(l); close(done) }()
	c, err := queueadmin.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.Close(); <-done })
	return c
}

func commit(t *testing.T, store queue.Store, text string) queue.ID {
	t.Helper()
	draft, err := store.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(draft, text)
	id, err := draft.Commit(t.Context(), queue.Submission{Envelope: &sqmail.Envelope{
		ReversePath: sqmail.PathOf("a b@example.org"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("joe@example.org")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestClientSeesWhatTheStoreHas(t *testing.T) {
	store := &memstore.Store{}
	defer store.Close()
	text := "Subject: x\n\n" + strings.Repeat("a line of text\n", 10_000)
	id := commit(t, store, text)
	c := both(t, store)
	n := 0
	for e, err := range c.Scan(t.Context()) {
		n++
		if err != nil || e.ID != id || e.Envelope.ReversePath != sqmail.PathOf("a b@example.org") {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if n != 1 {
		t.Errorf("%d messages", n)
	}
	m, err := c.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := io.ReadAll(io.NewSectionReader(m.Content, 0, m.Size))
	if err != nil || string(got) != text {
		t.Errorf("%d octets, %v; want %d", len(got), err, len(text))
	}
	if got, want := c.Stats(), store.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestClientActs(t *testing.T) {
	store := &memstore.Store{}
	defer store.Close()
	id := commit(t, store, "x\n")
	c := both(t, store)
	state := func() *queue.Entry {
		t.Helper()
		m, err := c.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		return m.Entry
	}
	if err := c.Hold(t.Context(), id); err != nil || !state().Held {
		t.Errorf("hold: %v", err)
	}
	if err := c.Release(t.Context(), id); err != nil || state().Held {
		t.Errorf("release: %v", err)
	}
	at := time.Now().Add(time.Hour)
	if err := c.Retry(t.Context(), id, at); err != nil || !state().Due.Equal(at) {
		t.Errorf("retry: %v, due %v, want %v", err, state().Due, at)
	}
	if err := c.Remove(t.Context(), id); err != nil {
		t.Errorf("remove: %v", err)
	}
	for name, err := range map[string]error{
		"hold": c.Hold(t.Context(), id), "release": c.Release(t.Context(), id),
		"retry": c.Retry(t.Context(), id, time.Time{}), "remove": c.Remove(t.Context(), id),
	} {
		if !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("%s of a message that is gone: %v", name, err)
		}
	}
}

// damaged is a queue with one entry that cannot be read.
type damaged struct{ queueadmin.Admin }

func (d damaged) Scan(ctx context.Context) iter.Seq2[*queue.Entry, error] {
	return func(yield func(*queue.Entry, error) bool) {
		if !yield(nil, errors.New("message 7 is damaged")) {
			return
		}
		for e, err := range d.Admin.Scan(ctx) {
			if !yield(e, err) {
				return
			}
		}
	}
}

func (d damaged) Hold(context.Context, queue.ID) error { return errors.New("disk full") }

func TestOneBadEntryDoesNotEndTheScan(t *testing.T) {
	store := &memstore.Store{}
	defer store.Close()
	id := commit(t, store, "x\n")
	c := both(t, damaged{store})
	var errs, entries int
	for e, err := range c.Scan(t.Context()) {
		switch {
		case err != nil && e == nil && strings.Contains(err.Error(), "message 7"):
			errs++
		case err == nil && e.ID == id:
			entries++
		}
	}
	if errs != 1 || entries != 1 {
		t.Errorf("%d errors, %d entries", errs, entries)
	}
	if err := c.Hold(t.Context(), id); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	store := &memstore.Store{}
	defer store.Close()
	id := commit(t, store, "x\n")
	h := queueadmin.Handler(store)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/messages/0", 400},
		{"GET", "/messages/-1", 400},
		{"GET", "/messages/x", 400},
		{"POST", "/messages/" + id.String() + "/retry?at=tomorrow", 400},
		{"GET", "/messages/" + id.String() + "/hold", 405},
		{"GET", "/nothing", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
		if w.Code != test.status {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, w.Code, test.status)
		}
	}
}

// importer adds to a store what a queue has.
type importer struct{ queue.Store }

func (i importer) Import(ctx context.Context, s queue.Submission, r io.Reader) (queue.ID, error) {
	return queue.Import(ctx, i.Store, s, r)
}

func TestClientImports(t *testing.T) {
	store := &memstore.Store{}
	defer store.Close()
	c := both(t, importer{store})
	text := "Subject: {\n\n" + strings.Repeat("a line of text\n", 100_000)
	born := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	sub := queue.Submission{
		Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("a b@x.test"), Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("joe@y.test")}}},
		Arrived:  born, Held: true,
		Journal: []queue.Attempt{{Number: 3, At: born, Status: queue.Failed, Outcome: sqmail.Outcome{Class: sqmail.Rejection, Text: "no\n"}}},
	}
	id, err := c.Import(t.Context(), sub, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(io.NewSectionReader(m.Content, 0, m.Size))
	if string(got) != text || !m.Held || !m.Arrived.Equal(born) || len(m.Journal) != 1 || m.Journal[0].Outcome.Text != "no\n" {
		t.Errorf("%d octets, %+v", len(got), m.Entry)
	}
	if m.Envelope.ReversePath != sub.Envelope.ReversePath {
		t.Errorf("sender %v", m.Envelope.ReversePath)
	}
	if _, err := c.Import(t.Context(), queue.Submission{Envelope: &sqmail.Envelope{}}, strings.NewReader("x")); sqmail.ClassOf(err) != sqmail.Rejection {
		t.Errorf("no recipients: %v, want a rejection", err)
	}
	broken := errors.New("cannot read")
	if _, err := c.Import(t.Context(), sub, io.MultiReader(strings.NewReader("half of it"), failingReader{broken})); err == nil {
		t.Error("a content that broke off: no error")
	}
	if n := store.Stats().Held; n != 1 {
		t.Errorf("%d messages, want one", n)
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// Reading a message to its end is one request, however small the pieces.
func TestContentIsReadInOneRequest(t *testing.T) {
	store := &memstore.Store{}
	defer store.Close()
	id := commit(t, store, strings.Repeat("0123456789", 50_000))
	var requests atomic.Int64
	h := queueadmin.Handler(store)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { requests.Add(1); h.ServeHTTP(w, r) }))
	defer server.Close()
	c := &queueadmin.Client{HTTP: clientOf(server)}
	m, err := c.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, io.NewSectionReader(m.Content, 0, m.Size))
	if n != 500_000 || err != nil || requests.Load() != 2 {
		t.Errorf("%d octets, %v, %d requests: want 2", n, err, requests.Load())
	}
	var p [5]byte
	for _, off := range []int64{499_998, 3, 8, 250_000} {
		n, err := m.Content.ReadAt(p[:], off)
		want := strings.Repeat("0123456789", 2)[off%10:][:min(5, 500_000-off)]
		if string(p[:n]) != want || (err == io.EOF) != (n < 5) {
			t.Errorf("at %d: %q, %v; want %q", off, p[:n], err, want)
		}
	}
	m.Close()
}

func TestScanTellsThatTheQueueIsLost(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"error":"message 7 is damaged"}`+"\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	var errs []error
	for _, err := range (&queueadmin.Client{HTTP: clientOf(server)}).Scan(t.Context()) {
		errs = append(errs, err)
	}
	if len(errs) != 2 || errors.Is(errs[0], queueadmin.ErrLost) || !errors.Is(errs[1], queueadmin.ErrLost) {
		t.Errorf("%v", errs)
	}
}
