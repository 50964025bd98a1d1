//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests run the daemon against programs that others wrote: swaks, mpop,
// Python's smtplib and poplib, Postfix's smtp-sink, smtp-source and smtpd.
// .ci/run installs them.

func TestRealClientsSendAndFetch(t *testing.T) {
	h := newHome(t, "joe")
	d := h.start()
	tool(t, nil, "swaks", "--server", d.addrs["smtpd"], "--from", "a@example.net", "--to", "joe@mx.example.org",
		"--header", "Subject: by swaks", "--body", "hello\n.dot\n")
	tool(t, nil, "swaks", "--server", d.addrs["sub"], "-tls", "--auth", "PLAIN", "--auth-user", "joe", "--auth-password", "secret",
		"--from", "joe@mx.example.org", "--to", "joe@mx.example.org", "--header", "Subject: by submission")
	tool(t, nil, "python3", "-c", pythonSend, d.addrs["smtpd"])
	h.waitEmpty()
	out := tool(t, nil, "python3", "-c", pythonFetch, d.addrs["pop3d"])
	for _, want := range []string{"Subject: by swaks", "\n.dot", "Subject: by submission", "Subject: by smtplib"} {
		if !strings.Contains(out, want) {
			t.Errorf("poplib did not fetch %q:\n%s", want, out)
		}
	}
	box := filepath.Join(t.TempDir(), "box")
	host, port, _ := net.SplitHostPort(d.addrs["pop3d"])
	tool(t, nil, "mpop", "--host="+host, "--port="+port, "--user=joe", "--passwordeval=echo secret", "--auth=user",
		"--tls=on", "--tls-starttls=on", "--tls-certcheck=off", "--keep=off", "--uidls-file="+box+".uidls", "--delivery=mbox,"+box)
	if text, _ := os.ReadFile(box); bytes.Count(text, []byte("\nSubject: ")) != 3 {
		t.Errorf("mpop fetched:\n%s", text)
	}
	d.stop()
}

const pythonSend = `
import smtplib, sys
host, port = sys.argv[1].rsplit(":", 1)
with smtplib.SMTP(host, int(port)) as s:
    s.starttls()
    s.sendmail("b@example.net", ["joe@mx.example.org"], "Subject: by smtplib\r\n\r\nhello\r\n")
`

const pythonFetch = `
import poplib, sys
host, port = sys.argv[1].rsplit(":", 1)
p = poplib.POP3(host, int(port))
p.stls()
p.user("joe"); p.pass_("secret")
count, size = p.stat()
total = 0
for n in range(1, count + 1):
    reply, lines, octets = p.retr(n)
    print("\n".join(line.decode() for line in lines))
    total += sum(len(l) + 2 for l in lines)
if total < size: sys.exit("STAT says %d octets, RETR gave %d" % (size, total))
p.quit()
`

func TestOutboundReachesSink(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o777)
	addr := freeAddr(t)
	background(t, nil, "smtp-sink", "-u", "nobody", "-R", dir, "-d", "%M.", addr, "100")
	h := newHome(t, "joe")
	h.routeTo(addr)
	d := h.start()
	h.submit(d, "joe", "someone@foreign.example", "by the sink")
	h.waitEmpty()
	if got := allFiles(t, dir); !strings.Contains(got, "Subject: by the sink") {
		t.Errorf("the sink got:\n%s\nlog:\n%s", got, d.log)
	}
	d.stop()
}

// TestOutboundOverSTARTTLS puts a real Postfix smtpd, which has TLS, in front
// of a real smtp-sink, which has not.
func TestOutboundOverSTARTTLS(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o777)
	sink := freeAddr(t)
	background(t, nil, "smtp-sink", "-u", "nobody", "-R", dir, "-d", "%M.", sink, "100")
	addr := startPostfix(t, sink)
	h := newHome(t, "joe")
	h.routeTo(addr)
	d := h.start()
	h.submit(d, "joe", "someone@foreign.example", "over starttls")
	h.waitEmpty()
	got := allFiles(t, dir)
	if !strings.Contains(got, "Subject: over starttls") {
		t.Errorf("the sink got:\n%s\nlog:\n%s", got, d.log)
	}
	if !strings.Contains(got, "with ESMTPS ") && !strings.Contains(d.log.String(), "TLS") {
		t.Errorf("nothing says that TLS was used:\n%s\nlog:\n%s", got, d.log)
	}
	d.stop()
}

func TestOutboundRejectionBounces(t *testing.T) {
	addr := freeAddr(t)
	background(t, nil, "smtp-sink", "-u", "nobody", "-f", "rcpt", addr, "100")
	h := newHome(t, "joe")
	h.routeTo(addr)
	d := h.start()
	h.submit(d, "joe", "nobody@foreign.example", "to be bounced")
	h.waitEmpty()
	files, _ := filepath.Glob(filepath.Join(h.maildir("joe"), "new", "*"))
	if len(files) != 1 {
		t.Fatalf("%d messages in the sender's Maildir, want the bounce; log:\n%s", len(files), d.log)
	}
	text, _ := os.ReadFile(files[0])
	for _, want := range []string{"Return-Path: <>", "Hi. This is the", "\n<nobody@foreign.example>:\n", "--- Below this line is a copy of the message.", "Subject: to be bounced"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the bounce lacks %q:\n%s", want, text)
		}
	}
	d.stop()
}

func TestSMTPSourceLoad(t *testing.T) {
	h := newHome(t, "joe")
	d := h.start()
	tool(t, nil, "smtp-source", "-s", "20", "-m", "500", "-l", "4096", "-f", "a@example.net", "-t", "joe@mx.example.org", d.addrs["smtpd"])
	h.waitEmpty()
	files, _ := filepath.Glob(filepath.Join(h.maildir("joe"), "new", "*"))
	if len(files) != 500 {
		t.Errorf("%d of 500 messages arrived", len(files))
	}
	d.stop()
}

// routeTo sends all foreign mail to one address.
func (h *home) routeTo(addr string) {
	host, port, _ := net.SplitHostPort(addr)
	h.write("control/smtproutes", ":"+host+";"+port+"\n")
}

// submit sends a message as an authenticated user.
func (h *home) submit(d *running, user, to, subject string) {
	h.t.Helper()
	tool(h.t, nil, "swaks", "--server", d.addrs["sub"], "-tls", "--auth", "LOGIN", "--auth-user", user, "--auth-password", "secret",
		"--from", user+"@mx.example.org", "--to", to, "--header", "Subject: "+subject)
}

func (h *home) maildir(user string) string {
	h.t.Helper()
	for _, line := range strings.Split(h.run("", "user", "list", "-home", h.dir), "\n") {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == user {
			return words[1]
		}
	}
	h.t.Fatalf("user list does not know %s", user)
	return ""
}

// tool runs a foreign program to its end.
func tool(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// background runs a foreign server until the test ends, and waits until the
// last argument but one, its address, answers.
func background(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	waitFor(t, args[len(args)-2], out)
}

func waitFor(t *testing.T, addr string, out fmt.Stringer) {
	t.Helper()
	for range 200 {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatalf("nothing listens at %s:\n%s", addr, out)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func allFiles(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
