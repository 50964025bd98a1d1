package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail/mailtest"
)

// start runs the gateway in front of a web application.
func start(t *testing.T, application http.HandlerFunc) *smtp.Client {
	t.Helper()
	web := httptest.NewServer(application)
	network := new(mailtest.Network)
	l, err := network.Listen("tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, []string{"example.org"}, web.URL+"/mail?key=1") }()
	conn, err := network.DialContext(t.Context(), "tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClient(conn)
	t.Cleanup(func() {
		c.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return c
}

func TestMessageIsPosted(t *testing.T) {
	type post struct {
		query url.Values
		body  string
	}
	posts := make(chan post, 1)
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		posts <- post{r.URL.Query(), string(body)}
	})
	err := c.SendMail("joe@a.test", []string{"bob@example.org", "eve@example.org"}, strings.NewReader("Subject: hi\r\n\r\nhello\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := <-posts
	if p.query.Get("from") != "joe@a.test" || strings.Join(p.query["to"], " ") != "bob@example.org eve@example.org" || p.query.Get("key") != "1" {
		t.Errorf("query %v", p.query)
	}
	if !strings.HasPrefix(p.body, "Received: ") || !strings.HasSuffix(p.body, "Subject: hi\n\nhello\n") {
		t.Errorf("body %q", p.body)
	}
}

func TestAnswerOfTheApplicationIsPassedOn(t *testing.T) {
	for status, want := range map[int]int{
		200: 0, 204: 0, 302: 451, 400: 554, 403: 554, 404: 554, 413: 554, 408: 451, 425: 451, 429: 451, 500: 451, 503: 451,
	} {
		c := start(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
		})
		err := c.SendMail("joe@a.test", []string{"bob@example.org"}, strings.NewReader("\r\nsecret\r\n"))
		got := 0
		if e, ok := err.(*smtp.SMTPError); ok {
			got = e.Code
		}
		if got != want || err != nil && got == 0 {
			t.Errorf("%d became %v, want %d", status, err, want)
		}
	}
}

// A redirect must not be followed: the message would not go along.
func TestRedirectIsADeferral(t *testing.T) {
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			t.Error("followed")
		}
		http.Redirect(w, r, "/other", http.StatusFound)
	})
	err := c.SendMail("joe@a.test", []string{"bob@example.org"}, strings.NewReader("\r\n"))
	if e, ok := err.(*smtp.SMTPError); !ok || e.Code != 451 {
		t.Errorf("got %v", err)
	}
}

func TestForeignDomainsAreRefused(t *testing.T) {
	c := start(t, func(http.ResponseWriter, *http.Request) { t.Error("posted") })
	err := c.SendMail("joe@a.test", []string{"bob@example.net"}, strings.NewReader("\r\n"))
	if e, ok := err.(*smtp.SMTPError); !ok || e.Code/100 != 5 {
		t.Errorf("got %v", err)
	}
}
