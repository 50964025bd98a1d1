package queuetest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/sqmail/sqmail/queue"
)

// rule is one thing that the contract says.
type rule struct {
	name  string
	check func(*bench)
}

// Run checks a store. newStore is called in a bubble, once for each rule, and
// returns an empty store; Run closes it.
func Run(t *testing.T, newStore func(t *testing.T) queue.Store) {
	for _, rules := range [][]rule{draftRules(), leaseRules(), turnRules(), parkRules(), journalRules(), toolRules(), closeRules()} {
		for _, r := range rules {
			t.Run(r.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStore(t)
					t.Cleanup(func() { s.Close() })
					r.check(&bench{T: t, Store: s, ctx: t.Context()})
				})
			})
		}
	}
}

// RunDurable checks what must be there after Close when the same store is
// opened again. newHome is called once for each rule; the function that it
// returns opens a store there, an empty one the first time.
func RunDurable(t *testing.T, newHome func(t *testing.T) (open func() queue.Store)) {
	for _, r := range durableRules() {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{T: t, open: newHome(t), ctx: t.Context()}
				b.Store = b.open()
				t.Cleanup(func() { b.Store.Close() })
				r.check(b)
			})
		})
	}
}

// bench is what a rule is checked with.
type bench struct {
	*testing.T
	Store queue.Store
	open  func() queue.Store
	ctx   context.Context
}

// reopen closes the store and opens it again.
func (b *bench) reopen() {
	b.Helper()
	if err := b.Store.Close(); err != nil {
		b.Fatalf("Close: %v", err)
	}
	b.Store = b.open()
}
