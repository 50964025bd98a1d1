package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/mailtest"
)

// The whole program runs against a foreign server that defers at first, and
// half an hour is over at once.
func TestMailGoesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(mailtest.Network)
		zone := mailtest.NewZone(t, "example.net MX 10 mx.example.net\n mx.example.net A 192.0.2.1")
		peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
		peer.On(mailtest.Rcpt, mailtest.First(1)).Reply(451, "4.7.1", "come back later")
		agent := &remote.Agent{Resolver: zone, Dialer: network}

		start(t, network, "127.0.0.1:2525", agent)
		send(t, network, "joe@example.org", "bob@example.net", "Subject: hi\r\n\r\nhello\r\n")
		patience, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		messages, err := peer.Wait(patience, 1)
		if err != nil {
			t.Fatal(err)
		}
		mailtest.AssertDelivered(t, messages, "bob@example.net",
			mailtest.FromPath("joe@example.org"), mailtest.HasText("hello"))
	})
}

// start runs the program until the test ends, however that may be: what
// outlives its bubble of fake time would hide why a test has failed.
func start(t *testing.T, network *mailtest.Network, address string, agent *remote.Agent) {
	t.Helper()
	l, err := network.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, l, t.TempDir()+"/spool", agent) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func send(t *testing.T, network *mailtest.Network, from, to, text string) {
	t.Helper()
	conn, err := network.From("127.0.0.1").DialContext(t.Context(), "tcp", "127.0.0.1:2525")
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClient(conn)
	defer c.Close()
	if err := c.SendMail(from, []string{to}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// Strangers must not find an open relay in the smallest program.
func TestStrangersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(mailtest.Network)
		start(t, network, "192.0.2.7:25", new(remote.Agent))
		conn, err := network.DialContext(t.Context(), "tcp", "192.0.2.7:25")
		if err != nil {
			t.Fatal(err)
		}
		c := smtp.NewClient(conn)
		defer c.Close()
		if err := c.SendMail("joe@example.org", []string{"bob@example.net"}, strings.NewReader("\r\n")); err == nil {
			t.Error("relayed for a stranger")
		}
	})
}

func TestNoSpoolNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := run(t.Context(), l, t.TempDir()+"/a/b", nil); err == nil {
		t.Error("a spool in a directory that is not there")
	}
}
