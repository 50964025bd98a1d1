package remote_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

// offers is the beginning of a dialogue with extensions.
func offers(extensions ...string) string {
	s := "S: 220 x\nC: EHLO me.test\nS: 250-x\n"
	for _, e := range extensions {
		s += "S: 250-" + e + "\n"
	}
	return s + "S: 250 HELP\n"
}

// TestParameters: what is sent with MAIL and RCPT depends on what is offered,
// and needed.
func TestParameters(t *testing.T) {
	full := func(m *sqmail.Message) {
		m.Envelope.Return, m.Envelope.EnvelopeID = sqmail.ReturnHeaders, "a+b=c d"
		m.Envelope.Recipients[0].Notify = sqmail.NotifySuccess | sqmail.NotifyDelay
		m.Envelope.Recipients[0].Original = "rfc822;u+1@x.test"
	}
	for _, tt := range []struct {
		name, text, offered, mail, rcpt string
		change                          func(*sqmail.Message)
	}{
		{"SIZE counts line ends", mail, "SIZE", " SIZE=20", "", nil},
		{"SIZE of odd line ends", "a\r\nb\rc\n\r\r\n", "SIZE 1000", " SIZE=13", "", nil},
		{"8BITMIME for 7 bits", mail, "8BITMIME", "", "", nil},
		{"8BITMIME for 8 bits", "S: x\n\n\xe4\n", "8BITMIME", " BODY=8BITMIME", "", nil},
		{"8 bits, not offered", "S: x\n\n\xe4\n", "", "", "", nil},
		{"SMTPUTF8 without need", mail, "SMTPUTF8", "", "", nil},
		{"SMTPUTF8 for a header", "S: \xc3\xa4\n\nx\n", "SMTPUTF8", " SMTPUTF8", "", nil},
		{"8-bit header, not offered", "S: \xc3\xa4\n\nx\n", "", "", "", nil},
		{"DSN", mail, "DSN", " RET=HDRS ENVID=a+2Bb+3Dc+20d", " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;u+2B1@x.test", full},
		{"DSN, never", mail, "DSN", "", " NOTIFY=NEVER", func(m *sqmail.Message) { m.Envelope.Recipients[0].Notify = sqmail.NotifyNever }},
		{"DSN not offered", mail, "", "", "", full},
		{"DSN with poison", mail, "DSN", " ENVID=a+0D+0AQUIT", " ORCPT=x+0Ay;+C3+A4", func(m *sqmail.Message) {
			m.Envelope.Return, m.Envelope.EnvelopeID = "FULL\r\nQUIT", "a\r\nQUIT"
			m.Envelope.Recipients[0].Original = "x\ny;ä"
		}},
		{"keywords in any case", mail, "size 100\nS: 250-Dsn x", " SIZE=20", " NOTIFY=NEVER", func(m *sqmail.Message) { m.Envelope.Recipients[0].Notify = sqmail.NotifyNever }},
		{"other keywords", mail, "X-SIZE 1\nS: 250-XSTARTTLS\nS: 250-8BITMIMEX\nS: 250-NO SIZE", "", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				var extensions []string
				if tt.offered != "" {
					extensions = []string{tt.offered}
				}
				w.hosts["192.0.2.1:25"] = []string{offers(extensions...) +
					"C: MAIL FROM:<s@me.test>" + tt.mail + "\nS: 250 ok\nC: RCPT TO:<u@x.test>" + tt.rcpt + "\nS: 250 ok\n" + datas + takes}
				a, m := w.agent(), message(tt.text, "u@x.test")
				if tt.change != nil {
					tt.change(m)
				}
				o := deliver(t, a, m)[0]
				if short(o) != accepted || o.Notifies != strings.Contains(strings.ToUpper(tt.offered), "DSN") {
					t.Errorf("%q, Notifies: %v", short(o), o.Notifies)
				}
				w.done(a)
			})
		})
	}
}

func TestAddressesOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		name       string
		from, to   sqmail.Path
		offered    string
		mail, rcpt string
	}{
		{"null reverse-path", sqmail.Path{}, sqmail.PathOf("u@x.test"), "", "<>", "<u@x.test>"},
		{"quoted", sqmail.PathOf("a b@me.test"), sqmail.PathOf(`a"@x.test`), "", `<"a b"@me.test>`, `<"a\""@x.test>`},
		{"quotes missing", sqmail.Path{Local: "a b", Domain: "me.test"}, sqmail.Path{Local: "a>b", Domain: "x.test"}, "", `<"a b"@me.test>`, `<"a>b"@x.test>`},
		{"domain to A-labels", sqmail.PathOf("s@münchen.test"), sqmail.PathOf("u@x.test"), "", "<s@xn--mnchen-3ya.test>", "<u@x.test>"},
		{"domain to A-labels, offered", sqmail.PathOf("s@münchen.test"), sqmail.PathOf("u@x.test"), "SMTPUTF8", "<s@xn--mnchen-3ya.test>", "<u@x.test>"},
		{"local part", sqmail.PathOf("ü@münchen.test"), sqmail.PathOf("u@x.test"), "SMTPUTF8", "<ü@münchen.test> SMTPUTF8", "<u@x.test>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = []string{offers("X", tt.offered) +
					"C: MAIL FROM:" + tt.mail + "\nS: 250 ok\nC: RCPT TO:" + tt.rcpt + "\nS: 250 ok\n" + datas + takes}
				a, m := w.agent(), message(mail, "")
				m.Envelope.ReversePath, m.Envelope.Recipients[0].Path = tt.from, tt.to
				if got := short(deliver(t, a, m)[0]); got != accepted {
					t.Errorf("%q", got)
				}
				w.done(a)
			})
		})
	}
}

// TestRefusedBeforeConnecting: what SMTP cannot carry is known at once.
func TestRefusedBeforeConnecting(t *testing.T) {
	const badTo, badFrom = "DSMTP cannot carry the recipient's address. (#5.1.3)\n", "DSMTP cannot carry the sender's address. (#5.1.7)\n"
	path := func(to sqmail.Path) func(*sqmail.Message) {
		return func(m *sqmail.Message) { m.Envelope.Recipients[0].Path = to }
	}
	for _, tt := range []struct {
		name, text, want string
		change           func(*sqmail.Message)
	}{
		{"partial line", "Subject: x\n\nno end", "DSMTP cannot transfer messages with partial final lines. (#5.6.2)\n", nil},
		{"line break", mail, badTo, path(sqmail.PathOf("a\r\nQUIT@x.test"))},
		{"line break in the domain", mail, badTo, path(sqmail.Path{Local: "a", Domain: "x.test>\r\nQUIT"})},
		{"bracket in the domain", mail, badTo, path(sqmail.Path{Local: "a", Domain: "x.test> NOTIFY=NEVER"})},
		{"no recipient", mail, badTo, path(sqmail.Path{})},
		{"too long", mail, badTo, path(sqmail.PathOf(strings.Repeat("a", 900) + "@x.test"))},
		{"sender", mail, badFrom, func(m *sqmail.Message) { m.Envelope.ReversePath = sqmail.PathOf("a\nb@x.test") }},
		{"no domain", mail, "DSorry, I couldn't find any host named . (#5.1.2)\n", path(sqmail.PathOf("postmaster"))},
		{"unreadable", mail, "ZUnable to read message. (#4.3.0)\n", func(m *sqmail.Message) { m.Content = broken{} }},
		{"shorter than it says", mail, "ZUnable to read message. (#4.3.0)\n", func(m *sqmail.Message) { m.Size++ }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				a, m := w.agent(), message(tt.text, "u@x.test")
				if tt.change != nil {
					tt.change(m)
				}
				if got := short(deliver(t, a, m)[0]); got != tt.want || len(w.calls()) > 0 {
					t.Errorf("%q, called %q", got, w.calls())
				}
			})
		})
	}
}

// TestDoubleBouncesHaveTheNullPath: the reverse-path "#@[]" is known to qmail
// alone.
func TestDoubleBouncesHaveTheNullPath(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.hosts["192.0.2.1:25"] = []string{offers() +
			"C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<u@x.test>\nS: 250 ok\n" + datas + takes}
		m := message(mail, "u@x.test")
		m.Envelope.ReversePath = sqmail.PathOf("#@[]")
		a := w.agent()
		defer a.Close()
		if o := deliver(t, a, m)[0]; o.Class != sqmail.Accepted {
			t.Errorf("%q", short(o))
		}
	})
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("input/output error") }

// failsLater can be read once, and then no more.
type failsLater struct {
	strings.Reader
	reads int
}

func (f *failsLater) ReadAt(p []byte, at int64) (int, error) {
	if f.reads--; f.reads < 0 {
		return 0, errors.New("input/output error")
	}
	return f.Reader.ReadAt(p, at)
}

func TestUnreadableBodyIsNeverEnded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		text := strings.Repeat("0123456789abcde\n", 4096)
		w.hosts["192.0.2.1:25"] = []string{greets + mails + rcpts + datas + "B:\nclose"}
		a, m := w.agent(), message(text, "u@x.test")
		m.Content = &failsLater{*strings.NewReader(text), 3} // two to look at it, one of two to send it
		if got := short(deliver(t, a, m)[0]); got != "ZUnable to read message. (#4.3.0)\n" {
			t.Errorf("%q", got)
		}
		w.done(a)
		if strings.Count(w.bodies[0], "\n") >= 4096 {
			t.Error("the peer got a whole message")
		}
	})
}

func TestRefusedBeforeMail(t *testing.T) {
	for _, tt := range []struct {
		name, offered, want string
		change              func(*sqmail.Message)
	}{
		{"too large", "SIZE 19", "DConnected to 192.0.2.1 but message too large (#5.3.4)\n", nil},
		{"UTF-8 local part", "X", "DConnected to 192.0.2.1 but it does not take internationalized addresses. (#5.6.7)\n",
			func(m *sqmail.Message) { m.Envelope.Recipients[0].Path.Local = "ü" }},
		{"UTF-8 sender", "X", "DConnected to 192.0.2.1 but it does not take internationalized addresses. (#5.6.7)\n",
			func(m *sqmail.Message) { m.Envelope.ReversePath.Local = "ü" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = []string{offers(tt.offered)}
				a, m := w.agent(), message(mail, "u@x.test")
				if tt.change != nil {
					tt.change(m)
				}
				if got := short(deliver(t, a, m)[0]); got != tt.want {
					t.Errorf("%q", got)
				}
				w.done(a)
			})
		})
	}
}

func TestOnlyWhoNeedsUTF8IsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.hosts["192.0.2.1:25"] = []string{takesAll}
		a := w.agent()
		out := deliver(t, a, message(mail, "ü@x.test", "u@x.test"))
		if out[0].Class != sqmail.Rejection || short(out[1]) != accepted {
			t.Errorf("%v", out)
		}
		w.done(a)
	})
}

// TestRefusalWhileSending: a peer that has had enough says so, and hangs up.
func TestRefusalWhileSending(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.hosts["192.0.2.1:25"] = []string{greets + mails + rcpts + datas + "close"}
		a := w.agent()
		if got := short(deliver(t, a, message(strings.Repeat("x\n", 100_000), "u@x.test"))[0]); got != died {
			t.Errorf("%q", got)
		}
		w.done(a)
	})
}

func TestLMTP(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.hosts["192.0.2.1:24"] = []string{"S: 220 x\nC: LHLO me.test\nS: 250-x\nS: 250 PIPELINING\n" +
			"C: MAIL FROM:<s@me.test>\nC: RCPT TO:<a@x.test>\nC: RCPT TO:<b@x.test>\nC: RCPT TO:<c@x.test>\nC: RCPT TO:<d@x.test>\nC: DATA\n" +
			"S: 250 ok\nS: 250 ok\nS: 550 who\nS: 250 ok\nS: 250 ok\nS: 354 go\nB:\nS: 250 a has it\nS: 552 c is full\nclose"}
		a, m := w.agent(), message(mail, "a@x.test", "b@x.test", "c@x.test", "d@x.test")
		m.Route.Relay = sqmail.Relay{Host: "192.0.2.1", Protocol: "lmtp"}
		want := []string{
			"K192.0.2.1 accepted message.\nRemote host said: 250 a has it\n",
			"D192.0.2.1 does not like recipient.\nRemote host said: 550 who\n",
			"D192.0.2.1 failed after I sent the message.\nRemote host said: 552 c is full\n",
			"ZConnected to 192.0.2.1 but connection died. Possible duplicate! (#4.4.2)\n",
		}
		for i, o := range deliver(t, a, m) {
			if got := short(o); got != want[i] {
				t.Errorf("recipient %d: %q", i, got)
			}
		}
		w.done(a)
	})
	bubble(t, func(t *testing.T, w *world) { // a peer that wants the message for nobody
		w.hosts["192.0.2.1:24"] = []string{"S: 220 x\nC: LHLO me.test\nS: 250-x\nS: 250 PIPELINING\n" + group + "S: 250 ok\nS: 550 who\nS: 354 go\nhang"}
		a, m := w.agent(), message(mail, "u@x.test")
		m.Route.Relay = sqmail.Relay{Host: "192.0.2.1", Protocol: "lmtp"}
		if got := short(deliver(t, a, m)[0]); got != "D192.0.2.1 does not like recipient.\nRemote host said: 550 who\nGiving up on 192.0.2.1.\n" {
			t.Errorf("%q", got)
		}
		w.done(a)
	})
}
