package scan_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/scan"
)

// readHTTP reads a request, and returns its body.
func readHTTP(r io.Reader) string {
	req, err := http.ReadRequest(bufio.NewReader(r))
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return err.Error()
	}
	return req.Method + " " + req.URL.Path + " " + string(b)
}

const statusOK = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

func TestRspamdAnswers(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		f            scan.Rspamd
		action       sqmail.Action
		code         int
		header       string
		fails        bool
	}{
		{
			name: "no action", answer: `{"action":"no action","score":-0.5,"required_score":15,"symbols":{"B":{"score":1},"A":{}}}`,
			action: sqmail.ActionTag, header: "X-Spam-Status: No, score=-0.5 required=15.0\n\ttests=A,B\n",
		},
		{
			name: "no limit", answer: `{"action":"greylist","score":1,"required_score":null,"symbols":[]}`,
			action: sqmail.ActionTag, header: "X-Spam-Status: No, score=1.0 required=0.0\n",
		},
		{
			name: "add header", answer: `{"action":"add header","score":7,"required_score":15}`,
			action: sqmail.ActionTag, header: "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=7.0 required=15.0\n",
		},
		{
			name: "rewrite subject", answer: `{"action":"rewrite subject","score":7,"required_score":15,"subject":"***"}`,
			action: sqmail.ActionTag, header: "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=7.0 required=15.0\n",
		},
		{
			name: "fields", answer: `{"action":"no action","score":0,"required_score":15,"dkim-signature":"v=1;\r\n\tb=x",
				"milter":{"add_headers":{
					"X-Z":{"value":"z","order":1},"X-A":"a\nX-Evil: 1","X-List":["1",{"value":"2"},null,7],"X:Bad":"x","":"x",
					"X-None":null,"X-Fold":"a\n b\n  \n","X-Blank":{"value":""}}}}`,
			action: sqmail.ActionTag, header: "X-Spam-Status: No, score=0.0 required=15.0\n" +
				"DKIM-Signature: v=1;\n\tb=x\nX-A: a X-Evil: 1\nX-Fold: a\n b    \nX-List: 1\nX-List: 2\nX-Z: z\n",
		},
		{name: "soft reject", answer: `{"action":"soft reject","score":1,"messages":{"smtp_message":"Try\nagain"}}`, action: sqmail.ActionDefer, code: 451},
		{name: "reject", answer: `{"action":"reject","score":20,"required_score":15}`, action: sqmail.ActionReject, code: 554},
		{name: "discard", answer: `{"action":"discard"}`, action: sqmail.ActionReject, code: 554},
		{name: "quarantine", answer: `{"action":"quarantine"}`, action: sqmail.ActionReject, code: 554},
		{
			name: "tag only", answer: `{"action":"reject","score":20,"required_score":15}`, f: scan.Rspamd{TagOnly: true},
			action: sqmail.ActionTag, header: "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=20.0 required=15.0\n",
		},
		{name: "own limit", answer: `{"action":"no action","score":9}`, f: scan.Rspamd{RejectAt: 9}, action: sqmail.ActionReject, code: 554},
		{name: "unknown action", answer: `{"action":"set on fire"}`, fails: true},
		{name: "no answer", answer: `{}`, fails: true},
		{name: "an error", answer: `{"error":"out of memory","action":"no action"}`, fails: true},
		{name: "not JSON", answer: `action`, fails: true},
		{name: "cut off", answer: `{"action":"no act`, fails: true},
		{name: "deep", answer: strings.Repeat(`{"action":`, 100_000), fails: true},
		{name: "endless", answer: `{"action":"no action","x":"` + strings.Repeat("x", 2<<20) + `"}`, fails: true},
	} {
		d := &daemon{answer: statusOK + test.answer}
		test.f.Dial = d.dial(t, readHTTP)
		v, err := ask(t, &test.f, message)
		switch {
		case test.fails && sqmail.ClassOf(err) != sqmail.Deferral:
			t.Errorf("%s: %+v, %v", test.name, v, err)
		case !test.fails && (err != nil || v.Action != test.action || v.Reply.Code != test.code || v.Header != test.header):
			t.Errorf("%s: %+v, %v", test.name, v, err)
		}
		if test.name == "soft reject" && v.Reply.Text != "Try?again" {
			t.Errorf("%v", v.Reply)
		}
		if got := <-d.heard; got != "POST /checkv2 Received: from client.test\n"+message {
			t.Errorf("rspamd was asked %q", got)
		}
	}
}

func TestOtherAnswersThanOKAreDeferrals(t *testing.T) {
	for _, status := range []string{
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 500 Internal error\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"action\":\"no action\"}",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"SSH-2.0-x\r\n",
	} {
		d := &daemon{answer: status}
		if v, err := ask(t, &scan.Rspamd{Dial: d.dial(t, readHTTP)}, message); sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("%.30q: %+v, %v", status, v, err)
		}
		<-d.heard
	}
}

func TestRspamdIsToldOfTheSession(t *testing.T) {
	got := make(chan http.Header, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		io.WriteString(w, `{"action":"no action","score":0,"required_score":15}`)
	}))
	defer srv.Close()
	s := session()
	s.Peer.User = "joe\r\nEvil: 1"
	s.Peer.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	f := &scan.Rspamd{Address: srv.Listener.Addr().String(), Password: "secret", HostName: "mx.test"}
	if _, err := askIn(t, t.Context(), f, s, message); err != nil {
		t.Fatal(err)
	}
	h := <-got
	for _, name := range []string{"User-Agent", "Content-Length", "Connection"} {
		h.Del(name)
	}
	want := http.Header{
		"From": {"<a@x.test>"}, "Rcpt": {"<b@y.test>", "<c@y.test>"}, "Ip": {"192.0.2.1"}, "Helo": {"client.test"},
		"Hostname": {"host.test"}, "User": {"joe??Evil: 1"}, "Queue-Id": {"s1"}, "Pass": {"all"}, "Password": {"secret"},
		"Mta-Name": {"mx.test"}, "Tls-Version": {"TLSv1.3"}, "Tls-Cipher": {"TLS_AES_128_GCM_SHA256"},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("%v", h)
	}
}

// rspamd refuses requests with more than 80 KiB of header.
func TestManyRecipientsFitTheRequest(t *testing.T) {
	size := make(chan int, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		for _, to := range r.Header["Rcpt"] {
			n += len("Rcpt: \r\n") + len(to)
		}
		size <- n
		io.WriteString(w, `{"action":"no action"}`)
	}))
	defer srv.Close()
	s := session()
	for range 10_000 {
		s.Envelope.Recipients = append(s.Envelope.Recipients, sqmail.Recipient{Path: sqmail.PathOf(strings.Repeat("x", 60) + "@y.test")})
	}
	if _, err := askIn(t, t.Context(), &scan.Rspamd{Address: srv.Listener.Addr().String()}, s, message); err != nil {
		t.Fatal(err)
	}
	if n := <-size; n < 30_000 || n > 60_000 {
		t.Errorf("%d octets of recipients", n)
	}
}

func TestRspamdThatCannotBeAsked(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }
	dir := t.TempDir()
	if v, err := ask(t, &scan.Rspamd{Dial: dial, TempDir: dir}, message); sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := ask(t, &scan.Rspamd{Dial: dial, TempDir: dir, Pass: true}, message); err != nil || v.Rule != "not asked" {
		t.Errorf("%+v, %v", v, err)
	}
	empty(t, dir)
	if _, err := ask(t, &scan.Rspamd{Dial: dial, TempDir: dir + "/none", Pass: true}, message); err == nil {
		t.Error("a message that could not be put by was let pass")
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := ask(t, &scan.Rspamd{Dial: (&daemon{deaf: true}).dial(t, readHTTP)}, message)
		if err == nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
