// Filters measures what the filters of package filter cost: the same smtpd.Server
// with an empty chain, and with all filters on, each with long lists. The two
// are measured in turns, in one process, so that what else happens on the
// machine meets both. Clients are in a process of their own: CPU is the
// server's.
//
//	filters                            100,000 entries a list, cdbs of 1,000,000
//	filters -new                       a connection for each message
//	filters -to discard                nothing is stored
//	filters -home                      how long control files of that length take to load
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/smtpd"
)

// bench is what the flags say.
type bench struct {
	client  client
	entries int
	rounds  int
	dir     string
	profile string
	allocs  string

	profiled string
}

func main() {
	log.SetFlags(0)
	var b bench
	flag.IntVar(&b.client.size, "size", 4096, "octets of a message")
	flag.IntVar(&b.client.connections, "c", 128, "connections")
	flag.BoolVar(&b.client.new, "new", false, "a new connection for each message")
	flag.DurationVar(&b.client.time, "time", 2*time.Second, "how long a turn takes")
	flag.IntVar(&b.client.records, "records", 1_000_000, "records of the databases")
	flag.IntVar(&b.entries, "entries", 100_000, "entries of the lists")
	flag.IntVar(&b.rounds, "rounds", 4, "turns of each chain")
	flag.StringVar(&b.dir, "dir", "", "where store and databases are made")
	flag.StringVar(&b.profile, "cpuprofile", "", "write a CPU profile of the last turn of a chain")
	flag.StringVar(&b.profiled, "profiled", "all, strangers", "the chain that is profiled")
	flag.StringVar(&b.allocs, "memprofile", "", "write a profile of the allocations")
	to := flag.String("to", "alone,discard,queue", "what is behind the server; alone: no server, each filter by itself")
	home := flag.Bool("home", false, "measure how long control files take to load instead")
	addr := flag.String("client", "", "be the clients of the server at this address: print the result as JSON")
	flag.Parse()
	if b.client.addr = *addr; *addr != "" {
		json.NewEncoder(os.Stdout).Encode(b.client.run())
		return
	}
	err := error(nil)
	if *home {
		err = b.load()
	} else {
		err = b.measure(strings.Split(*to, ","))
	}
	if err != nil {
		log.Fatal("filters: ", err)
	}
}

func (b *bench) measure(receivers []string) error {
	dir, remove, err := spool.Temp(b.dir)
	if err != nil {
		return err
	}
	defer remove()
	lists, err := newLists(dir, b.entries, b.client.records)
	if err != nil {
		return err
	}
	defer lists.close()
	for _, name := range receivers {
		if name == "alone" {
			if err := b.alone(lists); err != nil {
				return err
			}
			continue
		}
		to := sqmail.Receiver(sqmail.ReceiverFunc(load.Discard))
		if name == "queue" {
			store, err := spool.Open(dir+"/queue", 0)
			if err != nil {
				return err
			}
			defer store.Close()
			to = &queue.Queue{Store: store}
		}
		if err := b.compare(name, to, lists); err != nil {
			return err
		}
	}
	return nil
}

// chain is one of those that are compared.
type chain struct {
	name     string
	policy   *filter.Chain
	addr     string
	accepted int
	elapsed  time.Duration
	used     meter.Usage
	clients  time.Duration // CPU of the clients
}

// compare measures the chains in turns.
func (b *bench) compare(name string, to sqmail.Receiver, l *lists) error {
	chains := []*chain{
		{name: "empty", policy: emptyChain()},
		{name: "all, strangers", policy: l.all(false)},
		{name: "all, relay clients", policy: l.all(true)},
	}
	for _, c := range chains {
		stop, err := c.serve(to)
		if err != nil {
			return err
		}
		defer stop()
	}
	for range b.rounds {
		for _, c := range chains {
			if err := b.turn(c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	fmt.Printf("%-22s %10s %6s %12s %6s %13s %6s %11s %8s\n", name, "messages/s", "", "CPU s/1000", "", "with clients", "", "allocs/msg", "B/msg")
	base := chains[0]
	for _, c := range chains {
		fmt.Printf("  %-20s %10.0f %5.0f%% %12.4f %5.0f%% %13.4f %5.0f%% %11.0f %8.0f\n", c.name,
			c.rate(), 100*c.rate()/base.rate(), c.each(c.used.CPU), 100*base.each(base.used.CPU)/c.each(c.used.CPU),
			c.each(c.used.CPU+c.clients), 100*base.each(base.used.CPU+base.clients)/c.each(c.used.CPU+c.clients),
			float64(c.used.Allocs)/float64(c.accepted), float64(c.used.Bytes)/float64(c.accepted))
	}
	return nil
}

func (c *chain) rate() float64 { return float64(c.accepted) / c.elapsed.Seconds() }

// each is the seconds for a thousand messages.
func (c *chain) each(used time.Duration) float64 { return used.Seconds() * 1000 / float64(c.accepted) }

// serve starts a server with a chain. Its clients tell their addresses as a
// proxy does.
func (c *chain) serve(to sqmail.Receiver) (stop func() error, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.addr = ln.Addr().String()
	server := &smtpd.Server{
		HelloName: "mx.bench.test", Receiver: to, Policy: c.policy, MaxPerAddress: -1, MaxPerNetwork: -1,
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		ForPeer: func(_ context.Context, p *sqmail.Peer) (*smtpd.Server, error) {
			p.Name = "mail-out-7.client.test"
			return nil, nil
		},
	}
	go server.Serve(ln)
	return server.Close, nil
}

func (b *bench) turn(c *chain) error {
	profile, allocs := "", ""
	if c.name == b.profiled {
		profile, allocs = b.profile, b.allocs
	}
	stop, err := meter.Profile(profile, allocs)
	if err != nil {
		return err
	}
	b.client.addr = c.addr
	before := meter.Now()
	r, err := b.client.apart()
	used, _ := meter.Since(before)
	if err := stop(); err != nil {
		return err
	}
	c.accepted += r.Accepted
	c.elapsed += r.Elapsed
	c.used.CPU += used.CPU
	c.clients += r.CPU
	c.used.Allocs += used.Allocs
	c.used.Bytes += used.Bytes
	return err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
