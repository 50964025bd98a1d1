// Large sends one very large message through smtpd.Server, queue, store and
// delivery/remote to a sink on the same host, and looks at the resident memory
// of the process, client and sink included.
//
//	large -size 1073741824
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/sink"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	log.SetFlags(0)
	size := flag.Int64("size", 1<<30, "octets of the message")
	dir := flag.String("dir", "", "where the store is made")
	flag.Parse()
	if err := run(*dir, *size); err != nil {
		log.Fatal("large: ", err)
	}
}

func run(dir string, size int64) error {
	dir, remove, err := spool.Temp(dir)
	if err != nil {
		return err
	}
	defer remove()
	store, err := spool.Open(dir+"/queue", 0)
	if err != nil {
		return err
	}
	defer store.Close()
	took := make(chan struct{}, 1)
	end := &sink.Sink{Took: func() { took <- struct{}{} }}
	to, err := end.Listen()
	if err != nil {
		return err
	}
	defer end.Close()
	agent := &remote.Agent{HelloName: "mx.bench.test"}
	defer agent.Close()
	q := &queue.Queue{Store: store, Router: router{Host: to.IP.String(), Port: uint16(to.Port)}, Deliverer: agent}
	go q.Run(context.Background())
	defer q.Shutdown(context.Background())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &smtpd.Server{HelloName: "mx.bench.test", Receiver: q, Policy: smtpd.AcceptAll, MaxMessageBytes: -1}
	go server.Serve(ln)
	defer server.Close()
	return measure(ln.Addr().String(), size, took)
}

// router sends everything to one host.
type router sqmail.Relay

func (r router) Route(_ context.Context, _ *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	return sqmail.Routing{
		Route:   sqmail.Route{Channel: sqmail.ChannelRemote, Destination: r.Host, Relay: sqmail.Relay(r)},
		Deliver: to, Display: to,
	}, nil
}

// measure sends some small messages first: what every process needs is not
// the large one's.
func measure(addr string, size int64, took <-chan struct{}) error {
	c, err := load.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for range 100 {
		if err := send(c, 4096); err != nil {
			return err
		}
		<-took
	}
	debug.FreeOSMemory()
	if err := meter.ResetPeak(); err != nil {
		return err
	}
	before := meter.Resident()
	start := time.Now()
	if err := send(c, size); err != nil {
		return err
	}
	accepted := time.Since(start)
	<-took
	fmt.Printf("%.0f MiB: accepted in %v, delivered after %v, resident memory %.1f MiB before, %+.1f MiB at most\n", mib(size),
		accepted.Round(time.Millisecond), time.Since(start).Round(time.Millisecond), mib(before), mib(meter.Peak()-before))
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func send(c *load.Client, size int64) error {
	if err := c.Begin(load.Envelope("sender@client.test", "user@bench.test")); err != nil {
		return err
	}
	piece := []byte(strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 32<<10/72))
	for left := size; left > 0; left -= int64(len(piece)) {
		if _, err := c.Write(piece); err != nil {
			return err
		}
	}
	if _, err := c.Write([]byte(".\r\n")); err != nil {
		return err
	}
	return c.End()
}
