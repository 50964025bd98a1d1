package queuetest

import (
	"context"
	"io"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

func draftRules() []rule {
	return []rule{
		{"a committed message is leased with content and envelope", func(b *bench) {
			env, born := richEnvelope(), time.Now().Add(-time.Hour)
			id := b.commit("Subject: x\n\nbody\n", queue.Submission{Envelope: env, Arrived: born})
			l := b.leaseOf(id)
			e := l.Entry()
			b.same("envelope", e.Envelope, env)
			if !e.Arrived.Equal(born) {
				b.Errorf("arrived %v, want %v", e.Arrived, born)
			}
			if got, want := b.text(l.Content(), e.Size), string(env.Header)+"Subject: x\n\nbody\n"; got != want {
				b.Errorf("content %q, want %q", got, want)
			}
		}},
		{"Arrived zero means now", func(b *bench) {
			now := time.Now()
			if e := b.entry(b.commit("x\n", queue.Submission{})); !e.Arrived.Equal(now) || e.Due.After(now) {
				b.Errorf("arrived %v, due %v, want %v", e.Arrived, e.Due, now)
			}
		}},
		{"the store copies the envelope, and forgets the peer", func(b *bench) {
			env := envelope("ann@example.net")
			env.Header, env.Peer = []byte("A: b\n"), &sqmail.Peer{Session: "1"}
			id := b.commit("", queue.Submission{Envelope: env})
			env.Header[0] = 'Z'
			env.Recipients[0].Path = sqmail.PathOf("eve@example.net")
			e := b.entry(id)
			if string(e.Envelope.Header) != "A: b\n" || e.Envelope.Recipients[0].Path.Local != "ann" || e.Envelope.Peer != nil {
				b.Errorf("envelope changed with the caller's: %+v", e.Envelope)
			}
		}},
		{"the store copies the octets, the verdicts and the journal", func(b *bench) {
			env, past := richEnvelope(), []queue.Attempt{attempt(0, 1, queue.Delivered)}
			env.Header = nil
			d, text := b.draft(""), []byte("written\n")
			_, err := d.Write(text)
			b.ok(err)
			text[0] = 'Z'
			id, err := d.Commit(b.ctx, queue.Submission{Envelope: env, Journal: past})
			b.ok(err)
			env.Verdicts[0].Rule, past[0].Number = "changed", 99
			l := b.leaseOf(id)
			e := l.Entry()
			if e.Envelope.Verdicts[0].Rule != "rule" || e.Journal[0].Number != 1 || b.text(l.Content(), e.Size) != "written\n" {
				b.Errorf("the message changed with what the caller had given: %+v", e)
			}
		}},
		{"content can be read anywhere, across the end of the header fields", func(b *bench) {
			env := envelope("ann@example.net")
			env.Header = []byte("Received: x\n")
			for _, n := range []int{0, 1, 5000, 300_000, 1_500_000} {
				text := big(n)
				if n == 0 {
					text = ""
				}
				b.commit(text, queue.Submission{Envelope: env})
				l := b.lease()
				b.readAnywhere(l, string(env.Header)+text)
				b.ok(l.Done(b.ctx, nil))
			}
		}},
		{"many small writes make one message", func(b *bench) {
			d, err := b.Store.Begin(b.ctx)
			b.ok(err)
			text := big(400_000)
			for rest := text; rest != ""; {
				n := min(len(rest), 777)
				_, err := io.WriteString(d, rest[:n])
				b.ok(err)
				rest = rest[n:]
			}
			_, err = d.Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test")})
			b.ok(err)
			l := b.lease()
			if b.text(l.Content(), l.Entry().Size) != text {
				b.Error("the message is not what was written")
			}
		}},
		{"numbers grow", func(b *bench) {
			var last queue.ID
			for range 20 {
				id := b.commit("x\n", queue.Submission{})
				if id <= last {
					b.Fatalf("message %v follows %v", id, last)
				}
				last = id
				b.ok(b.lease().Done(b.ctx, nil))
			}
		}},
		{"Commit without a recipient is a rejection", func(b *bench) {
			d := b.draft("x\n")
			_, err := d.Commit(b.ctx, queue.Submission{Envelope: envelope()})
			if sqmail.ClassOf(err) != sqmail.Rejection {
				b.Errorf("got %v, want a rejection", err)
			}
			if _, err := d.Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test")}); err == nil {
				b.Error("the draft was not finished by the Commit that failed")
			}
			b.idle(0)
		}},
		{"a draft is aborted when its context ends", func(b *bench) {
			ctx, cancel := context.WithCancel(b.ctx)
			d, err := b.Store.Begin(ctx)
			b.ok(err)
			cancel()
			synctest.Wait()
			if _, err := d.Write([]byte("x\n")); err == nil {
				b.Error("Write: no error")
			}
			if _, err := d.Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test")}); err == nil {
				b.Error("Commit: no error")
			}
			b.idle(0)
		}},
		{"Commit and Begin fail when their context has ended", func(b *bench) {
			ctx, cancel := context.WithCancel(b.ctx)
			cancel()
			_, err := b.draft("x\n").Commit(ctx, queue.Submission{Envelope: envelope("a@b.test")})
			b.fails(err, context.Canceled)
			_, err = b.Store.Begin(ctx)
			b.fails(err, context.Canceled)
			b.stats(queue.Stats{})
		}},
		{"Abort drops the draft", func(b *bench) {
			d := b.draft(big(300_000))
			d.Abort()
			d.Abort()
			if _, err := d.Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test")}); err == nil {
				b.Error("Commit after Abort: no error")
			}
			b.stats(queue.Stats{})
		}},
		{"a draft is finished by Commit, and Abort does nothing after it", func(b *bench) {
			d := b.draft("x\n")
			id, err := d.Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test")})
			b.ok(err)
			d.Abort()
			if _, err := d.Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test")}); err == nil {
				b.Error("second Commit: no error")
			}
			if _, err := d.Write([]byte("y\n")); err == nil {
				b.Error("Write after Commit: no error")
			}
			b.ok(b.leaseOf(id).Done(b.ctx, nil))
			b.idle(time.Hour)
		}},
		{"Replaces removes the other message in the same step", func(b *bench) {
			old := b.commit("old\n", queue.Submission{})
			l := b.leaseOf(old)
			bounce := b.commit("new\n", queue.Submission{Replaces: old})
			b.gone(old)
			b.fails(l.Done(b.ctx, nil), queue.ErrLeaseLost)
			b.leaseOf(bounce)
			b.stats(queue.Stats{Leased: 1})
		}},
		{"Replaces fails when the other message is gone, and keeps nothing", func(b *bench) {
			old := b.commit("old\n", queue.Submission{})
			b.ok(b.Store.Remove(b.ctx, old))
			_, err := b.draft("new\n").Commit(b.ctx, queue.Submission{Envelope: envelope("a@b.test"), Replaces: old})
			b.fails(err, queue.ErrNotFound)
			b.stats(queue.Stats{})
		}},
	}
}

// readAnywhere reads pieces of all sizes from all over the message.
func (b *bench) readAnywhere(l queue.Lease, want string) {
	b.Helper()
	if l.Entry().Size != int64(len(want)) {
		b.Fatalf("Size %d, want %d", l.Entry().Size, len(want))
	}
	for _, off := range []int{0, 1, 11, 12, 13, 4095, 65_536, 262_143, len(want) - 1, len(want)} {
		for _, n := range []int{1, 3, 20, 70_000} {
			if off < 0 || off > len(want) {
				continue
			}
			p := make([]byte, n)
			got, err := l.Content().ReadAt(p, int64(off))
			end := min(off+n, len(want))
			if string(p[:got]) != want[off:end] || got < n && err != io.EOF || got == n && err != nil && err != io.EOF {
				b.Fatalf("ReadAt(%d octets, %d) = %d, %v", n, off, got, err)
			}
		}
	}
}
