package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// start runs the program and returns the addresses for mail and for the web.
func start(t *testing.T) (mail, web string) {
	t.Helper()
	var listeners [2]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, listeners[0], listeners[1]) }()
	t.Cleanup(func() {
		stop()
		http.DefaultClient.CloseIdleConnections()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listeners[0].Addr().String(), "http://" + listeners[1].Addr().String()
}

func send(t *testing.T, mail, to string) error {
	t.Helper()
	c, err := smtp.Dial(mail)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.SendMail("app@a.test", []string{to}, strings.NewReader("Subject: hi "+to+"\r\n\r\nhello\r\n"))
}

func get(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestMailIsShown(t *testing.T) {
	mail, web := start(t)
	waited := make(chan string, 1)
	go func() {
		_, body := get(t, "GET", web+"/messages?wait=2&within=5m")
		waited <- body
	}()
	for _, to := range []string{"bob@b.test", "eve@b.test"} {
		if err := send(t, mail, to); err != nil {
			t.Fatal(err)
		}
	}
	var all []shown
	if err := json.Unmarshal([]byte(<-waited), &all); err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	m := all[1]
	if m.Number != 2 || m.From != "app@a.test" || m.To[0] != "eve@b.test" || m.Subject != "hi eve@b.test" || m.Text != "hello\n" {
		t.Errorf("shown as %+v", m)
	}
	if code, body := get(t, "GET", web+"/messages/2"); code != 200 || !strings.HasSuffix(body, "\n\nhello\n") {
		t.Errorf("%d %q", code, body)
	}
	if code, body := get(t, "GET", web+"/messages?wait=3&within=1ms"); code != 504 || strings.Count(body, "number") != 2 {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get(t, "DELETE", web+"/messages"); code != 204 {
		t.Errorf("DELETE: %d", code)
	}
	if _, body := get(t, "GET", web+"/messages"); strings.TrimSpace(body) != "[]" {
		t.Errorf("behind DELETE: %s", body)
	}
	for path, want := range map[string]int{"/messages/1": 404, "/messages/x": 404, "/messages?wait=x": 400, "/messages?within=x": 400} {
		if code, _ := get(t, "GET", web+path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func TestRefusedOnDemand(t *testing.T) {
	mail, web := start(t)
	for to, want := range map[string]int{"refuse@b.test": 550, "defer@b.test": 450} {
		err := send(t, mail, to)
		if e, ok := err.(*smtp.SMTPError); !ok || e.Code != want {
			t.Errorf("%s: %v", to, err)
		}
	}
	if _, body := get(t, "GET", web+"/messages"); strings.TrimSpace(body) != "[]" {
		t.Errorf("recorded %s", body)
	}
}
