package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/queue"
)

// receive gives a piece of the load to the queue, from many goroutines.
func (s *soak) receive(q *queue.Queue) error {
	body, large := load.Message(s.size), load.Message(300<<10)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range s.writers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < s.every && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				text := body
				if i%10_000 == 7 {
					text = large
				}
				if _, err := q.Receive(ctx, s.envelope(i), bytes.NewReader(text)); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// envelope is that of the i-th message of a piece. What waits a second for its
// second attempt comes in the first half, so that nobody waits for it.
func (s *soak) envelope(i int) *sqmail.Envelope {
	local, notify := "user", sqmail.Notify(0)
	switch {
	case i%1000 == 1 && i < s.every/2:
		local = "grey"
	case i%5000 == 2:
		local = "none"
	case i%2000 == 3:
		notify = sqmail.NotifySuccess
	}
	return &sqmail.Envelope{
		ReversePath: sqmail.Path{Local: fmt.Sprintf("sender%d", i%1000), Domain: "client.test"},
		Recipients:  []sqmail.Recipient{{Path: sqmail.Path{Local: local, Domain: fmt.Sprintf("d%d.bench.test", i%20_000)}, Notify: notify}},
	}
}
