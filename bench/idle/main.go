// Idle measures what idle connections cost smtpd.Server: memory of its process
// for each client that has said EHLO and then nothing more. The clients are in
// another process.
//
//	idle -n 10000
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 10_000, "connections")
	mail := flag.Bool("mail", false, "each client sends a message before it is idle")
	addr := flag.String("client", "", "be the clients of the server at this address")
	flag.Parse()
	var err error
	if *addr != "" {
		err = clients(*addr, *n, *mail)
	} else {
		err = serve(*n, *mail)
	}
	if err != nil {
		log.Fatal("idle: ", err)
	}
}

func serve(n int, mail bool) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &smtpd.Server{HelloName: "mx.bench.test", Receiver: sqmail.ReceiverFunc(load.Discard), Policy: smtpd.AcceptAll, MaxConnections: n + 100}
	go server.Serve(ln)
	defer server.Close()
	heap, resident := meter.Heap(), settled()
	stop, err := connect(ln.Addr().String(), n, mail)
	if err != nil {
		return err
	}
	moreHeap := meter.Heap() - heap
	more := settled() - resident
	fmt.Printf("%d idle connections: %.1f KiB of heap and stacks each, %.1f KiB of resident memory each, %d goroutines\n",
		n, kib(moreHeap, n), kib(more, n), runtime.NumGoroutine())
	return stop()
}

func kib(total int64, n int) float64 { return float64(total) / float64(n) / (1 << 10) }

// settled is the resident memory without what is only not given back yet.
func settled() int64 {
	debug.FreeOSMemory()
	return meter.Resident()
}

// connect starts the clients, and returns when they are idle.
func connect(addr string, n int, mail bool) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-client", addr, "-n", strconv.Itoa(n), "-mail="+strconv.FormatBool(mail))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		in.Close()
		return cmd.Wait()
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// clients connects, says so on standard output, and stays until standard
// input ends.
func clients(addr string, n int, mail bool) error {
	envelope, message := load.Envelope("sender@client.test", "user@bench.test"), append(load.Message(4096), ".\r\n"...)
	all := make([]*load.Client, n)
	errs := make([]error, n)
	var next sync.Mutex
	at := 0
	var work sync.WaitGroup
	for range 32 {
		work.Go(func() {
			for {
				next.Lock()
				i := at
				at++
				next.Unlock()
				if i >= n {
					return
				}
				if all[i], errs[i] = load.Dial(addr); errs[i] == nil && mail {
					_, errs[i] = all[i].Send(envelope, message)
				}
			}
		})
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
	for _, c := range all {
		c.Close()
	}
	return nil
}
