package main

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
)

// A listener whose address is in use at a reload is opened when the address is
// free, without another reload.
func TestListenerIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d := serveInside(t, map[string]string{"control/services": "smtpd smtp 127.0.0.1:0\n"})
	d.write("control/services", fmt.Sprintf("smtpd smtp 127.0.0.1:0\nmore smtp %s\n", taken.Addr()))
	d.reload()
	d.wait(`msg="a listener cannot be opened"`, 1)
	d.dial("smtpd").Do("QUIT", 221) // the others work
	d.wait(`msg="a listener cannot be opened yet"`, 1)
	taken.Close()
	d.until("listening", func() bool { return d.addr("more") != "" })
	d.dial("more").Do("QUIT", 221)
}

// A service that changes keeps its socket, and no client is turned away.
func TestChangedServiceKeepsItsSocket(t *testing.T) {
	d := serveInside(t, map[string]string{"control/services": "smtpd smtp 127.0.0.1:0\n"})
	addr := d.addr("smtpd")
	running := d.dial("smtpd")
	running.Do("EHLO c", 250)
	for i, services := range []string{
		"other smtp " + addr,                              // another name
		"other lmtp " + addr,                              // another protocol
		"other smtp " + addr + " PROXYFROM=192.0.2.0/24",  // other proxies
		"other smtp " + addr + "\nsmtpd smtp 127.0.0.1:0", // and one more
	} {
		d.write("control/services", services+"\n")
		d.reload()
		d.until("listening", func() bool { return d.told("msg=listening listener=other") == i+1 })
		if d.addr("other") != addr {
			t.Fatalf("%s became %s", addr, d.addr("other"))
		}
		c := d.dial("other")
		if hello := map[bool]string{true: "LHLO c", false: "EHLO c"}[i == 1]; hello != "" {
			c.Do(hello, 250)
		}
		c.Do("QUIT", 221)
	}
	running.Do("QUIT", 421) // its listener was closed: it may finish, and hears so
}

// Who comes while a listener is being closed may try again.
func TestServicesThatHaveGoneDefer(t *testing.T) {
	_, err := new(snapshot).admit("gone", new(sqmail.Peer))
	if sqmail.ClassOf(err) != sqmail.Deferral || !errors.Is(err, errServiceGone) {
		t.Error(err)
	}
}

// A session of a listener that a reload has closed keeps the daemon from ending
// no longer than others do.
func TestSessionsOfClosedListenersAreCutOff(t *testing.T) {
	d := serveInside(t, map[string]string{"control/services": "gone smtp 127.0.0.1:0\nsmtpd smtp 127.0.0.1:0\n"},
		func(d *daemon) { d.drain = 100 * time.Millisecond })
	c := d.dial("gone")
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.net>", 250)
	c.Do("RCPT TO:<b@mx.example.org>", 250)
	c.Do("DATA", 354)
	d.write("control/services", "smtpd smtp 127.0.0.1:0\n")
	d.reload()
	d.wait(`msg="listener closed" listener=gone`, 1)
	d.stop()
	if d.told(`msg="sessions were cut off" listener=gone`) != 1 || d.told("msg=stopped") != 1 {
		t.Error(d.log)
	}
}
