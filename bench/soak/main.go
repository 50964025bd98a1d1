// Soak lets messages run through queue and store, to a deliverer that accepts
// nearly all at once, and looks at what grows: memory, goroutines, open files,
// the store's directory and the checkpoint of its index. After every 50,000
// messages it waits until the queue is empty, collects garbage and takes a
// sample. In the end it fits a line to each, and prints its slope with the
// standard error, and what that would be after ten million messages.
//
// The first 50,000 wait in the queue until all are there. Tables that are as
// large as the longest queue was so far do not grow afterwards, and what does
// is lost for good.
//
// One message in a thousand is deferred once, one in five thousand bounces,
// one in ten thousand is too large for a segment, one in two thousand asks for
// a report of success; they come from 1,000 senders for 20,000 destinations.
//
//	soak -messages 3000000
//	soak -time 5m -smtp
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	log.SetFlags(0)
	var s soak
	flag.IntVar(&s.messages, "messages", 300_000, "end after so many messages")
	flag.DurationVar(&s.time, "time", 0, "end after that time, whatever -messages says")
	flag.IntVar(&s.every, "every", 50_000, "messages between two samples")
	flag.IntVar(&s.size, "size", 1024, "octets of a message")
	flag.IntVar(&s.writers, "writers", 128, "messages that are accepted at a time")
	smtp := flag.Bool("smtp", false, "send by SMTP, messages of one kind")
	flag.StringVar(&s.profile, "profile", "", "write profiles of the live heap to this file with .first and .last added")
	dir := flag.String("dir", "", "where the store is made")
	flag.Parse()
	if err := s.run(*dir, *smtp); err != nil {
		log.Fatal("soak: ", err)
	}
}

type soak struct {
	time                           time.Duration
	messages, every, size, writers int

	profile string

	dir   string
	store *segstore.Store
	seen  []sample
}

func (s *soak) run(dir string, smtp bool) error {
	dir, remove, err := spool.Temp(dir)
	if err != nil {
		return err
	}
	defer remove()
	s.dir = dir + "/queue"
	if s.store, err = spool.Open(s.dir, 0); err != nil {
		return err
	}
	defer s.store.Close()
	q := &queue.Queue{
		Store:     s.store,
		Schedule:  queue.Fixed{time.Second},
		Bounces:   queue.Bounces{Host: "mx.bench.test"},
		Deliverer: queue.DelivererFunc(deliver),
	}
	go q.Run(context.Background())
	defer q.Shutdown(context.Background())
	piece := func() error { return s.receive(q) }
	if smtp {
		addr, stop, err := serve(q)
		if err != nil {
			return err
		}
		defer stop()
		piece = func() error { return s.send(addr) }
	}
	return s.load(q, piece)
}

// deliver accepts what its recipient's local part does not say otherwise of.
func deliver(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	all := make([]sqmail.Outcome, len(m.Envelope.Recipients))
	for i := range all {
		o := sqmail.Outcome{Recipient: i, Class: sqmail.Accepted, Text: "ok\n"}
		switch local := m.Envelope.Recipients[i].Path.Local; {
		case local == "grey" && m.Attempt == 1:
			o.Class, o.Reply = sqmail.Deferral, sqmail.Reply{Code: 451, Text: "later"}
		case local == "none":
			o.Class, o.Reply = sqmail.Rejection, sqmail.Reply{Code: 550, Text: "no such user"}
		}
		all[i] = o
	}
	if _, err := io.Copy(io.Discard, m.Reader()); err != nil {
		return nil, err
	}
	return all, nil
}

// serve makes a server for q.
func serve(q *queue.Queue) (addr string, stop func() error, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &smtpd.Server{HelloName: "mx.bench.test", Receiver: q, Policy: smtpd.AcceptAll}
	go server.Serve(ln)
	return ln.Addr().String(), server.Close, nil
}

// send sends a piece of the load by SMTP.
func (s *soak) send(addr string) error {
	r := load.Load{Addr: addr, Connections: s.writers, Size: s.size, Messages: s.every}.Run()
	return r.Err
}

// load runs one piece after the other, and looks after each when the queue is
// empty.
func (s *soak) load(q *queue.Queue, piece func() error) error {
	const concurrency = 256
	q.SetConcurrency(sqmail.ChannelRemote, 0)
	began := time.Now()
	for total := 0; total < s.messages && (s.time == 0 || time.Since(began) < s.time); {
		start := time.Now()
		if err := piece(); err != nil {
			return err
		}
		q.SetConcurrency(sqmail.ChannelRemote, concurrency)
		s.drain()
		total += s.every
		s.look(total, float64(s.every)/time.Since(start).Seconds())
	}
	fmt.Printf("%.0f messages accepted and delivered in %v, %.0f/s, samples and all\n",
		s.seen[len(s.seen)-1].messages, time.Since(began).Round(time.Second), s.seen[len(s.seen)-1].messages/time.Since(began).Seconds())
	s.report()
	for range 50 {
		if spool.Size(s.dir) < 64<<20 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Printf("directory after the drain: %.1f MiB\n", float64(spool.Size(s.dir))/(1<<20))
	return nil
}

func (s *soak) drain() {
	for {
		st := s.store.Stats()
		if st.Fresh+st.Deferred+st.Parked+st.Leased == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
