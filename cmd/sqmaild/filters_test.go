package main

import (
	"errors"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// script writes a program of the home.
func (h *home) script(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// filtering is a home with a service for each way of refusing mail.
func filtering(t *testing.T) *home {
	h := newHome(t, "joe", "log")
	h.write("control/services", `
in      smtp 127.0.0.1:0 QHPSI=bin/scan QHPSIARG1="two words" BASE64="" MIMEFILTER="" DELIVERTO="log@mx.example.org" DATABYTES=2000 REPLY_MAXSIZE="zip it"
qq      smtp 127.0.0.1:0 QMAILQUEUE=bin/qq QMAILQUEUE_EXTRA=bin/more SITE="a b"
grey    smtp 127.0.0.1:0 GREYLIST="delay=1"
blocked smtp 127.0.0.1:0 RBLSMTPD="-go away" rules=rules.blocked
down    smtp 127.0.0.1:0 CLAMD="unix:/nonexistent/clamd" rules=rules.down
spare   smtp 127.0.0.1:0 rules=rules.smtpd
`)
	h.write("control/rules.blocked", "127.0.0.2:allow,RBLSMTPD=\"\"\n")
	h.write("control/rules.down", "127.0.0.2:allow,CLAMD=\"unix:/nonexistent/clamd pass\"\n")
	h.write("control/mimefilter", "name:*.exe\n")
	h.script("bin/scan", `test "$2" = "two words" || exit 2; grep -q RUlDQVI= "$1" && exit 1; exit 0`)
	h.script("bin/qq", `cat >home/qq.message; cat <&1 >home/qq.envelope; echo "$QMAILQUEUE_EXTRA $SITE $TCPREMOTEIP" >home/qq.env; exit 0`)
	return h
}

// sendBody sends a message, and returns the reply that refused it, "" if none
// has.
func sendBody(t *testing.T, addr, message string) string {
	t.Helper()
	err := tryMessage(addr, message)
	if e, ok := errors.AsType[*textproto.Error](err); ok {
		return strconv.Itoa(e.Code) + " " + e.Msg
	}
	if err != nil {
		t.Fatal(err)
	}
	return ""
}

func tryMessage(addr, message string) error {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		return err
	}
	for _, command := range []string{"EHLO client.example", "MAIL FROM:<a@x.example>", "RCPT TO:<joe@mx.example.org>"} {
		if err := c.PrintfLine("%s", command); err != nil {
			return err
		}
		if _, _, err := c.ReadResponse(250); err != nil {
			return err
		}
	}
	if err := c.PrintfLine("DATA"); err != nil {
		return err
	}
	if _, _, err := c.ReadResponse(354); err != nil {
		return err
	}
	w := c.DotWriter()
	if _, err := w.Write([]byte(message)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, _, err = c.ReadResponse(250)
	return err
}

// TestFiltersOfTheDaemon: what the variables say is done to mail from the
// network.
func TestFiltersOfTheDaemon(t *testing.T) {
	h := filtering(t)
	if out := h.run("", "check", "-home", h.dir); strings.Contains(out, "control/services") || strings.Contains(out, "mimefilter") {
		t.Errorf("check warns of what works:\n%s", out)
	}
	if err := os.MkdirAll(filepath.Join(h.dir, "queue/scan"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("queue/scan/sqmail-filter-1", "of a daemon that was killed")
	d := h.start()
	const base64 = "Content-Transfer-Encoding: base64\n\n"
	for _, test := range []struct{ service, message, want string }{
		{"in", "Subject: x\n\nRUlDQVI=\n", ""}, // no base64 part, not scanned
		{"in", base64 + "SGVsbG8gd29ybGQ=\n", ""},
		{"in", base64 + "AAAAAAAARUlDQVI=\n", "554 5.3.2"},
		{"in", "Content-Type: x/y; name=a.exe\n\nx\n", "554 5.3.2"},
		{"in", strings.Repeat("a line of a long message\n", 100), "552 5.3.4 message too big; zip it"},
		{"qq", "Subject: x\n\nfor the program\n", ""},
		{"blocked", "x\n", "553 5.7.1 go away"},
		{"down", "x\n", "451 4.3.0"},
	} {
		got := sendBody(t, d.addrs[test.service], test.message)
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s, %.60q: %q, want %q", test.service, test.message, got, test.want)
		}
	}
	h.waitEmpty()
	for user, want := range map[string]int{"joe": 2, "log": 2} {
		if all, _ := filepath.Glob(filepath.Join(h.maildirOf(user), "new", "*")); len(all) != want {
			t.Errorf("%s has %d messages, want %d", user, len(all), want)
		}
	}
	for name, want := range map[string]string{
		"qq.message": "for the program\n", "qq.envelope": "Fa@x.example\x00Tjoe@mx.example.org\x00\x00", "qq.env": "bin/more a b 127.0.0.1\n",
	} {
		if got, err := os.ReadFile(filepath.Join(h.dir, "home", name)); err != nil || !strings.HasSuffix(string(got), want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(h.dir, "queue/scan")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	d.stop()
}

// TestGreylistOutlivesTheDaemon, and a configuration: who was seen before is
// let in by the next.
func TestGreylistOutlivesTheDaemon(t *testing.T) {
	h := filtering(t)
	d := h.start()
	if got := sendBody(t, d.addrs["grey"], "x\n"); !strings.HasPrefix(got, "450 4.7.1") {
		t.Errorf("%q", got)
	}
	d.stop()
	d = h.start()
	eventually(t, d, "a client that comes again", func() bool { return sendBody(t, d.addrs["grey"], "x\n") == "" })
	h.write("control/badmailfrom", "other@x.example\n")
	d.reload()
	eventually(t, d, "the next configuration", func() bool { return strings.Count(d.log.String(), "configuration taken") > 1 })
	if got := sendBody(t, d.addrs["grey"], "x\n"); got != "" {
		t.Errorf("forgotten: %q", got)
	}
	// explain asks the daemon, which has the file to itself.
	for from, want := range map[string]string{"a@x.example": `greylist: pass, rule "known"`, "b@x.example": `greylist: defer, rule "too soon"`} {
		out := h.run("", "explain", "-home", h.dir, "-service", "grey", "-from", from, "-to", "joe@mx.example.org")
		if !strings.Contains(out, want) {
			t.Errorf("explain, %s: lacks %q:\n%s", from, want, out)
		}
	}
	h.waitEmpty()
	d.stop()
}

// TestExplainShowsEveryFilter: it runs the chain of the service.
func TestExplainShowsEveryFilter(t *testing.T) {
	h := filtering(t)
	h.write("message", "Content-Transfer-Encoding: base64\n\nAAAAAAAARUlDQVI=\n")
	for service, want := range map[string][]string{
		"in":      {"mime: pass", "qhpsi: reject", "deliverto: pass"},
		"grey":    {"greylist: "},
		"blocked": {"rblsmtpd: reject", "553 5.7.1 go away"},
		"down":    {"clamd: defer", "because: clamd: dial "},
	} {
		out := h.run("", "explain", "-home", h.dir, "-ip", "192.0.2.7", "-service", service, "-from", "a@x.example", "-to", "joe@mx.example.org", filepath.Join(h.dir, "message"))
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("%s lacks %q:\n%s", service, text, out)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(h.dir, "queue/greylist.db")); err == nil {
		t.Error("explain has entered somebody in the greylist")
	}
}
