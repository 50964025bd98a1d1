package queuetest

import (
	"time"

	"github.com/sqmail/sqmail/queue"
)

func durableRules() []rule {
	return []rule{
		{"a message survives with all it has", func(b *bench) {
			env, born, due := richEnvelope(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
			texts := []string{"", "small\n", big(100_000), big(600_000)}
			var ids []queue.ID
			for _, text := range texts {
				ids = append(ids, b.commit(text, queue.Submission{Envelope: env, Arrived: born, Due: due}))
			}
			b.reopen()
			for i, id := range ids {
				m, err := b.Store.Open(b.ctx, id)
				b.ok(err)
				b.same("envelope", m.Envelope, env)
				if !m.Arrived.Equal(born) || !m.Due.Equal(due) {
					b.Errorf("arrived %v, due %v, want %v, %v", m.Arrived, m.Due, born, due)
				}
				if b.text(m.Content, m.Size) != string(env.Header)+texts[i] {
					b.Errorf("content of message %v has changed", id)
				}
				b.ok(m.Close())
			}
			b.same("numbers", b.scan(), ids)
		}},
		{"numbers go on growing", func(b *bench) {
			var last queue.ID
			for range 5 {
				id := b.commit("x\n", queue.Submission{})
				if id <= last {
					b.Fatalf("message %v follows %v", id, last)
				}
				last = id
				b.ok(b.lease().Done(b.ctx, nil))
				b.reopen()
			}
		}},
		{"the journal and the due time survive", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Envelope: richEnvelope()})
			at := time.Now().Add(time.Hour)
			want := []queue.Attempt{attempt(0, 1, queue.Delivered), attempt(2, 1, queue.Pending)}
			b.ok(b.leaseOf(id).Retry(b.ctx, want, at))
			b.reopen()
			e := b.entry(id)
			b.same("journal", e.Journal, want)
			if !e.Due.Equal(at) {
				b.Errorf("due %v, want %v", e.Due, at)
			}
			b.stats(queue.Stats{Deferred: 1})
			b.idle(time.Hour - time.Second)
		}},
		{"a lease is forgotten, its checkpoints are not", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Envelope: richEnvelope()})
			want := []queue.Attempt{attempt(0, 1, queue.Delivered)}
			b.ok(b.leaseOf(id).Checkpoint(b.ctx, want))
			b.reopen()
			b.same("journal", b.leaseOf(id).Entry().Journal, want)
		}},
		{"what is done or removed stays away", func(b *bench) {
			b.commit("done\n", queue.Submission{})
			b.ok(b.lease().Done(b.ctx, nil))
			b.ok(b.Store.Remove(b.ctx, b.commit("removed\n", queue.Submission{})))
			old := b.commit("replaced\n", queue.Submission{})
			bounce := b.commit("bounce\n", queue.Submission{Replaces: old})
			b.reopen()
			b.same("numbers", b.scan(), []queue.ID{bounce})
			b.reopen()
			b.ok(b.leaseOf(bounce).Done(b.ctx, nil))
			b.reopen()
			b.same("numbers", b.scan(), nilIDs())
		}},
		{"Hold and Release survive", func(b *bench) {
			held, free := b.commit("x\n", queue.Submission{Held: true}), b.commit("x\n", queue.Submission{})
			b.reopen()
			b.ok(b.Store.Hold(b.ctx, free))
			b.ok(b.Store.Release(b.ctx, held))
			b.reopen()
			b.stats(queue.Stats{Fresh: 1, Held: 1})
			b.leaseOf(held)
			b.idle(0)
		}},
		{"parking is forgotten", func(b *bench) {
			id := b.parked("k", 1)[0]
			b.reopen()
			b.leaseOf(id)
		}},
		{"what was attempted is not new", func(b *bench) {
			b.crowd(20)
			id := b.commit("new\n", queue.Submission{})
			b.reopen()
			b.stats(queue.Stats{Fresh: 1, Deferred: 20})
			b.soon(id)
		}},
		{"Retry survives for a message that waits", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			b.ok(b.leaseOf(id).Retry(b.ctx, []queue.Attempt{attempt(0, 1, queue.Pending)}, time.Now().Add(time.Hour)))
			b.ok(b.Store.Retry(b.ctx, id, time.Time{}))
			b.reopen()
			b.leaseOf(id)
		}},
		{"drafts do not survive", func(b *bench) {
			b.draft("x\n")
			b.draft(big(600_000))
			b.reopen()
			b.same("numbers", b.scan(), nilIDs())
		}},
	}
}

func nilIDs() []queue.ID { return nil }
