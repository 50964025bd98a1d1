package e2e

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail/mailtest"
)

// TestHELOCHECK: the table of filter.md, 2, with a badhelo file, over SMTP.
func TestHELOCHECK(t *testing.T) {
	zone := mailtest.NewZone(t, "h.example.org A 192.0.2.1\n mail.test MX 10 h.example.org\n null.test MX 0 .")
	zone.On(mailtest.Any, mailtest.For("broken.test")).ServFail()
	files := map[string]string{
		"control/rcpthosts": "ours.test\n",
		"control/badhelo":   "localhost\n*.invalid\n[192.168.1.2]!\nmyname.example.com\n",
	}
	for _, test := range []struct {
		variable, hello string // "-": no hello
		host            string // "": unknown
		relay           bool
		want            string // info of the line; "": let in; "451": deferred
	}{
		// the worked examples
		{variable: `HELOCHECK="."`, host: "h.example.org", hello: "-", want: "0"},
		{variable: `HELOCHECK="."`, host: "h.example.org", hello: "LOCALHOST", want: "."},
		{variable: `HELOCHECK="."`, host: "h.example.org", hello: "x.invalid", want: "*"},
		{variable: `HELOCHECK="."`, host: "h.example.org", hello: "[192.168.1.2]"},
		{variable: `HELOCHECK=""`, host: "h.example.org", hello: "-"},
		{variable: `HELOCHECK="="`, host: "h.example.org", hello: "H.example.ORG"},
		{variable: `HELOCHECK="="`, host: "h.example.org", hello: "other", want: "="},
		{variable: "", host: "h.example.org", hello: "localhost"},
		{variable: `HELOCHECK="."`, hello: "localhost", relay: true},

		// the values
		{variable: `HELOCHECK=""`, hello: "localhost", want: "."},
		{variable: `HELOCHECK="yes"`, hello: "x.invalid", want: "*"},
		{variable: `HELOCHECK="yes"`, hello: "-"},
		{variable: `HELOCHECK="!"`, hello: "localhost"},
		{variable: `HELOCHECK="!"`, hello: "-", want: "0"},
		{variable: `HELOCHECK="="`, hello: "-", want: "0"},
		{variable: `HELOCHECK="="`, hello: "unknown"},
		{variable: `HELOCHECK="="`, hello: "h.example.org", want: "="},
		{variable: `HELOCHECK="="`, host: "localhost", hello: "localhost", want: "."},
		{variable: `HELOCHECK="A"`, hello: "h.example.org"},
		{variable: `HELOCHECK="A"`, hello: "mail.test", want: "A"},
		{variable: `HELOCHECK="A"`, hello: "localhost", want: "."},
		{variable: `HELOCHECK="A"`, hello: "[192.168.1.2]"},
		{variable: `HELOCHECK="A"`, hello: "broken.test", want: "451"},
		{variable: `HELOCHECK="M"`, hello: "mail.test"},
		{variable: `HELOCHECK="M"`, hello: "h.example.org"},
		{variable: `HELOCHECK="M"`, hello: "null.test", want: "M"},
		{variable: `HELOCHECK="M"`, hello: "broken.test", want: "451"},
		{variable: `HELOCHECK="x"`, hello: "-", want: "0"},
		{variable: `HELOCHECK="x"`, hello: "localhost"},
	} {
		s := newSite(t, zone, test.variable, files)
		talk := "C: XCLIENT ADDR=192.0.2.7"
		if test.host != "" {
			talk += " NAME=" + test.host
		}
		if test.relay {
			talk += " LOGIN=joe"
		}
		talk += "\nS: 220*\n"
		if test.hello != "-" {
			talk += "C: EHLO " + test.hello + "\nS: 250...\n"
		}
		talk += "C: MAIL FROM:<a@example.net>\nS: 250*\nC: RCPT TO:<b@ours.test>\nS: "
		switch test.want {
		case "":
			talk += "250 2.1.5*\n"
		case "451":
			talk += "451 4.3.0*\n"
		default:
			talk += "550 5.7.1*\n"
		}
		lines := s.hear(talk)
		info := ""
		for _, line := range lines {
			if name, _, _ := strings.Cut(line, " "); name == "Reject::SNDR::Bad_Helo" || name == "Reject::SNDR::DNS_Helo" {
				info = strings.Trim(line[strings.LastIndexByte(line, ' '):], " '")
			}
		}
		if test.want == "451" {
			info = test.want
		}
		if info != test.want {
			t.Errorf("%s, EHLO %s from %q: info %q, want %q; lines %q", test.variable, test.hello, test.host, info, test.want, lines)
		}
	}
}

// TestMessageVariables: the tables of BADMIMETYPE and BADLOADERTYPE, filter.md, 10
// and 11.
func TestMessageVariables(t *testing.T) {
	const (
		header = "C: Content-Transfer-Encoding: base64\nC:\n"
		exe    = header + "C: TVqQAAMAAAAEAAAA\n"
		blank  = header + "C: SGVs bG8gd29ybGQ=\n"
		loader = header + "C: AAAAMi5kbGwA\n"
		plain  = "C: AAAAMi5kbGwA\n"
	)
	types := map[string]string{"control/badmimetypes": "TVqQAAMAA programs\n", "control/badloadertypes": "Mi5kb\nTIuZx\n"}
	for _, test := range []struct {
		variable string
		relay    bool
		text     string
		want     string // condition; "" for accepted
	}{
		{variable: "", text: exe},
		{variable: `BADMIMETYPE="-"`, text: exe},
		{variable: `BADMIMETYPE=""`, text: exe, want: "Bad_MIME"}, // the original has it off
		{variable: `BADMIMETYPE=""`, text: exe, relay: true, want: "Bad_MIME"},
		{variable: `BADMIMETYPE=""`, text: blank},
		{variable: `BADMIMETYPE="x"`, text: exe, want: "Bad_MIME"},
		{variable: `BADMIMETYPE="!"`, text: exe, want: "Bad_MIME"},
		{variable: `BADMIMETYPE="!"`, text: blank, want: "Bad_MIME"},
		{variable: `BADMIMETYPE="!"`, text: blank, relay: true, want: "Bad_MIME"},
		{variable: `BADMIMETYPE="+"`, text: exe, want: "Bad_MIME"},
		{variable: `BADMIMETYPE="+"`, text: blank, want: "Bad_MIME"}, // the original forgets it
		{variable: `BADMIMETYPE="+"`, text: exe, relay: true},

		{variable: "", text: loader},
		{variable: `BADLOADERTYPE="-"`, text: loader},
		{variable: `BADLOADERTYPE=""`, text: loader},
		{variable: `BADLOADERTYPE="M"`, text: loader, want: "Bad_Loader"},
		{variable: `BADLOADERTYPE="M"`, text: loader, relay: true, want: "Bad_Loader"},
		{variable: `BADLOADERTYPE="M"`, text: plain},
		{variable: `BADLOADERTYPE="T"`, text: loader},
		{variable: `BADLOADERTYPE="+"`, text: loader, want: "Bad_Loader"}, // the original checks nothing
		{variable: `BADLOADERTYPE="+"`, text: loader, relay: true},
	} {
		s := newSite(t, nil, test.variable, types)
		talk := "C: XCLIENT ADDR=192.0.2.7 LOGIN=joe\nS: 220*\n"
		if !test.relay {
			talk = "C: XCLIENT ADDR=192.0.2.7\nS: 220*\n"
		}
		reply := "250 2.0.0"
		if test.want != "" {
			reply = "554 5.3.2"
		}
		talk += "C: EHLO c\nS: 250...\nC: MAIL FROM:<a@example.net>\nS: 250*\nC: RCPT TO:<b@mx.test>\nS: 250*\nC: DATA\nS: 354*\n" +
			test.text + "C: .\nS: " + reply + "*\n" +
			// The next message of the session is judged by itself.
			"C: MAIL FROM:<a@example.net>\nS: 250*\nC: RCPT TO:<b@mx.test>\nS: 250*\nC: DATA\nS: 354*\nC: TVqQAAMAA\nC: Mi5kb\nC: .\nS: 250*\n"
		lines := s.hear(talk)
		if all := strings.Join(lines, "\n"); strings.Contains(all, "Reject::DATA::"+test.want) != (test.want != "") {
			t.Errorf("%s, relay %v, %q: lines\n%s", test.variable, test.relay, test.text, all)
		}
	}
}

// TestReplyVariables: each REPLY_… of smtpd.md, 10.2, is in its reply.
func TestReplyVariables(t *testing.T) {
	zone := mailtest.NewZone(t, "sender.test A 192.0.2.1\n ours.test A 192.0.2.2\n good.helo A 192.0.2.3")
	const strange, user = "XCLIENT ADDR=192.0.2.7 NAME=h.test", "XCLIENT ADDR=192.0.2.7 LOGIN=joe"
	const exe = "Content-Transfer-Encoding: base64\r\n\r\nTVqQAAMAA\r\n."
	files := map[string]string{"control/badmimetypes": "TVqQAAMAA\n"}
	for name, text := range everything {
		files[name] = text
	}
	for _, test := range []struct{ variable, also, client, hello, from, to, message, reply string }{
		{"REPLY_HELO", "", strange, "bad.helo", "a@sender.test", "x@open.test", "", "550 5.7.1"},
		{"REPLY_SENDEREXIST", "", strange, "good.helo", "a@gone.test", "x@open.test", "", "553 5.7.1"},
		{"REPLY_SENDERENV", "", strange, "good.helo", "a@gone.test", "x@open.test", "", "553 5.7.1"},
		{"REPLY_NOGATEWAY", "", strange, "good.helo", "a@sender.test", "x@foreign.test", "", "553 5.7.1"},
		{"REPLY_MAILBOX", "", strange, "good.helo", "a@sender.test", "nobody@ours.test", "", "550 5.7.1"},
		{"REPLY_MAILBOX", `RECIPIENTS450=""`, strange, "good.helo", "a@sender.test", "nobody@ours.test", "", "450 4.2.1"},
		{"REPLY_BADMAILFROM", "", strange, "good.helo", "bad@sender.test", "x@open.test", "", "553 5.7.1"},
		{"REPLY_BADRCPTTO", "", strange, "good.helo", "a@sender.test", "bad@open.test", "", "553 5.7.1"},
		{"REPLY_GREYLISTED", "", strange, "good.helo", "a@sender.test", "x@open.test", "", "450 4.7.1"},
		{"REPLY_SENDERINVALID", "", user, "good.helo", "a@sender.test", "x@foreign.test", "", "553 5.7.1"},
		{"REPLY_MAILFROM", "", user, "good.helo", "a@sender.test", "x@foreign.test", "", "553 5.7.1"},
		{"REPLYMAV", "", user, "good.helo", "a@sender.test", "x@foreign.test", "", "553 5.7.1"},
		{"REPLY_CONTENT", `BADMIMETYPE=""`, user, "good.helo", "a@ours.test", "x@foreign.test", exe, "554 5.3.2"},
	} {
		s := newSite(t, zone, everyVariable+greylister(t)+`" `+test.also+" "+test.variable+`="ask us (really)"`, files)
		commands := []string{test.client, "EHLO " + test.hello, "MAIL FROM:<" + test.from + ">", "RCPT TO:<" + test.to + ">"}
		if test.message != "" {
			commands = append(commands, "DATA", test.message)
		}
		if got := s.lastReply(commands); !strings.HasPrefix(got, test.reply+" ") || !strings.HasSuffix(got, "; ask us (really)") {
			t.Errorf("%s %s: %q, want %s with the text", test.variable, test.also, got, test.reply)
		}
	}
}

// TestRELAYCLIENT: whoever has it may send anywhere, past all that is asked of
// strangers, and its text is put behind each recipient before badrcptto looks.
func TestRELAYCLIENT(t *testing.T) {
	zone := mailtest.NewZone(t, "")
	for _, test := range []struct{ variable, to, reply, taken string }{
		{`RELAYCLIENT=""`, "x@foreign.test", "250", "x@foreign.test"},
		{`RELAYCLIENT=""`, "nobody@ours.test", "250", "nobody@ours.test"},
		{`RELAYCLIENT=""`, "bad@foreign.test", "553", ""},
		{`RELAYCLIENT=".gw"`, "x@foreign.test", "250", "x@foreign.test.gw"},
		{`RELAYCLIENT=".gw"`, "bad@foreign.test", "250", "bad@foreign.test.gw"},
		{`RELAYCLIENT=".test"`, "bad@foreign", "553", ""},
		{"", "x@foreign.test", "553", ""},
	} {
		variables := strings.Replace(everyVariable, `LOCALMFCHECK=""`, "", 1) + greylister(t) + `" ` + test.variable
		if test.variable == "" {
			variables = ""
		}
		s := newSite(t, zone, variables, everything)
		talk := "C: EHLO bad.helo\nS: 250...\nC: MAIL FROM:<a@gone.test>\nS: 250*\nC: RCPT TO:<" + test.to + ">\nS: " + test.reply + "*\n"
		if test.reply == "250" {
			talk += "C: DATA\nS: 354*\nC: .\nS: 250*\n"
		}
		s.hear(talk)
		got := ""
		for _, m := range s.taken.Messages() {
			got += m.Envelope.Recipients[0].Path.String()
		}
		if got != test.taken {
			t.Errorf("%s, %s: taken for %q, want %q", test.variable, test.to, got, test.taken)
		}
	}
}

// TestLocalIPHost: an address of ours is a domain of ours (smtpd.md, 4.3, 4).
func TestLocalIPHost(t *testing.T) {
	s := newSite(t, nil, "", map[string]string{"control/localiphost": "lit.test\n", "control/rcpthosts": "lit.test\n"})
	s.hear("C: XCLIENT ADDR=192.0.2.7\nS: 220*\nC: EHLO c\nS: 250...\nC: MAIL FROM:<a@[127.0.0.1]>\nS: 250*\n" +
		"C: RCPT TO:<joe@[127.0.0.1]>\nS: 250*\nC: RCPT TO:<joe@[192.0.2.99]>\nS: 553*\nC: DATA\nS: 354*\nC: .\nS: 250*\n")
	m := s.taken.Messages()[0].Envelope
	if m.ReversePath.String() != "a@lit.test" || m.Recipients[0].Path.String() != "joe@lit.test" {
		t.Errorf("from %s to %s", m.ReversePath, m.Recipients[0].Path)
	}
}
