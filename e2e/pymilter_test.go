//go:build e2e

package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/milter"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// pymilter is a milter of libmilter, through Debian's python3-milter. It refuses
// by local parts, and does at the end of a message what its Subject says.
const pymilter = `
import sys, Milter
class M(Milter.Base):
    def connect(self, name, family, addr):
        self.facts = [name, addr[0]]
        return Milter.CONTINUE
    def hello(self, name):
        self.facts.append(name)
        return Milter.REJECT if name == "reject.test" else Milter.CONTINUE
    def path(self, text):
        local = text.strip("<>").split("@")[0]
        if local == "later": return Milter.TEMPFAIL
        if local == "never": return Milter.REJECT
        if local == "gone": return Milter.DISCARD
        if local == "reply":
            self.setreply("553", "5.1.8", "100%% not you", "of two lines")
            return Milter.REJECT
        if local == "leave":
            self.setreply("421", "4.7.0", "go")
            return Milter.TEMPFAIL
        return Milter.CONTINUE
    def envfrom(self, text, *params):
        self.size, self.subject, self.fields, self.params = 0, "", 0, list(params)
        return self.path(text)
    def envrcpt(self, text, *params):
        return self.path(text)
    def header(self, name, value):
        self.fields += 1
        if name == "Subject": self.subject = value
        return Milter.CONTINUE
    def body(self, chunk):
        self.size += len(chunk)
        return Milter.CONTINUE
    def eom(self):
        if self.subject == "add":
            self.addheader("X-Facts", " ".join(self.facts + self.params + [str(self.fields), str(self.size)]))
        elif self.subject == "reject": return Milter.REJECT
        elif self.subject == "discard": return Milter.DISCARD
        elif self.subject == "replace": self.replacebody("other")
        elif self.subject == "change": self.chgheader("Subject", 1, "x")
        elif self.subject == "recipient": self.addrcpt("<x@y.test>")
        elif self.subject == "quarantine": self.quarantine("look at it")
        return Milter.CONTINUE
Milter.factory = M
Milter.set_flags(Milter.ADDHDRS + Milter.CHGHDRS + Milter.CHGBODY + Milter.ADDRCPT + Milter.QUARANTINE)
Milter.runmilter("M", sys.argv[1], 60)
`

// startPymilter starts it and returns its socket.
func startPymilter(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "socket")
	var out bytes.Buffer
	cmd := exec.Command("/usr/bin/python3", "-c", pymilter, "unix:"+socket) // the one that Debian's modules are for
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Kill)
		<-ended
		if t.Failed() {
			t.Logf("the milter said:\n%s", &out)
		}
	})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket
		}
		select {
		case <-ended:
			t.Fatalf("the milter ended:\n%s", &out)
		case <-deadline:
			t.Fatal("the milter does not answer")
		case <-tick.C:
		}
	}
}

func TestMilterOfLibmilter(t *testing.T) {
	socket := startPymilter(t)
	message := func(subject string) string {
		return "C: MAIL FROM:<a@example.net> BODY=8BITMIME\nS: 250*\nC: RCPT TO:<b@example.org>\nS: 250*\nC: DATA\nS: 354*\n" +
			"C: Subject: " + subject + "\nC: X-Other: 1\nC:\nC: hello\nC: ..dot\nC: .\n"
	}
	for _, test := range []struct{ name, talk string }{
		{"reverse-path", "C: MAIL FROM:<later@example.net>\nS: 451 4.7.1*\nC: MAIL FROM:<never@example.net>\nS: 550 5.7.1*\n" +
			"C: MAIL FROM:<reply@example.net>\nS: 553-5.1.8 100% not you\nS: 553 5.1.8 of two lines\nC: MAIL FROM:<gone@example.net>\nS: 554 5.7.1*\n" +
			"C: MAIL FROM:<a@example.net>\nS: 250*\n"},
		{"recipient", "C: MAIL FROM:<a@example.net>\nS: 250*\nC: RCPT TO:<later@example.org>\nS: 451 4.7.1*\nC: RCPT TO:<never@example.org>\nS: 550 5.7.1*\n" +
			"C: RCPT TO:<reply@example.org>\nS: 553-5.1.8 100% not you\nS: 553 5.1.8 of two lines\nC: RCPT TO:<b@example.org>\nS: 250*\n"},
		{"leave", "C: MAIL FROM:<leave@example.net>\nS: 421 4.7.0 go\nEND\n"},
		{"hello", "C: EHLO reject.test\nS: 550 5.7.1*\nC: EHLO d\nS: 250...\nC: MAIL FROM:<a@example.net>\nS: 250*\n"},
		{"add", message("add") + "S: 250 2.0.0*\n"},
		{"end", message("reject") + "S: 550 5.7.1*\n" + message("discard") + "S: 554 5.7.1*\n" + message("fine") + "S: 250 2.0.0*\n"},
		{"what cannot be done", message("replace") + "S: 451*\n" + message("change") + "S: 451*\n" + message("recipient") + "S: 451*\n" + message("quarantine") + "S: 451*\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var taken smtpdtest.Recorder
			server := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) {
				s.Policy = &filter.Chain{Filters: []filter.Filter{
					&milter.Filter{Address: socket, HostName: "mx.test"},
					&filter.RcptHosts{Domains: filter.ListOf("example.org")},
				}}
			})
			server.Talk(t, "S: 220*\nC: EHLO c\nS: 250...\n"+test.talk)
			server.Close()
			for _, m := range taken.Messages() {
				const facts = "X-Facts: [127.0.0.1] 127.0.0.1 c BODY=8BITMIME 2 13\n" // "hello", ".dot", CRLF
				if test.name == "add" && !strings.Contains(string(m.Envelope.Header), facts) {
					t.Errorf("the header lacks %q:\n%s", facts, m.Envelope.Header)
				}
				if string(m.Body) != "Subject: "+map[bool]string{true: "add", false: "fine"}[test.name == "add"]+"\nX-Other: 1\n\nhello\n.dot\n" {
					t.Errorf("message %q", m.Body)
				}
			}
		})
	}
}
