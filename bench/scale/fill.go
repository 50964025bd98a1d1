package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

const filledMark = "filled"

// busy is the answer of every destination.
var busy = sqmail.Outcome{
	Class: sqmail.Deferral, Where: "mx.far.test [192.0.2.1]", Text: "192.0.2.1 failed after I sent the message.\nRemote host said: 451 4.7.1 try again later\n",
	Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "try again later"},
}

// fill fills a store with messages that have been tried once, says so, and
// waits to be killed.
func fill(path string, n, size int) error {
	store, err := segstore.Open(path, nil)
	if err != nil {
		return err
	}
	q := newQueue(store, func(*sqmail.Message) sqmail.Outcome { return busy })
	ended := make(chan error, 1)
	go func() { ended <- q.Run(context.Background()) }()
	body := load.Message(size)
	start := time.Now()
	if err := spool.Fill(store, n, body, func(i int) queue.Submission {
		return queue.Submission{Envelope: spool.Envelope("sender@client.test", fmt.Sprintf("user%d@far%d.test", i, i%1000))}
	}); err != nil {
		return err
	}
	for store.Stats().Deferred < n {
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Printf("%d messages taken and tried once in %v\n%s\n", n, time.Since(start).Round(time.Second), filledMark)
	return <-ended
}

// newQueue returns a queue whose deferred messages wait until tomorrow.
func newQueue(store queue.Store, deliver func(*sqmail.Message) sqmail.Outcome) *queue.Queue {
	return &queue.Queue{
		Store:       store,
		Concurrency: map[string]int{sqmail.ChannelRemote: 256},
		Limits:      func(string, string) queue.Limits { return queue.Limits{SlowStart: -1} },
		Schedule: queue.ScheduleFunc(func(_ string, _, started time.Time, _ int) time.Time {
			return started.Add(24 * time.Hour)
		}),
		Deliverer: queue.DelivererFunc(func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			return []sqmail.Outcome{deliver(m)}, nil
		}),
	}
}

// due measures how late attempts are: at new messages, at some that an
// administrator calls, and at some whose time comes.
func due(store *segstore.Store) error {
	attempts := make(chan time.Time, 1)
	q := newQueue(store, func(*sqmail.Message) sqmail.Outcome {
		attempts <- time.Now()
		return busy
	})
	ended := make(chan error, 1)
	go func() { ended <- q.Run(context.Background()) }()
	var ids []queue.ID
	for e, err := range store.Scan(context.Background()) {
		if ids = append(ids, e.ID); err != nil || len(ids) == rounds {
			break
		}
	}
	body := load.Message(4096)
	env := spool.Envelope("sender@client.test", "user@near.test")
	err := errors.Join(
		late("a new message", attempts, func(int) (time.Time, error) {
			return time.Now(), spool.Fill(store, 1, body, func(int) queue.Submission { return queue.Submission{Envelope: env} })
		}),
		late("a message that is called", attempts, func(i int) (time.Time, error) {
			return time.Now(), store.Retry(context.Background(), ids[i], time.Time{})
		}),
		late("a message whose time comes", attempts, func(i int) (time.Time, error) {
			at := time.Now().Add(100 * time.Millisecond)
			return at, store.Retry(context.Background(), ids[i], at)
		}))
	return errors.Join(err, q.Shutdown(context.Background()), <-ended)
}

const rounds = 50

// late lets messages become due, one after the other.
func late(what string, attempts <-chan time.Time, call func(i int) (time.Time, error)) error {
	var times []time.Duration
	for i := range rounds {
		at, err := call(i)
		if err != nil {
			return err
		}
		times = append(times, (<-attempts).Sub(at))
	}
	slices.Sort(times)
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	fmt.Printf("%s is attempted after %v (median), %v (most)\n", what, round(times[rounds/2]), round(times[rounds-1]))
	return nil
}
