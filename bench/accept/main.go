// Accept measures how fast smtpd.Server accepts messages: with a Receiver that
// discards them, with a queue on a store in a directory, and beside them what
// the disk could do for messages of that size. The client is in the same
// process, on the same cores, unless -apart puts it in one of its own.
//
//	accept -size 4096 -c 128 -time 3s
//	accept -c 1                        one connection: the time of a sync counts
//	accept -new                        a connection for each message
//	accept -delay 5ms                  a disk whose syncs take 5 ms longer
//	accept -addr 127.0.0.1:25          somebody else's server
//	accept -apart -size 1024           the CPU time of the server alone
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/disk"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/smtpd"
)

// bench is what the flags say.
type bench struct {
	load       load.Load
	dir        string
	delay      time.Duration
	apart      bool
	run        bool
	cpu, alloc string
}

func main() {
	log.SetFlags(0)
	var b bench
	flag.IntVar(&b.load.Size, "size", 4096, "octets of a message")
	flag.IntVar(&b.load.Connections, "c", 128, "connections")
	flag.BoolVar(&b.load.New, "new", false, "a new connection for each message")
	flag.DurationVar(&b.load.Time, "time", 3*time.Second, "how long each measurement takes")
	flag.StringVar(&b.load.Addr, "addr", "", "measure the server at this address")
	flag.StringVar(&b.load.To, "rcpt", "user@bench.test", "the recipient")
	flag.StringVar(&b.dir, "dir", "", "where the store is made: a directory on the disk in question")
	flag.DurationVar(&b.delay, "delay", 0, "what is added to every sync")
	flag.BoolVar(&b.apart, "apart", false, "the client is a process of its own")
	flag.BoolVar(&b.run, "run", false, "the queue runs, and what it delivers is discarded")
	flag.StringVar(&b.cpu, "cpuprofile", "", "write a CPU profile of the last measurement")
	flag.StringVar(&b.alloc, "memprofile", "", "write a profile of the allocations")
	what := flag.String("to", "raw,discard,queue", "what to measure, with commas")
	client := flag.Bool("client", false, "be the client: print the result as JSON")
	flag.Parse()

	if *client {
		printResult(b.load.Run())
		return
	}
	if err := b.measure(strings.Split(*what, ",")); err != nil {
		log.Fatal("accept: ", err)
	}
}

func (b *bench) measure(what []string) error {
	dir, remove, err := spool.Temp(b.dir)
	if err != nil {
		return err
	}
	defer remove()
	b.dir = dir
	if b.load.Addr != "" {
		return b.send(b.load.Addr)
	}
	for _, to := range what {
		switch to {
		case "raw":
			err = b.raw()
		case "discard":
			err = b.serve(to, sqmail.ReceiverFunc(load.Discard))
		case "queue":
			err = b.queue()
		default:
			err = fmt.Errorf("unknown: %q", to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// raw measures the disk.
func (b *bench) raw() error {
	took, err := disk.Sync(b.dir, b.load.Size)
	if err != nil {
		return err
	}
	ceiling, err := disk.Ceiling(b.dir, b.load.Size, b.load.Connections, b.load.Time/2)
	fmt.Printf("%-8s %8.0f msg/s  write and fdatasync of one: %v\n", "raw", ceiling, took.Round(time.Microsecond))
	return err
}

// queue measures the server with a queue behind it.
func (b *bench) queue() error {
	store, err := spool.Open(b.dir+"/queue", b.delay)
	if err != nil {
		return err
	}
	defer store.Close()
	q := &queue.Queue{
		Store:       store,
		Concurrency: map[string]int{"remote": 128},
		Deliverer: queue.DelivererFunc(func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) {
			return []sqmail.Outcome{{Class: sqmail.Accepted}}, nil
		}),
	}
	if b.run {
		go q.Run(context.Background())
		defer q.Shutdown(context.Background())
	}
	return b.serve("queue", q)
}

// serve measures a server with this receiver.
func (b *bench) serve(name string, to sqmail.Receiver) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &smtpd.Server{HelloName: "mx.bench.test", Receiver: to, Policy: smtpd.AcceptAll, MaxMessageBytes: -1}
	go server.Serve(ln)
	defer server.Close()
	fmt.Printf("%-8s ", name)
	return b.send(ln.Addr().String())
}

// send sends the load and prints what came of it.
func (b *bench) send(addr string) error {
	l := b.load
	l.Addr = addr
	stop, err := meter.Profile(b.cpu, b.alloc)
	if err != nil {
		return err
	}
	before := meter.Now()
	var r load.Result
	if b.apart {
		r, err = sendApart(l)
	} else {
		r = l.Run()
	}
	used, _ := meter.Since(before)
	if err := stop(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	n := float64(max(r.Accepted, 1))
	fmt.Printf("%8.0f msg/s  p50 %6.2f ms  p99 %6.2f ms  CPU %.3f s/1000  %3.0f allocs/msg  %5.0f B/msg\n",
		r.Rate(), ms(r.Quantile(0.5)), ms(r.Quantile(0.99)), 1000*used.CPU.Seconds()/n, float64(used.Allocs)/n, float64(used.Bytes)/n)
	if r.Failed > 0 {
		fmt.Fprintf(os.Stderr, "%d connections failed, first: %v\n", r.Failed, r.Err)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
