package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// What a snapshot has open is closed once: when it is out of force and nobody
// holds it any more.
func TestHoldersReleaseOnce(t *testing.T) {
	var released atomic.Int32
	h := &holders{release: func() { released.Add(1) }}
	for range 2 {
		if !h.hold() {
			t.Fatal("cannot be held")
		}
	}
	h.done()
	h.retire()
	if !h.hold() {
		t.Error("cannot be held by a second one while a first one does")
	}
	h.done()
	if released.Load() != 0 {
		t.Fatal("released while it is held")
	}
	h.done()
	if released.Load() != 1 || h.hold() {
		t.Fatal("not released, or held then")
	}
	h.retire()
	if released.Load() != 1 {
		t.Fatal("released twice")
	}
	idle := &holders{release: func() { released.Add(1) }}
	idle.retire()
	if released.Load() != 2 {
		t.Fatal("nobody held it")
	}
}

func TestHoldersUnderLoad(t *testing.T) {
	var released atomic.Int32
	h := &holders{release: func() { released.Add(1) }}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for h.hold() {
				if released.Load() != 0 {
					t.Error("held after the release")
				}
				h.done()
			}
		})
	}
	wait.Go(h.retire)
	wait.Wait()
	if released.Load() != 1 {
		t.Error("released", released.Load(), "times")
	}
}

const letGo = `msg="configuration let go"`

// A session goes on with the configuration that it began with, whose databases
// stay open until it ends, and are closed then.
func TestSessionsKeepTheirConfiguration(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services":      "smtpd smtp 127.0.0.1:0\n",
		"control/morercpthosts": "old.example\n",
		"control/rcpthosts":     "",
	})
	must(t, "", "newmrh", "-home", d.dir)
	if err := os.Remove(filepath.Join(d.dir, "control/morercpthosts")); err != nil {
		t.Fatal(err)
	}
	d.reload()
	d.wait(letGo, 1) // that of the text: nobody held it
	old := d.dial("smtpd")
	old.Do("EHLO c", 250)

	d.write("control/morercpthosts", "new.example\n")
	must(t, "", "newmrh", "-home", d.dir)
	os.Remove(filepath.Join(d.dir, "control/morercpthosts"))
	d.reload()
	d.wait(`msg="configuration taken"`, 3)

	fresh := d.dial("smtpd")
	fresh.Do("EHLO c", 250)
	fresh.Do("MAIL FROM:<a@example.net>", 250)
	fresh.Do("RCPT TO:<b@new.example>", 250)
	fresh.Do("RCPT TO:<b@old.example>", 553)

	old.Do("MAIL FROM:<a@example.net>", 250)
	old.Do("RCPT TO:<b@old.example>", 250)
	old.Do("RCPT TO:<b@new.example>", 553)
	if n := d.told(letGo); n != 1 {
		t.Fatalf("%d configurations were let go while sessions used them", n-1)
	}
	if n := openFiles(t, d.dir); n != 2 {
		t.Errorf("%d databases are open, want those of two configurations", n)
	}
	old.Do("QUIT", 221)
	d.wait(letGo, 2)
	if n := openFiles(t, d.dir); n != 1 {
		t.Errorf("%d databases are open, want one", n)
	}
}

// openFiles counts the databases of a home that this process has open or mapped.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), filepath.Join(dir, "control"))
}

// A refused client, one that goes without a word, and one that comes through
// XCLIENT leave nothing behind.
func TestNobodyHoldsAConfigurationForEver(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services":    "smtpd smtp 127.0.0.1:0 XCLIENTFROM=127.0.0.1 rules=rules.smtpd\npop3d pop3 127.0.0.1:0\n",
		"control/rules.smtpd": "192.0.2.2:deny\n:allow\n",
	})
	d.dial("smtpd").Close()
	d.dial("smtpd").Do("QUIT", 221)
	c := d.dial("smtpd")
	c.Do("EHLO c", 250)
	c.Do("XCLIENT ADDR=192.0.2.1 NAME=friend.example.net", 220)
	c.Do("EHLO c", 250)
	c.Do("XCLIENT ADDR=192.0.2.2 NAME=foe.example.net", 554)
	c.ExpectEnd()
	d.dial("smtpd").Send("QUIT\r\n")
	if conn, err := net.Dial("tcp", d.addr("pop3d")); err == nil {
		conn.Close()
	}
	d.reload()
	d.wait(letGo, 1)
}

// policyServer greylists nobody, and counts the connections that are open.
type policyServer struct {
	net.Listener
	open atomic.Int32
}

func newPolicyServer(t *testing.T) *policyServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	p := &policyServer{Listener: ln}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.open.Add(1)
			go p.serve(conn)
		}
	}()
	return p
}

func (p *policyServer) serve(conn net.Conn) {
	defer p.open.Add(-1)
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "" {
			fmt.Fprint(conn, "action=DUNNO\n\n")
		}
	}
}

// The connections that filters keep end with the last session of a configuration.
func TestFiltersAreClosedWithTheirLastSession(t *testing.T) {
	server := newPolicyServer(t)
	_, port, _ := net.SplitHostPort(server.Addr().String())
	d := serveInside(t, map[string]string{"control/services": "smtpd smtp 127.0.0.1:0 POSTGREY=127.0.0.1;" + port + "\n"})
	ask := func(c *smtpdtest.Client) {
		c.Do("RSET", 250)
		c.Do("MAIL FROM:<a@example.net>", 250)
		c.Do("RCPT TO:<b@mx.example.org>", 250)
	}
	var old []*smtpdtest.Client
	for range 2 {
		c := d.dial("smtpd")
		c.Do("EHLO c", 250)
		ask(c)
		old = append(old, c)
	}
	before := server.open.Load()
	if before == 0 {
		t.Fatal("no connection is kept")
	}
	d.write("control/badmailfrom", "x@y.example\n")
	d.reload()
	d.wait(`msg="configuration taken"`, 2)
	ask(old[0])
	old[0].Do("QUIT", 221)
	ask(old[1])
	if n := server.open.Load(); n != before {
		t.Errorf("%d connections, want %d", n, before)
	}
	old[1].Do("QUIT", 221)
	d.wait(letGo, 1)
	d.until("closed", func() bool { return server.open.Load() == 0 })
}

// A change of a file needs no signal, and neither does mending one.
func TestChangedFilesAreNoticed(t *testing.T) {
	d := serveInside(t, map[string]string{"control/services": "smtpd smtp 127.0.0.1:0\n"})
	d.write("control/badmailfrom", "[\n")
	d.wait(`msg="configuration refused"`, 1)
	d.write("control/badmailfrom", "x@y.example\n")
	d.wait(`msg="configuration taken"`, 2)
	c := d.dial("smtpd")
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<x@y.example>", 250)
	c.Do("RCPT TO:<a@mx.example.org>", 553)
	d.wait(letGo, 1)
}
