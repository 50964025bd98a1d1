package memstore_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
	"github.com/sqmail/sqmail/queue/queuetest"
)

func TestContract(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queue.Store { return &memstore.Store{} })
}

func TestMaxBytesBoundsMessagesAndDrafts(t *testing.T) {
	ctx := context.Background()
	s := &memstore.Store{MaxBytes: 100}
	env := &sqmail.Envelope{Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("a@b.test")}}, Header: []byte("0123456789")}
	put := func(n int) (queue.ID, error) {
		d, err := s.Begin(ctx)
		if err != nil {
			return 0, err
		}
		defer d.Abort()
		if _, err := d.Write(make([]byte, n)); err != nil {
			return 0, err
		}
		return d.Commit(ctx, queue.Submission{Envelope: env})
	}
	id, err := put(80)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{5, 15} { // the header, or the body, is too much
		if _, err := put(n); sqmail.ReplyFor(err).Code != 452 {
			t.Errorf("%d octets more: %v, want 452", n, err)
		}
	}
	if err := s.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Bytes; n != 0 {
		t.Errorf("%d octets in use, want 0", n)
	}
	if _, err := put(90); err != nil {
		t.Errorf("after the removal: %v", err)
	}
}

func TestContentRefusesNegativeOffset(t *testing.T) {
	s := &memstore.Store{}
	d, _ := s.Begin(context.Background())
	d.Commit(context.Background(), queue.Submission{Envelope: &sqmail.Envelope{Recipients: make([]sqmail.Recipient, 1)}})
	l, _ := s.Lease(context.Background(), 1e9)
	if _, err := l.Content().ReadAt(make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v, want an error", err)
	}
}
