package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/mailtest"
)

// world is a smarthost and the relay that it sends to.
type world struct {
	network *mailtest.Network
	relay   *mailtest.Peer
	ca      *mailtest.CA
}

func newWorld(t *testing.T, certificate string) *world {
	t.Helper()
	w := &world{network: new(mailtest.Network), ca: mailtest.NewCA(t)}
	zone := mailtest.NewZone(t, "relay.test A 192.0.2.1")
	w.relay = &mailtest.Peer{TLS: w.ca.Server(certificate), Users: map[string]string{"me": "password"}}
	w.relay.Start(t, w.network, "192.0.2.1:587")
	l, err := w.network.Listen("tcp", "192.0.2.7:587")
	if err != nil {
		t.Fatal(err)
	}
	c := &config{
		spool: t.TempDir() + "/spool",
		hello: "smarthost.test",
		relay: sqmail.Relay{Host: "relay.test", Port: 587, User: "me", Password: "password"},
		users: usersOf([]string{"USER_JOE=secret", "USER_EVE=", "HOME=/"}),
		tls:   w.ca.Server("smarthost.test"),
		agent: &remote.Agent{Resolver: zone, Dialer: w.network, TLS: verified(w.ca.Pool)},
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, c, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// dial returns a client that has said STARTTLS.
func (w *world) dial(t *testing.T) *smtp.Client {
	t.Helper()
	conn, err := w.network.DialContext(t.Context(), "tcp", "192.0.2.7:587")
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClientStartTLS(conn, &tls.Config{RootCAs: w.ca.Pool, ServerName: "smarthost.test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) send(t *testing.T, to string) {
	t.Helper()
	c := w.dial(t)
	if err := c.Auth(sasl.NewPlainClient("", "joe", "secret")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("joe@a.test", []string{to}, strings.NewReader("Subject: hi\r\n\r\nhello\r\n")); err != nil {
		t.Fatal(err)
	}
}

func TestMailGoesThroughTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "relay.test")
		w.relay.On(mailtest.Mail, mailtest.First(1)).Reply(421, "4.3.2", "shutting down")
		w.relay.On(mailtest.Rcpt, mailtest.For("nobody@b.test")).Reply(550, "5.1.1", "no such user")
		w.send(t, "bob@b.test")
		w.send(t, "nobody@b.test")
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		messages, err := w.relay.Wait(ctx, 2)
		if err != nil {
			t.Fatalf("%v\n%s", err, w.relay.Transcript())
		}
		m := mailtest.AssertDelivered(t, messages, "bob@b.test", mailtest.FromPath("joe@a.test"), mailtest.HasText("hello"))
		if p := m.Envelope.Peer; p.User != "me" || p.TLS == nil || p.Hello != "smarthost.test" {
			t.Errorf("the relay saw %+v", p)
		}
		mailtest.AssertDelivered(t, messages, "joe@a.test", mailtest.FromPath(""), mailtest.HasText("nobody@b.test"))
	})
}

// A relay that cannot prove its name gets neither mail nor password.
func TestFalseRelayGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "other.test")
		w.send(t, "bob@b.test")
		time.Sleep(24 * time.Hour)
		if log := w.relay.Transcript(); strings.Contains(log, "C: AUTH") || strings.Contains(log, "C: MAIL") || w.relay.Sessions() < 2 {
			t.Errorf("%d sessions:\n%.2000s", w.relay.Sessions(), log)
		}
	})
}

func TestOnlyUsersMaySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "relay.test")
		c := w.dial(t)
		if err := c.Mail("joe@a.test", nil); err == nil {
			t.Error("taken without authentication")
		}
		for user, password := range map[string]string{"joe": "wrong", "eve": "", "other": "secret", "": ""} {
			if err := w.dial(t).Auth(sasl.NewPlainClient("", user, password)); err == nil {
				t.Errorf("%q is let in", user)
			}
		}
		conn, err := w.network.DialContext(t.Context(), "tcp", "192.0.2.7:587")
		if err != nil {
			t.Fatal(err)
		}
		clear := smtp.NewClient(conn)
		defer clear.Close()
		if err := clear.Auth(sasl.NewPlainClient("", "joe", "secret")); err == nil {
			t.Error("a password is taken in the clear")
		}
	})
}
