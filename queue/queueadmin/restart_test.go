package queueadmin_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// What was said in attempts is there for an administrator after a restart.
func TestJournalSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	store, err := segstore.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := commit(t, store, "Subject: hi\n\nhello\n")
	reply := sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "come back later"}
	tried := make(chan struct{}, 1)
	q := &queue.Queue{Store: store, Deliverer: queue.DelivererFunc(func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) {
		tried <- struct{}{}
		return []sqmail.Outcome{{Reply: reply, Text: "greylisted\n", Where: "mx.example.org [192.0.2.1]"}}, nil
	})}
	began := time.Now()
	done := make(chan error)
	go func() { done <- q.Run(context.Background()) }()
	<-tried
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	store.Close()

	again, err := segstore.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	m, err := both(t, again).Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(m.Journal) != 1 {
		t.Fatalf("journal: %+v", m.Journal)
	}
	a := m.Journal[0]
	if a.Number != 1 || a.Status != queue.Pending || a.Outcome.Reply != reply || a.Outcome.Text != "greylisted\n" || a.Outcome.Where != "mx.example.org [192.0.2.1]" {
		t.Errorf("attempt: %+v", a)
	}
	if a.At.Before(began) || a.Due.Sub(began) < 399*time.Second || !m.Due.Equal(a.Due) {
		t.Errorf("at %v, due %v; message due %v", a.At, a.Due, m.Due)
	}
}
