package queuetest

import (
	"context"
	"slices"
	"time"

	"github.com/sqmail/sqmail/queue"
)

func toolRules() []rule {
	return []rule{
		{"Open shows a message, leased or not", func(b *bench) {
			env := richEnvelope()
			id := b.commit("body\n", queue.Submission{Envelope: env})
			for _, leased := range []bool{false, true} {
				if leased {
					b.leaseOf(id)
				}
				m, err := b.Store.Open(b.ctx, id)
				b.ok(err)
				b.same("envelope", m.Envelope, env)
				if m.Leased != leased || b.text(m.Content, m.Size) != string(env.Header)+"body\n" {
					b.Errorf("leased %v, want %v; or another content", m.Leased, leased)
				}
				b.ok(m.Close())
			}
		}},
		{"an opened message can be read after it left the queue", func(b *bench) {
			for _, size := range []int{100, 100_000, 1_000_000} {
				text := big(size)
				id := b.commit(text, queue.Submission{})
				m, err := b.Store.Open(b.ctx, id)
				b.ok(err)
				b.ok(b.Store.Remove(b.ctx, id))
				for range 40 {
					b.commit(text, queue.Submission{})
					b.ok(b.lease().Done(b.ctx, nil))
				}
				if b.text(m.Content, m.Size) != text {
					b.Error("content has changed")
				}
				b.ok(m.Close())
			}
		}},
		{"what is not there is not found", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			b.ok(b.Store.Remove(b.ctx, id))
			for _, id := range []queue.ID{id, id + 1000} {
				b.gone(id)
				b.fails(b.Store.Remove(b.ctx, id), queue.ErrNotFound)
				b.fails(b.Store.Hold(b.ctx, id), queue.ErrNotFound)
				b.fails(b.Store.Release(b.ctx, id), queue.ErrNotFound)
				b.fails(b.Store.Retry(b.ctx, id, time.Time{}), queue.ErrNotFound)
			}
		}},
		{"Scan yields every message in order of arrival", func(b *bench) {
			var want []queue.ID
			for range 100 {
				want = append(want, b.commit("x\n", queue.Submission{}))
			}
			for range 30 {
				b.ok(b.lease().Retry(b.ctx, nil, time.Now().Add(time.Hour)))
			}
			b.ok(b.Store.Remove(b.ctx, want[50]))
			b.ok(b.Store.Hold(b.ctx, want[60]))
			want = slices.Delete(want, 50, 51)
			b.same("numbers", b.scan(), want)
		}},
		{"Scan yields the state of each message, leased ones too", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Envelope: richEnvelope()})
			want := []queue.Attempt{attempt(0, 1, queue.Delivered)}
			b.ok(b.leaseOf(id).Checkpoint(b.ctx, want))
			seen := 0
			for e, err := range b.Store.Scan(b.ctx) {
				b.ok(err)
				seen++
				b.same("journal", e.Journal, want)
				if !e.Leased {
					b.Error("not leased")
				}
			}
			if seen != 1 {
				b.Errorf("%d messages seen, want the one that is leased", seen)
			}
		}},
		{"a scan does not hold up anything else", func(b *bench) {
			for range 20 {
				b.commit("x\n", queue.Submission{})
			}
			seen := 0
			for e, err := range b.Store.Scan(b.ctx) {
				b.ok(err)
				seen++
				if seen <= 20 {
					b.ok(b.Store.Remove(b.ctx, e.ID))
					b.commit("new\n", queue.Submission{})
				}
				if seen == 25 {
					break
				}
			}
			if seen < 20 {
				b.Errorf("%d messages seen, want at least the 20 that were there", seen)
			}
		}},
		{"Scan ends with its context", func(b *bench) {
			b.commit("x\n", queue.Submission{})
			ctx, cancel := context.WithCancel(b.ctx)
			cancel()
			var last error
			for _, err := range b.Store.Scan(ctx) {
				last = err
			}
			b.fails(last, context.Canceled)
		}},
		{"a message can be committed held", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Held: true})
			b.stats(queue.Stats{Held: 1})
			b.idle(48 * time.Hour)
			b.ok(b.Store.Release(b.ctx, id))
			b.stats(queue.Stats{Fresh: 1})
			b.leaseOf(id)
		}},
		{"Hold keeps a message from being leased until Release", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			b.ok(b.Store.Hold(b.ctx, id))
			b.ok(b.Store.Hold(b.ctx, id))
			if !b.entry(id).Held {
				b.Error("not held")
			}
			b.idle(48 * time.Hour)
			b.ok(b.Store.Release(b.ctx, id))
			b.ok(b.Store.Release(b.ctx, id))
			b.leaseOf(id)
		}},
		{"a lease goes on when its message is held", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			l := b.leaseOf(id)
			b.ok(b.Store.Hold(b.ctx, id))
			b.ok(l.Checkpoint(b.ctx, []queue.Attempt{attempt(0, 1, queue.Pending)}))
			b.ok(l.Extend(ttl))
			b.stats(queue.Stats{Leased: 1})
			b.ok(l.Retry(b.ctx, nil, time.Time{}))
			b.stats(queue.Stats{Held: 1})
			b.idle(time.Hour)
			b.ok(b.Store.Release(b.ctx, id))
			b.ok(b.leaseOf(id).Done(b.ctx, nil))
		}},
		{"Retry makes a message and its pending recipients due", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Envelope: richEnvelope()})
			l := b.leaseOf(id)
			b.ok(l.Retry(b.ctx, []queue.Attempt{
				attempt(0, 1, queue.Pending), attempt(1, 1, queue.Delivered), attempt(2, 1, queue.Pending),
			}, time.Now().Add(time.Hour)))
			at := time.Now().Add(10 * time.Minute)
			b.ok(b.Store.Retry(b.ctx, id, at))
			b.idle(10*time.Minute - time.Second)
			l = b.tryLease(2 * time.Second)
			if l == nil || !l.Entry().Due.Equal(at) {
				b.Fatal("not due at the time given")
			}
			b.dues(l.Entry(), at, time.Time{}, at)
		}},
		{"Retry with the zero time means now", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Due: time.Now().Add(time.Hour)})
			b.ok(b.Store.Retry(b.ctx, id, time.Time{}))
			b.leaseOf(id)
		}},
		{"Retry of a leased message takes effect when the lease ends", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			at := time.Now().Add(10 * time.Minute)
			for _, end := range []func(queue.Lease) error{
				func(l queue.Lease) error {
					return l.Retry(b.ctx, []queue.Attempt{attempt(0, 1, queue.Pending)}, time.Now().Add(time.Hour))
				},
				func(l queue.Lease) error {
					b.ok(l.Checkpoint(b.ctx, []queue.Attempt{attempt(0, 2, queue.Pending)}))
					return l.Park("k", time.Now().Add(time.Hour))
				},
				func(l queue.Lease) error { time.Sleep(2 * ttl); return nil },
			} {
				l := b.leaseOf(id)
				b.ok(b.Store.Retry(b.ctx, id, at))
				b.idle(ttl / 2)
				b.ok(end(l))
				if e := b.entry(id); !e.Due.Equal(at) {
					b.Errorf("due %v, want %v", e.Due, at)
				}
				b.dues(b.entry(id), at)
				b.ok(b.Store.Retry(b.ctx, id, time.Time{}))
			}
		}},
		{"Retry of a held message takes effect when it is released", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Held: true, Due: time.Now().Add(2 * time.Hour)})
			b.ok(b.Store.Retry(b.ctx, id, time.Now().Add(time.Hour)))
			b.idle(0)
			b.ok(b.Store.Release(b.ctx, id))
			b.idle(time.Hour - time.Second)
			if b.tryLease(2*time.Second) == nil {
				b.Error("not due at the time given")
			}
		}},
		{"Retry does not release", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Held: true})
			b.ok(b.Store.Retry(b.ctx, id, time.Time{}))
			b.stats(queue.Stats{Held: 1})
			b.idle(time.Hour)
		}},
		{"Retry ends parking", func(b *bench) {
			id := b.parked("k", 1)[0]
			b.ok(b.Store.Retry(b.ctx, id, time.Time{}))
			b.wake("k", -1, 0)
			b.leaseOf(id)
		}},
		{"Stats puts each message in one place", func(b *bench) {
			b.stats(queue.Stats{})
			b.commit("leased\n", queue.Submission{})
			b.lease()
			b.parked("k", 1)
			b.commit("deferred\n", queue.Submission{})
			b.ok(b.lease().Retry(b.ctx, nil, time.Now().Add(time.Hour)))
			b.commit("due again\n", queue.Submission{})
			b.ok(b.lease().Retry(b.ctx, nil, time.Time{}))
			b.commit("later\n", queue.Submission{Due: time.Now().Add(time.Hour)})
			b.commit("held\n", queue.Submission{Held: true})
			b.commit("fresh\n", queue.Submission{})
			b.stats(queue.Stats{Fresh: 1, Deferred: 3, Parked: 1, Leased: 1, Held: 1})
			if n := b.Store.Stats().Bytes; n <= 0 {
				b.Errorf("Bytes = %d", n)
			}
		}},
	}
}

// dues checks the due times in the last attempt at each recipient.
func (b *bench) dues(e *queue.Entry, want ...time.Time) {
	b.Helper()
	got := make(map[int]time.Time)
	for _, a := range e.Journal {
		got[a.Recipient] = a.Due
	}
	for r, at := range want {
		if !got[r].Equal(at) {
			b.Errorf("recipient %d is due at %v, want %v", r, got[r], at)
		}
	}
}

func closeRules() []rule {
	return []rule{
		{"Close ends waiting calls", func(b *bench) {
			failed := make(chan error)
			for range 3 {
				go func() {
					_, err := b.Store.Lease(b.ctx, ttl)
					failed <- err
				}()
			}
			time.Sleep(time.Second)
			start := time.Now()
			b.ok(b.Store.Close())
			for range 3 {
				b.fails(<-failed, queue.ErrClosed)
			}
			b.atOnce(start)
		}},
		{"after Close every call fails", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			l, d := b.leaseOf(id), b.draft("y\n")
			b.ok(b.Store.Close())
			b.lostClosed(l)
			_, err := d.Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test")})
			b.fails(err, queue.ErrClosed)
			_, err = b.Store.Begin(b.ctx)
			b.fails(err, queue.ErrClosed)
			_, err = b.Store.Lease(b.ctx, ttl)
			b.fails(err, queue.ErrClosed)
			_, err = b.Store.Open(b.ctx, id)
			b.fails(err, queue.ErrClosed)
			b.fails(b.Store.Hold(b.ctx, id), queue.ErrClosed)
			b.fails(b.Store.Release(b.ctx, id), queue.ErrClosed)
			b.fails(b.Store.Retry(b.ctx, id, time.Time{}), queue.ErrClosed)
			b.fails(b.Store.Remove(b.ctx, id), queue.ErrClosed)
			for _, err = range b.Store.Scan(b.ctx) {
			}
			b.fails(err, queue.ErrClosed)
			b.ok(b.Store.Close())
		}},
	}
}

func (b *bench) lostClosed(l queue.Lease) {
	b.Helper()
	b.fails(l.Extend(ttl), queue.ErrLeaseLost)
	b.fails(l.Checkpoint(b.ctx, nil), queue.ErrLeaseLost)
	b.fails(l.Retry(b.ctx, nil, time.Time{}), queue.ErrLeaseLost)
	b.fails(l.Park("key", time.Now()), queue.ErrLeaseLost)
	b.fails(l.Done(b.ctx, nil), queue.ErrLeaseLost)
}
