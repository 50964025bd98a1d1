package queuetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/sqmail/sqmail/queue"
)

func journalRules() []rule {
	return []rule{
		{"attempts are in the journal, in order, as they were given", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Envelope: richEnvelope()})
			l := b.leaseOf(id)
			want := []queue.Attempt{attempt(0, 1, queue.Delivered), attempt(2, 1, queue.Pending)}
			b.ok(l.Checkpoint(b.ctx, want[:1]))
			b.ok(l.Checkpoint(b.ctx, want[1:]))
			b.same("journal of the leased message", b.entry(id).Journal, want)
			want = append(want, attempt(1, 1, queue.Failed), attempt(2, 2, queue.Removed))
			b.ok(l.Retry(b.ctx, want[2:], time.Time{}))
			l = b.leaseOf(id)
			b.same("journal at the next lease", l.Entry().Journal, want)
		}},
		{"a message may come with its journal, and then goes on from there", func(b *bench) {
			past := []queue.Attempt{attempt(0, 1, queue.Delivered), attempt(1, 3, queue.Pending)}
			id := b.commit(big(3000), queue.Submission{Envelope: richEnvelope(), Journal: past})
			b.same("journal", b.entry(id).Journal, past)
			l := b.leaseOf(id)
			more := attempt(1, 4, queue.Failed)
			b.ok(l.Retry(b.ctx, []queue.Attempt{more}, time.Time{}))
			b.same("journal after another attempt", b.entry(id).Journal, append(past, more))
		}},
		{"a journal with a recipient that is not there is an error", func(b *bench) {
			for _, r := range []int{-1, 1} {
				s := queue.Submission{Envelope: envelope("a@b.test"), Journal: []queue.Attempt{attempt(r, 1, queue.Delivered)}}
				if _, err := b.draft("x\n").Commit(b.ctx, s); err == nil {
					b.Errorf("recipient %d: no error", r)
				}
			}
			if n := b.Store.Stats(); n.Fresh+n.Deferred+n.Held > 0 {
				b.Errorf("the message was kept: %+v", n)
			}
		}},
		{"the Entry of a lease does not change under its holder", func(b *bench) {
			l := b.leaseOf(b.commit("x\n", queue.Submission{}))
			b.ok(l.Checkpoint(b.ctx, []queue.Attempt{attempt(0, 1, queue.Pending)}))
			if n := len(l.Entry().Journal); n != 0 {
				b.Errorf("%d attempts in the journal, want those at the time of the lease: none", n)
			}
		}},
		{"an attempt at a recipient that is not there is an error", func(b *bench) {
			id := b.commit("x\n", queue.Submission{})
			l := b.leaseOf(id)
			for _, r := range []int{-1, 1} {
				if l.Checkpoint(b.ctx, []queue.Attempt{attempt(r, 1, queue.Delivered)}) == nil {
					b.Errorf("recipient %d: no error", r)
				}
			}
			b.ok(l.Checkpoint(b.ctx, []queue.Attempt{attempt(0, 1, queue.Pending)}))
			if l.Done(b.ctx, []queue.Attempt{attempt(7, 1, queue.Delivered)}) == nil {
				b.Error("Done: no error")
			}
			b.fails(l.Extend(ttl), queue.ErrLeaseLost)
			b.leaseOf(id)
		}},
		{"the first and the last eight deferrals of a recipient are kept, and every end", func(b *bench) {
			id := b.commit("x\n", queue.Submission{Envelope: richEnvelope()})
			var all []queue.Attempt
			for n := 1; n <= 40; n++ {
				l := b.leaseOf(id)
				now := []queue.Attempt{attempt(0, n, queue.Pending), attempt(2, n, queue.Pending)}
				if n == 20 {
					now[1].Status, now[1].Due = queue.Delivered, time.Time{}
				} else if n > 20 {
					now = now[:1]
				}
				all = append(all, now...)
				b.ok(l.Checkpoint(b.ctx, now[:1]))
				b.ok(l.Retry(b.ctx, now[1:], time.Time{}))
				time.Sleep(time.Second)
			}
			b.keeps(all, b.entry(id).Journal)
		}},
		{"many recipients have a journal each", func(b *bench) {
			env := envelope()
			for i := range 300 {
				env.Recipients = append(env.Recipients, envelope(fmt.Sprintf("r%d@example.net", i)).Recipients...)
			}
			id := b.commit("x\n", queue.Submission{Envelope: env})
			var want []queue.Attempt
			l := b.leaseOf(id)
			for i := range 300 {
				a := attempt(i, 1, queue.Status(i%3))
				want = append(want, a)
				b.ok(l.Checkpoint(b.ctx, []queue.Attempt{a}))
			}
			b.ok(l.Retry(b.ctx, nil, time.Time{}))
			b.same("journal", b.leaseOf(id).Entry().Journal, want)
		}},
	}
}

// keeps checks that got is what all may be reduced to.
func (b *bench) keeps(all, got []queue.Attempt) {
	b.Helper()
	text := func(a queue.Attempt) string { return string(plain([]queue.Attempt{a})) }
	have := make(map[string]bool)
	for _, a := range got {
		have[text(a)] = true
	}
	later := make(map[int]int) // deferrals of a recipient after this one
	for i, a := range slices.Backward(all) {
		first := !slices.ContainsFunc(all[:i], func(o queue.Attempt) bool { return o.Recipient == a.Recipient })
		if must := a.Status != queue.Pending || first || later[a.Recipient] < 8; must && !have[text(a)] {
			b.Errorf("attempt %d at recipient %d is missing", a.Number, a.Recipient)
		}
		if a.Status == queue.Pending {
			later[a.Recipient]++
		}
	}
	if len(got) > len(all) || !slices.IsSortedFunc(got, func(x, y queue.Attempt) int { return x.At.Compare(y.At) }) {
		b.Errorf("journal of %d attempts, out of order or too long", len(got))
	}
}
