package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/resolver"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// inside is a daemon that runs in this process.
type inside struct {
	t   *testing.T
	dir string
	d   *daemon
	log *lockedBuffer
	hup chan os.Signal

	stop func() // ends it, and waits

	mu    sync.Mutex
	addrs map[string]string // by service name, the last one that was told
}

// names is what the DNS says in these tests.
const names = `
1.2.0.192.in-addr.arpa. PTR friend.example.net.
friend.example.net.     A   192.0.2.1
2.2.0.192.in-addr.arpa. PTR foe.example.net.
foe.example.net.        A   192.0.2.2
`

// serveInside runs a daemon for a new home with files of these texts.
func serveInside(t *testing.T, files map[string]string, configure ...func(*daemon)) *inside {
	t.Helper()
	d := &inside{t: t, dir: filepath.Join(t.TempDir(), "home"), log: &lockedBuffer{}, hup: make(chan os.Signal), addrs: map[string]string{}}
	must(t, "", "init", "-home", d.dir, "-me", "mx.example.org")
	for name, text := range files {
		d.write(name, text)
	}
	out, in := io.Pipe()
	d.d = &daemon{home: d.dir, out: in, log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	d.d.dns = &resolver.Client{Servers: []string{"192.0.2.53"}, Dialer: mailtest.NewZone(t, names)}
	for _, f := range configure {
		f(d.d)
	}
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go d.watch(out, ready)
	go func() {
		ended <- serveHome(ctx, d.d, d.hup)
		in.Close()
	}()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(d.stop)
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("%v\n%s", err, d.log)
	}
	return d
}

func (d *inside) watch(out io.Reader, ready chan<- struct{}) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 4 {
			d.mu.Lock()
			d.addrs[words[1]] = words[3]
			d.mu.Unlock()
		} else if words[0] == "ready" {
			close(ready)
		}
	}
}

func (d *inside) addr(service string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addrs[service]
}

func (d *inside) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o640); err != nil {
		d.t.Fatal(err)
	}
}

// reload has the daemon read its configuration; the next reload does not begin
// before it has.
func (d *inside) reload() { d.hup <- syscall.SIGHUP }

// told counts the log's lines with a text.
func (d *inside) told(text string) int { return strings.Count(d.log.String(), text) }

// wait waits until the log has said something so many times.
func (d *inside) wait(text string, times int) {
	d.t.Helper()
	d.until(text, func() bool { return d.told(text) >= times })
}

func (d *inside) until(what string, done func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: not within a minute; log:\n%s", what, d.log)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// connect connects to a service, and sends something first.
func (d *inside) connect(service, first string) *smtpdtest.Client {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr(service))
	if err != nil {
		d.t.Fatal(err)
	}
	c := smtpdtest.NewClient(d.t, conn, &tls.Config{InsecureSkipVerify: true})
	if first != "" {
		c.Send(first)
	}
	return c
}

// dial connects to a service that greets.
func (d *inside) dial(service string) *smtpdtest.Client {
	d.t.Helper()
	c := d.connect(service, "")
	c.Expect(220)
	return c
}

// A session that does not end costs the queue nothing of its time, and nobody
// says that deliveries were cut off when there were none.
func TestQueueHasTimeOfItsOwnToEnd(t *testing.T) {
	d := serveInside(t, map[string]string{"control/services": "smtpd smtp 127.0.0.1:0\n"}, func(d *daemon) { d.drain = 100 * time.Millisecond })
	c := d.dial("smtpd")
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.net>", 250)
	c.Do("RCPT TO:<b@mx.example.org>", 250)
	c.Do("DATA", 354)
	d.stop()
	if d.told("sessions were cut off") != 1 || d.told("deliveries were cut off") != 0 || d.told("msg=stopped") != 1 {
		t.Error(d.log)
	}
}
