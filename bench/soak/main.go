// Soak lets messages run through server, queue and store, to a deliverer that
// discards them, and looks at what grows: memory, goroutines, open files, and
// the store's directory. It prints the slope, and what that would be after ten
// million messages; then it stops the load and watches the directory shrink.
//
//	soak -time 60s
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"runtime"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	log.SetFlags(0)
	var s soak
	flag.DurationVar(&s.time, "time", time.Minute, "how long the load lasts")
	flag.IntVar(&s.messages, "n", 0, "end after so many messages; 0: when the time is over")
	flag.IntVar(&s.size, "size", 4096, "octets of a message")
	dir := flag.String("dir", "", "where the store is made")
	flag.Parse()
	if err := s.run(*dir); err != nil {
		log.Fatal("soak: ", err)
	}
}

type soak struct {
	time           time.Duration
	messages, size int

	dir   string
	store *segstore.Store
	seen  []sample
}

// sample is what is in use after so many messages.
type sample struct {
	messages                   float64
	heap, resident, goroutines float64
	files, disk                float64
}

func (s *soak) run(dir string) error {
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
		Store:       s.store,
		Concurrency: map[string]int{sqmail.ChannelRemote: 64},
		Deliverer: queue.DelivererFunc(func(context.Context, *sqmail.Message) ([]sqmail.Outcome, error) {
			return []sqmail.Outcome{{Class: sqmail.Accepted}}, nil
		}),
	}
	go q.Run(context.Background())
	defer q.Shutdown(context.Background())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &smtpd.Server{HelloName: "mx.bench.test", Receiver: q, Policy: smtpd.AcceptAll}
	go server.Serve(ln)
	defer server.Close()
	return s.load(ln.Addr().String())
}

// load sends in ten pieces, and looks after each when the queue is empty.
func (s *soak) load(addr string) error {
	const pieces = 10
	total := 0
	for range pieces {
		l := load.Load{Addr: addr, Connections: 32, Size: s.size, Time: s.time / pieces, Messages: s.messages / pieces}
		if s.messages > 0 {
			l.Time = 0
		}
		r := l.Run()
		if r.Err != nil {
			return r.Err
		}
		total += r.Accepted
		s.drain()
		s.look(total, r.Rate())
	}
	s.slopes()
	for range 50 {
		if spool.Size(s.dir) < 64<<20 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Printf("directory after the drain: %.1f MiB\n", mib(float64(spool.Size(s.dir))))
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

func (s *soak) look(messages int, rate float64) {
	m := sample{
		messages: float64(messages), heap: float64(meter.Heap()), resident: float64(meter.Resident()),
		goroutines: float64(runtime.NumGoroutine()), files: float64(meter.Files()), disk: float64(spool.Size(s.dir)),
	}
	s.seen = append(s.seen, m)
	fmt.Printf("%9d messages, %6.0f/s: heap %6.2f MiB, resident %6.1f MiB, %3.0f goroutines, %3.0f files, directory %6.1f MiB\n",
		messages, rate, mib(m.heap), mib(m.resident), m.goroutines, m.files, mib(m.disk))
}

// slopes fits a line to the second half of what was seen: by then all pools
// and caches are full.
func (s *soak) slopes() {
	half := s.seen[len(s.seen)/2:]
	for _, q := range []struct {
		name string
		of   func(sample) float64
		unit float64
		text string
	}{
		{"heap", func(m sample) float64 { return m.heap }, 1 << 20, "MiB"},
		{"resident", func(m sample) float64 { return m.resident }, 1 << 20, "MiB"},
		{"directory", func(m sample) float64 { return m.disk }, 1 << 20, "MiB"},
		{"goroutines", func(m sample) float64 { return m.goroutines }, 1, ""},
		{"files", func(m sample) float64 { return m.files }, 1, ""},
	} {
		perMessage := slope(half, q.of)
		fmt.Printf("%-10s %+8.3f B or pieces per 1,000 messages, %+8.2f %s in 10 million\n", q.name, 1000*perMessage, 10e6*perMessage/q.unit, q.text)
	}
}

// slope is that of the line of least squares.
func slope(seen []sample, of func(sample) float64) float64 {
	var x, y, xx, xy float64
	n := float64(len(seen))
	for _, m := range seen {
		x += m.messages / n
		y += of(m) / n
	}
	for _, m := range seen {
		xx += (m.messages - x) * (m.messages - x)
		xy += (m.messages - x) * (of(m) - y)
	}
	return xy / xx
}

func mib(n float64) float64 { return n / (1 << 20) }
