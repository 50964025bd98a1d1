// Isolation measures how long a message for a good destination takes from its
// 250 to its delivery while the queue is full of mail for a destination that
// answers, but very slowly, and for others that do not answer at all. Time,
// store and network are real.
//
// The good destination has had mail before. Then every message goes to
// another one, which nothing is known of; nor is anything of the dead ones.
//
//	isolation -tarpit 100000 -dead 1000
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/sink"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	log.SetFlags(0)
	var b bench
	flag.IntVar(&b.tarpitted, "tarpit", 100_000, "messages for the slow destination")
	flag.IntVar(&b.dead, "dead", 1000, "messages for dead destinations, one for each")
	flag.DurationVar(&b.tarpit.Delay, "delay", 5*time.Second, "how long the slow destination holds each of its replies back")
	flag.IntVar(&b.concurrency, "concurrency", 20, "attempts at a time")
	flag.BoolVar(&b.unknown, "unknown", true, "send to destinations that had no mail before, too")
	flag.IntVar(&b.rounds, "n", 100, "good messages of each kind")
	dir := flag.String("dir", "", "where the store is made")
	flag.Parse()
	if err := b.run(*dir); err != nil {
		log.Fatal("isolation: ", err)
	}
}

type bench struct {
	tarpitted, dead, concurrency, rounds int
	unknown                              bool

	tarpit, good sink.Sink
	arrived      chan time.Time
	routes       map[string]sqmail.Relay // by the first letter of a domain
}

func (b *bench) run(dir string) error {
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
	b.arrived = make(chan time.Time, 1)
	b.good.Took = func() { b.arrived <- time.Now() }
	b.routes = map[string]sqmail.Relay{"d": {Host: "192.0.2.1"}}
	for name, s := range map[string]*sink.Sink{"t": &b.tarpit, "g": &b.good} {
		addr, err := s.Listen()
		if err != nil {
			return err
		}
		defer s.Close()
		b.routes[name] = sqmail.Relay{Host: addr.IP.String(), Port: uint16(addr.Port)}
	}
	agent := &remote.Agent{HelloName: "mx.bench.test", Dialer: hanging{}}
	defer agent.Close()
	q := &queue.Queue{Store: store, Router: b, Deliverer: agent, Concurrency: map[string]int{sqmail.ChannelRemote: b.concurrency}}
	go q.Run(context.Background())
	defer stop(q)
	return b.measure(store, q)
}

// stop cuts off what the tarpit still holds.
func stop(q *queue.Queue) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	q.Shutdown(now)
}

// hanging is a network where nobody answers but who is on this host.
type hanging struct{ net.Dialer }

func (h hanging) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if strings.HasPrefix(address, "127.") {
		return h.Dialer.DialContext(ctx, network, address)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Route implements [queue.Router]. Dead destinations have addresses of their
// own.
func (b *bench) Route(_ context.Context, _ *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	relay := b.routes[to.Domain[:1]]
	var n int
	if _, err := fmt.Sscanf(to.Domain, "dead%d.test", &n); err == nil {
		relay.Host = fmt.Sprintf("198.18.%d.%d", n/256, n%256)
	}
	return sqmail.Routing{
		Route:   sqmail.Route{Channel: sqmail.ChannelRemote, Destination: to.Domain, Relay: relay},
		Deliver: to, Display: to,
	}, nil
}

// fill queues the bad mail, the dead destinations' among the rest.
func (b *bench) fill(store queue.Store) error {
	body := load.Message(4096)
	every := max(b.tarpitted/max(b.dead, 1), 1)
	err := spool.Fill(store, b.tarpitted, body, func(i int) queue.Submission {
		to := fmt.Sprintf("user%d@tarpit.test", i)
		return queue.Submission{Envelope: spool.Envelope(fmt.Sprintf("s%d@client.test", i%100), to)}
	})
	if err == nil {
		err = spool.Fill(store, min(b.dead, b.tarpitted/every), body, func(i int) queue.Submission {
			return queue.Submission{Envelope: spool.Envelope("sender@client.test", fmt.Sprintf("user@dead%d.test", i))}
		})
	}
	return err
}

// measure sends good mail, one message after the other, by SMTP.
func (b *bench) measure(store queue.Store, q *queue.Queue) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &smtpd.Server{HelloName: "mx.bench.test", Receiver: q, Policy: smtpd.AcceptAll}
	go server.Serve(ln)
	defer server.Close()
	c, err := load.Dial(ln.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	good := func(int) string { return "user@good.test" }
	if err := b.send(c, "queue empty", good); err != nil {
		return err
	}
	if err := b.fill(store); err != nil {
		return err
	}
	fmt.Printf("queued: %+v\n", store.Stats())
	if err := b.send(c, "queue full", good); err != nil {
		return err
	}
	for store.Stats().Fresh > 0 {
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Printf("seen by the scheduler: %+v\n", store.Stats())
	if err := b.send(c, "queue sorted", good); err != nil {
		return err
	}
	if b.unknown {
		if err := b.send(c, "new destinations", func(i int) string { return fmt.Sprintf("user@good%d.test", i) }); err != nil {
			return err
		}
	}
	fmt.Printf("meanwhile the tarpit took %d messages over %d connections\n", b.tarpit.Messages.Load(), b.tarpit.Connections.Load())
	return nil
}

func (b *bench) send(c *load.Client, what string, to func(i int) string) error {
	message := append(load.Message(4096), ".\r\n"...)
	var times []time.Duration
	for i := range b.rounds {
		if _, err := c.Send(load.Envelope("friend@client.test", to(i)), message); err != nil {
			return err
		}
		said := time.Now()
		select {
		case at := <-b.arrived:
			times = append(times, at.Sub(said))
		case <-time.After(time.Minute):
			return fmt.Errorf("%s: message %d is not delivered after a minute", what, i)
		}
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(times)
	fmt.Printf("250 to delivery, %-16s p50 %v  p90 %v  max %v\n", what,
		times[len(times)/2].Round(10*time.Microsecond), times[len(times)*9/10].Round(10*time.Microsecond), times[len(times)-1].Round(10*time.Microsecond))
	return nil
}
