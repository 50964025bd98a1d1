package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/mailtest"
)

// loopback is where the clients of these tests come from.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// everything is a home in which every filter has something to refuse.
var everything = map[string]string{
	"control/rcpthosts":   "ours.test\nopen.test\n",
	"control/recipients":  "!open.test\n",
	"control/badhelo":     "bad.helo\n*.evil\n",
	"control/badmailfrom": "bad@sender.test\nbad@gone.test\nbad@ours.test\n",
	"control/badrcptto":   "bad@ours.test\nbad@open.test\nbad@foreign.test\n",
}

const everyVariable = `HELOCHECK="A" MFDNSCHECK="" TARPITCOUNT="3" LOCALMFCHECK="" POSTGREY="`

// greylister is a policy server that defers everybody, and its POSTGREY.
func greylister(t *testing.T) (value string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					for line := ""; line != "\n"; {
						if line, err = r.ReadString('\n'); err != nil {
							return
						}
					}
					io.WriteString(conn, "action=DEFER_IF_PERMIT later\n\n")
				}
			}()
		}
	}()
	return "127.0.0.1;" + fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// TestOrderOfDecisions: smtpd.md, 4.5. Each recipient breaks a rule and all
// rules below it that it can; the first one answers, and has the line.
func TestOrderOfDecisions(t *testing.T) {
	zone := mailtest.NewZone(t, "sender.test A 192.0.2.1\n ours.test A 192.0.2.2\n good.helo A 192.0.2.3\n x.evil A 192.0.2.4")
	for _, test := range []struct {
		name, hello, login, from string
		before                   string // talk before the recipient
		to, reply, line          string
	}{
		// A. not a relay client
		{name: "A1", from: "bad@gone.test", to: "bad@foreign.test", reply: "550 5.7.1", line: "Reject::SNDR::Bad_Helo '0'"},
		{name: "A2, exact", hello: "bad.helo", from: "bad@gone.test", to: "bad@foreign.test", reply: "550 5.7.1", line: "Reject::SNDR::Bad_Helo '.'"},
		{name: "A2, pattern", hello: "x.evil", from: "bad@gone.test", to: "bad@foreign.test", reply: "550 5.7.1", line: "Reject::SNDR::Bad_Helo '*'"},
		{name: "A3", hello: "none.helo", from: "bad@gone.test", to: "bad@foreign.test", reply: "550 5.7.1", line: "Reject::SNDR::DNS_Helo 'A'"},
		{name: "A4", hello: "good.helo", from: "bad@gone.test", to: "bad@foreign.test", reply: "553 5.7.1", line: "Reject::ORIG::DNS_MF"},
		{name: "A5", hello: "good.helo", from: "bad@sender.test", to: "bad@foreign.test", reply: "553 5.7.1", line: "Reject::SNDR::Invalid_Relay"},
		{name: "A6", hello: "good.helo", from: "bad@sender.test", to: "bad@ours.test", reply: "452 4.5.3", line: "Reject::RCPT::Toomany_Rcptto",
			before: strings.Repeat("C: RCPT TO:<nobody@ours.test>\nS: 550*\n", 3)},
		{name: "A8", hello: "good.helo", from: "bad@sender.test", to: "bad@ours.test", reply: "550 5.7.1", line: "Reject::RCPT::Failed_Rcptto"},
		{name: "A10 comes last", hello: "good.helo", from: "a@sender.test", to: "x@open.test", reply: "450 4.7.1", line: "Deferred::SNDR::Grey_Listed"},

		// B. a relay client
		{name: "B2", hello: "bad.helo", login: "joe", from: "bad@sender.test", to: "bad@foreign.test", reply: "553 5.7.1", line: "Reject::ORIG::Invalid_Mailfrom"},

		// C. everybody
		{name: "C1", hello: "good.helo", from: "bad@sender.test", to: "bad@open.test", reply: "553 5.7.1", line: "Reject::ORIG::Bad_Mailfrom '@'"},
		{name: "C1, a relay client", hello: "bad.helo", login: "joe", from: "bad@ours.test", to: "bad@foreign.test", reply: "553 5.7.1", line: "Reject::ORIG::Bad_Mailfrom '@'"},
		{name: "C2", hello: "good.helo", from: "a@sender.test", to: "bad@open.test", reply: "553 5.7.1", line: "Reject::RCPT::Bad_Rcptto"},
		{name: "C2, a relay client", hello: "bad.helo", login: "joe", from: "a@ours.test", to: "bad@foreign.test", reply: "553 5.7.1", line: "Reject::RCPT::Bad_Rcptto"},
		{name: "C5, a relay client", hello: "bad.helo", login: "joe", from: "a@ours.test", to: "x@foreign.test", reply: "250 2.1.5", line: "Accept::ORIG::Local_Sender"},
		{name: "C5, from nobody", hello: "bad.helo", login: "joe", to: "x@foreign.test", reply: "250 2.1.5", line: "Accept::AUTH::xclient ?~ 'joe'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, zone, everyVariable+greylister(t)+`"`, everything)
			talk := "C: XCLIENT ADDR=192.0.2.7 NAME=h.test\nS: 220*\n"
			if test.login != "" {
				talk = "C: XCLIENT ADDR=192.0.2.7 NAME=h.test LOGIN=" + test.login + "\nS: 220*\n"
			}
			if test.hello != "" {
				talk += "C: EHLO " + test.hello + "\nS: 250...\n"
			}
			talk += "C: MAIL FROM:<" + test.from + ">\nS: 250*\n" + test.before +
				"C: RCPT TO:<" + test.to + ">\nS: " + test.reply + "*\n"
			lines := s.hear(talk)
			if len(lines) == 0 {
				t.Fatal("no line")
			}
			name, tail, _ := strings.Cut(test.line, " ")
			last := lines[len(lines)-1]
			if !strings.HasPrefix(last, name+" P:") || !strings.HasSuffix(last, strings.TrimSpace("T:"+test.to+" "+tail)) {
				t.Errorf("the line is %q, want %s", last, test.line)
			}
		})
	}
}
