package queuetest

import (
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// parked commits n messages and parks them under key for a day.
func (b *bench) parked(key string, n int) []queue.ID {
	b.Helper()
	var ids []queue.ID
	for range n {
		id := b.commit("x\n", queue.Submission{})
		b.ok(b.leaseOf(id).Park(key, time.Now().Add(24*time.Hour)))
		ids = append(ids, id)
		time.Sleep(time.Second)
	}
	return ids
}

func (b *bench) wake(key string, n, want int) {
	b.Helper()
	if got := b.Store.Wake(key, n); got != want {
		b.Errorf("Wake(%q, %d) = %d, want %d", key, n, got, want)
	}
}

func parkRules() []rule {
	return []rule{
		{"a parked message waits for Wake with its key", func(b *bench) {
			id := b.parked("example.net", 1)[0]
			if e := b.entry(id); e.Parked != "example.net" || e.Leased {
				b.Errorf("parked under %q, leased %v", e.Parked, e.Leased)
			}
			b.stats(queue.Stats{Parked: 1})
			b.wake("example.org", -1, 0)
			b.idle(time.Hour)
			b.wake("example.net", 1, 1)
			if e := b.entry(id); e.Due.After(time.Now()) || e.Parked != "" {
				b.Errorf("due %v, parked under %q, want now and under none", e.Due, e.Parked)
			}
			b.leaseOf(id)
			b.wake("example.net", 1, 0)
		}},
		{"Wake wakes a waiting Lease", func(b *bench) {
			id := b.parked("k", 1)[0]
			got := make(chan queue.ID)
			go func() {
				if l, err := b.Store.Lease(b.ctx, ttl); err == nil {
					got <- l.Entry().ID
				}
			}()
			synctest.Wait()
			start := time.Now()
			b.wake("k", 1, 1)
			if leased := <-got; leased != id {
				b.Errorf("leased %v, want %v", leased, id)
			}
			b.atOnce(start)
		}},
		{"a parked message is due at the time given", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			b.ok(b.leaseOf(id).Park("k", time.Now().Add(time.Hour)))
			b.idle(time.Hour - time.Second)
			if b.tryLease(2*time.Second) == nil {
				b.Error("not leased when its time had come")
			}
			b.wake("k", -1, 0)
		}},
		{"the longest parked is woken first", func(b *bench) {
			ids := b.parked("k", 5)
			b.wake("k", 2, 2)
			b.leaseOf(ids[0])
			b.leaseOf(ids[1])
			b.idle(0)
			b.wake("k", -1, 3)
			for _, id := range ids[2:] {
				b.leaseOf(id)
			}
			b.stats(queue.Stats{Leased: 5})
		}},
		{"the order of Wake is that of Park, not that of arrival or of due times", func(b *bench) {
			first, second := b.commit("x\n", queue.Submission{}), b.commit("x\n", queue.Submission{})
			l, other := b.leaseOf(first), b.leaseOf(second)
			b.ok(other.Park("k", time.Now().Add(2*time.Hour)))
			time.Sleep(time.Second)
			b.ok(l.Park("k", time.Now().Add(time.Hour)))
			b.wake("k", 1, 1)
			b.leaseOf(second)
			b.idle(0)
		}},
		{"keys are kept apart", func(b *bench) {
			a, c := b.parked("a", 3), b.parked("c", 3)
			b.wake("c", 1, 1)
			b.leaseOf(c[0])
			b.wake("a", -1, 3)
			for _, id := range a {
				b.leaseOf(id)
			}
			b.wake("c", 10, 2)
			b.stats(queue.Stats{Leased: 4, Deferred: 2})
		}},
		{"a woken message does not wait for a crowd that is due", func(b *bench) {
			id := b.parked("k", 1)[0]
			b.crowd(100)
			time.Sleep(time.Second) // all of them are due before it
			b.wake("k", 1, 1)
			b.soon(id)
		}},
		{"Park ends the lease", func(b *bench) {
			l := b.leaseOf(b.commit("x\n", queue.Submission{}))
			b.ok(l.Park("k", time.Now().Add(time.Hour)))
			b.lost(l)
			b.stats(queue.Stats{Parked: 1})
		}},
		{"Hold ends parking", func(b *bench) {
			id := b.parked("k", 1)[0]
			b.ok(b.Store.Hold(b.ctx, id))
			b.stats(queue.Stats{Held: 1})
			b.wake("k", -1, 0)
			b.idle(48 * time.Hour)
			b.ok(b.Store.Release(b.ctx, id))
			b.leaseOf(id)
		}},
		{"a message that is held while leased is not parked", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			l := b.leaseOf(id)
			b.ok(b.Store.Hold(b.ctx, id))
			b.ok(l.Park("k", time.Now().Add(time.Hour)))
			b.stats(queue.Stats{Held: 1})
			b.wake("k", -1, 0)
		}},
		{"Remove ends parking", func(b *bench) {
			ids := b.parked("k", 3)
			b.ok(b.Store.Remove(b.ctx, ids[1]))
			b.wake("k", -1, 2)
			b.leaseOf(ids[0])
			b.leaseOf(ids[2])
		}},
	}
}
