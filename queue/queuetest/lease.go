package queuetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/queue"
)

func leaseRules() []rule {
	return []rule{
		{"Lease waits for a message to be committed", func(b *bench) {
			got := make(chan queue.ID)
			go func() {
				l, err := b.Store.Lease(b.ctx, ttl)
				if err != nil {
					close(got)
					return
				}
				got <- l.Entry().ID
			}()
			synctest.Wait()
			start := time.Now()
			id := b.commit("x\n", queue.Submission{})
			if leased := <-got; leased != id {
				b.Errorf("leased %v, want %v", leased, id)
			}
			b.atOnce(start)
		}},
		{"Lease ends with its context", func(b *bench) {
			ctx, cancel := context.WithCancel(b.ctx)
			failed := make(chan error)
			go func() {
				_, err := b.Store.Lease(ctx, ttl)
				failed <- err
			}()
			synctest.Wait()
			start := time.Now()
			cancel()
			b.fails(<-failed, context.Canceled)
			b.atOnce(start)
			b.commit("x\n", queue.Submission{})
			b.lease()
		}},
		{"each message wakes one waiter, and none is forgotten", func(b *bench) {
			got := make(chan queue.ID, 10)
			for range 10 {
				go func() {
					if l, err := b.Store.Lease(b.ctx, ttl); err == nil {
						got <- l.Entry().ID
					}
				}()
			}
			synctest.Wait()
			for range 10 {
				b.commit("x\n", queue.Submission{Due: time.Now().Add(time.Hour)})
			}
			seen := make(map[queue.ID]bool)
			for range 10 {
				seen[<-got] = true
			}
			if len(seen) != 10 {
				b.Errorf("%d messages leased, want 10", len(seen))
			}
		}},
		{"a message is leased when it is due, not before", func(b *bench) {
			b.commit("x\n", queue.Submission{Due: time.Now().Add(time.Hour)})
			b.stats(queue.Stats{Deferred: 1})
			b.idle(time.Hour - time.Minute)
			if b.tryLease(time.Minute) == nil {
				b.Error("not leased when due")
			}
		}},
		{"a leased message is not leased again", func(b *bench) {
			l := b.leaseOf(b.commit("x\n", queue.Submission{}))
			b.idle(ttl / 2)
			b.ok(l.Extend(ttl))
		}},
		{"Retry gives the message back for its time", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			at := time.Now().Add(time.Hour)
			l := b.leaseOf(id)
			b.ok(l.Retry(b.ctx, nil, at))
			b.fails(l.Retry(b.ctx, nil, at), queue.ErrLeaseLost)
			if e := b.entry(id); !e.Due.Equal(at) || e.Leased {
				b.Errorf("due %v, want %v; leased %v", e.Due, at, e.Leased)
			}
			b.idle(time.Hour - time.Second)
			if b.tryLease(2*time.Second) == nil {
				b.Error("not leased when due")
			}
		}},
		{"Done removes the message", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			l := b.leaseOf(id)
			b.ok(l.Done(b.ctx, []queue.Attempt{attempt(0, 1, queue.Delivered)}))
			b.gone(id)
			b.fails(l.Done(b.ctx, nil), queue.ErrLeaseLost)
			b.idle(48 * time.Hour)
			b.stats(queue.Stats{})
		}},
		{"what happened is recorded even if the context has ended", func(b *bench) {
			ctx, cancel := context.WithCancel(b.ctx)
			cancel()
			id := b.commit("x\n", queue.Submission{})
			l := b.leaseOf(id)
			b.ok(l.Checkpoint(ctx, []queue.Attempt{attempt(0, 1, queue.Pending)}))
			b.ok(l.Retry(ctx, nil, time.Time{}))
			b.ok(b.leaseOf(id).Done(ctx, nil))
			b.gone(id)
		}},
		{"a lease that nobody ends runs out", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			b.leaseOf(id)
			b.idle(ttl - time.Second)
			if l := b.tryLease(2 * time.Second); l == nil || l.Entry().ID != id {
				b.Fatal("not due again when the lease had run out")
			}
		}},
		{"Extend moves the end of a lease", func(b *bench) {
			l := b.leaseOf(b.commit("x\n", queue.Submission{}))
			for range 10 {
				b.idle(ttl - time.Second)
				b.ok(l.Extend(ttl))
			}
			b.idle(ttl - time.Second)
			if b.tryLease(2*time.Second) == nil {
				b.Error("the extended lease did not run out")
			}
		}},
		{"a lease is for as long as its holder asks", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			for _, ttl := range []time.Duration{time.Second, time.Hour} {
				_, err := b.Store.Lease(b.ctx, ttl)
				b.ok(err)
				time.Sleep(ttl - time.Millisecond)
				if !b.entry(id).Leased {
					b.Errorf("a lease for %v ran out early", ttl)
				}
				time.Sleep(2 * time.Millisecond)
				b.stats(queue.Stats{Deferred: 1})
			}
		}},
		{"Extend can make a lease shorter", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			b.ok(b.leaseOf(id).Extend(time.Second))
			if b.tryLease(2*time.Second) == nil {
				b.Error("it did not run out at the new time")
			}
		}},
		{"a lease that ran out changes nothing", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			l := b.leaseOf(id)
			time.Sleep(ttl)
			b.lost(l)
			b.leaseOf(id)
		}},
		{"a lease that ran out changes nothing for the next holder", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			first := b.leaseOf(id)
			time.Sleep(ttl)
			second := b.leaseOf(id)
			b.lost(first)
			b.stats(queue.Stats{Leased: 1})
			b.ok(second.Done(b.ctx, nil))
			b.gone(id)
		}},
		{"Remove takes the message from its holder", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			l := b.leaseOf(id)
			b.ok(b.Store.Remove(b.ctx, id))
			b.gone(id)
			b.lost(l)
			b.idle(time.Hour)
		}},
		{"Entry tells the state when the message was leased", func(b *bench) {
			at := time.Now().Add(time.Hour)
			b.commit("x\n", queue.Submission{Due: at})
			l := b.tryLease(2 * time.Hour)
			if l == nil || !l.Entry().Due.Equal(at) {
				b.Fatalf("lease %+v, want one due at %v", l, at)
			}
		}},
		{"many hands deliver every message once", func(b *bench) {
			const writers, each = 8, 25
			var mu sync.Mutex
			done := make(map[queue.ID]int)
			ctx, cancel := context.WithCancel(b.ctx)
			defer cancel()
			var workers, senders sync.WaitGroup
			for range 6 {
				workers.Go(func() { b.work(ctx, &mu, done) })
			}
			for range writers {
				senders.Go(func() {
					for i := range each {
						b.commit(fmt.Sprint("message ", i, "\n"), queue.Submission{})
					}
				})
			}
			senders.Wait()
			time.Sleep(time.Hour)
			cancel()
			workers.Wait()
			if len(done) != writers*each {
				b.Errorf("%d messages done, want %d", len(done), writers*each)
			}
			for id, n := range done {
				if n != 1 {
					b.Errorf("message %v done %d times", id, n)
				}
			}
			b.stats(queue.Stats{})
		}},
	}
}

// work leases messages, defers each twice and then finishes it.
func (b *bench) work(ctx context.Context, mu *sync.Mutex, done map[queue.ID]int) {
	for {
		l, err := b.Store.Lease(ctx, ttl)
		if err != nil {
			return
		}
		e := l.Entry()
		if n := len(e.Journal); n < 2 {
			err = l.Retry(ctx, []queue.Attempt{attempt(0, n+1, queue.Pending)}, time.Now().Add(time.Minute))
		} else if err = l.Done(ctx, nil); err == nil {
			mu.Lock()
			done[e.ID]++
			mu.Unlock()
		}
		if err != nil {
			b.Errorf("message %v: %v", e.ID, err)
		}
	}
}

// lost checks that no call on a lost lease does anything.
func (b *bench) lost(l queue.Lease) {
	b.Helper()
	done := []queue.Attempt{attempt(0, 9, queue.Delivered)}
	b.fails(l.Extend(ttl), queue.ErrLeaseLost)
	b.fails(l.Checkpoint(b.ctx, done), queue.ErrLeaseLost)
	b.fails(l.Retry(b.ctx, done, time.Time{}), queue.ErrLeaseLost)
	b.fails(l.Park("key", time.Now()), queue.ErrLeaseLost)
	b.fails(l.Done(b.ctx, done), queue.ErrLeaseLost)
	m, err := b.Store.Open(b.ctx, l.Entry().ID)
	if err != nil {
		return
	}
	defer m.Close()
	if slices.ContainsFunc(m.Journal, func(a queue.Attempt) bool { return a.Number == 9 }) {
		b.Error("a lost lease wrote to the journal")
	}
}

func turnRules() []rule {
	return []rule{
		{"a crowd of older messages that are due again does not keep a new one waiting", func(b *bench) {
			b.crowd(200)
			b.soon(b.commit("new\n", queue.Submission{}))
			b.soon(b.commit("another\n", queue.Submission{}))
		}},
		{"a stream of new messages does not keep an old one waiting", func(b *bench) {
			id := b.commit("old\n", queue.Submission{})
			b.ok(b.leaseOf(id).Retry(b.ctx, nil, time.Time{}))
			for range 200 {
				b.commit("new\n", queue.Submission{})
			}
			b.soon(id)
		}},
		{"new messages are leased in the order of arrival", func(b *bench) {
			var ids []queue.ID
			for range 50 {
				ids = append(ids, b.commit("x\n", queue.Submission{}))
			}
			for _, id := range ids {
				b.leaseOf(id)
			}
		}},
		{"what is due again is leased by its due time", func(b *bench) {
			first := b.commit("x\n", queue.Submission{})
			second := b.commit("x\n", queue.Submission{})
			b.ok(b.leaseOf(first).Retry(b.ctx, nil, time.Now().Add(2*time.Hour)))
			b.ok(b.leaseOf(second).Retry(b.ctx, nil, time.Now().Add(time.Hour)))
			time.Sleep(3 * time.Hour)
			b.leaseOf(second)
			b.leaseOf(first)
		}},
	}
}

// crowd puts n messages in the queue that are due again.
func (b *bench) crowd(n int) {
	b.Helper()
	var leases []queue.Lease
	for range n {
		b.commit("old\n", queue.Submission{})
	}
	for range n {
		leases = append(leases, b.lease())
	}
	for _, l := range leases {
		b.ok(l.Retry(b.ctx, nil, time.Time{}))
	}
}

// soon checks that a message is among the next five to be leased.
func (b *bench) soon(id queue.ID) {
	b.Helper()
	for range 5 {
		l := b.lease()
		if l.Entry().ID == id {
			b.ok(l.Done(b.ctx, nil))
			return
		}
		b.ok(l.Retry(b.ctx, nil, time.Time{}))
	}
	b.Errorf("message %v is kept waiting", id)
}
