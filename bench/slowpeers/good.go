package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail/bench/internal/load"
)

// watcher is the good clients.
type watcher struct {
	d      *daemon
	done   chan struct{}
	wait   sync.WaitGroup
	served int

	mu    sync.Mutex
	worst time.Duration
	err   error
}

// patience is how long a good client waits for anything.
const patience = 20 * time.Second

// watch begins to send letters and to ask for mail, with a connection each time.
func watch(d *daemon) *watcher {
	w := &watcher{d: d, done: make(chan struct{})}
	w.wait.Go(func() { w.repeat(w.letter) })
	w.wait.Go(func() { w.repeat(w.mailbox) })
	return w
}

// stop returns the longest time that a good client needed, and the first
// failure.
func (w *watcher) stop() (time.Duration, error) {
	close(w.done)
	w.wait.Wait()
	return w.worst, w.err
}

func (w *watcher) repeat(visit func() error) {
	for {
		start := time.Now()
		err := visit()
		w.mu.Lock()
		w.worst = max(w.worst, time.Since(start))
		if err != nil && w.err == nil {
			w.err = err
		}
		w.mu.Unlock()
		select {
		case <-w.done:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w *watcher) letter() error {
	c, err := load.Dial(w.d.addrs["smtpd"])
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Send(load.Envelope("a@client.test", "postmaster@mx.bench.test"), append(load.Message(2000), ".\r\n"...)); err != nil {
		return err
	}
	w.served++
	return c.Quit()
}

func (w *watcher) mailbox() error {
	c, err := net.DialTimeout("tcp", w.d.addrs["pop3d"], patience)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c, "QUIT\r\n")
	r := bufio.NewReader(c)
	for range 2 { // greeting, and goodbye
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "+OK") {
			return fmt.Errorf("POP3: %q, %v", line, err)
		}
	}
	return nil
}
