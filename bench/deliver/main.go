// Deliver measures remote delivery: messages that are in the queue, on a store
// in a directory, go through the queue and delivery/remote to one SMTP server
// on the loopback that discards them; sender and sink share the cores.
//
//	deliver -n 100000 -size 4096 -concurrency 128
//	deliver -discard        without delivery/remote: store and queue alone
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/sink"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/queue"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 100_000, "messages")
	size := flag.Int("size", 4096, "octets of a message")
	concurrency := flag.Int("concurrency", 128, "attempts at a time")
	dir := flag.String("dir", "", "where the store is made")
	delay := flag.Duration("delay", 0, "what is added to every sync")
	discard := flag.Bool("discard", false, "nothing is sent")
	cpu := flag.String("cpuprofile", "", "write a CPU profile")
	alloc := flag.String("memprofile", "", "write a profile of the allocations")
	flag.Parse()
	d := &deliver{n: *n, concurrency: *concurrency, discard: *discard, cpu: *cpu, alloc: *alloc}
	if err := d.run(*dir, *size, *delay); err != nil {
		log.Fatal("deliver: ", err)
	}
}

type deliver struct {
	n, concurrency int
	discard        bool
	cpu, alloc     string
	sink           sink.Sink
	relay          sqmail.Relay
}

func (d *deliver) run(dir string, size int, delay time.Duration) error {
	dir, remove, err := spool.Temp(dir)
	if err != nil {
		return err
	}
	defer remove()
	store, err := spool.Open(dir+"/queue", delay)
	if err != nil {
		return err
	}
	defer store.Close()
	addr, err := d.sink.Listen()
	if err != nil {
		return err
	}
	defer d.sink.Close()
	d.relay = sqmail.Relay{Host: addr.IP.String(), Port: uint16(addr.Port)}

	body := load.Message(size)
	start := time.Now()
	if err := spool.Fill(store, d.n, body, func(i int) queue.Submission {
		return queue.Submission{Envelope: spool.Envelope("sender@client.test", fmt.Sprintf("u%d@sink.test", i))}
	}); err != nil {
		return err
	}
	fmt.Printf("queued   %8.0f msg/s\n", float64(d.n)/time.Since(start).Seconds())
	return d.drain(store)
}

// Route sends everything to the sink.
func (d *deliver) Route(_ context.Context, _ *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	return sqmail.Routing{
		Route:   sqmail.Route{Channel: sqmail.ChannelRemote, Destination: "sink.test", Relay: d.relay},
		Deliver: to, Display: to,
	}, nil
}

func (d *deliver) drain(store queue.Store) error {
	agent := &remote.Agent{HelloName: "mx.bench.test", MaxIdle: d.concurrency}
	defer agent.Close()
	q := &queue.Queue{Store: store, Router: d, Deliverer: agent, Concurrency: map[string]int{sqmail.ChannelRemote: d.concurrency}}
	if d.discard {
		q.Deliverer = queue.DelivererFunc(func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) {
			return []sqmail.Outcome{{Class: sqmail.Accepted}}, nil
		})
	}
	stop, err := meter.Profile(d.cpu, d.alloc)
	if err != nil {
		return err
	}
	before := meter.Now()
	ended := make(chan error, 1)
	go func() { ended <- q.Run(context.Background()) }()
	for left := 1; left > 0; {
		time.Sleep(10 * time.Millisecond)
		st := store.Stats()
		left = st.Fresh + st.Deferred + st.Parked + st.Leased
	}
	used, took := meter.Since(before)
	if err := stop(); err != nil {
		return err
	}
	n := float64(d.n)
	fmt.Printf("drained  %8.0f msg/s  CPU %.3f s/1000  %3.0f allocs/msg  %5.0f B/msg  %d received over %d connections\n",
		n/took.Seconds(), 1000*used.CPU.Seconds()/n, float64(used.Allocs)/n, float64(used.Bytes)/n, d.sink.Messages.Load(), d.sink.Connections.Load())
	if err := q.Shutdown(context.Background()); err != nil {
		return err
	}
	return <-ended
}
