package remote_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

// The beginnings and the end of dialogues, as far as all goes well.
const (
	greets = "S: 220 mx.x.test\nC: EHLO me.test\nS: 250 mx.x.test\n"
	pipes  = "S: 220 mx.x.test\nC: EHLO me.test\nS: 250-mx.x.test\nS: 250 PIPELINING\n"
	mails  = "C: MAIL FROM:<s@me.test>\nS: 250 ok\n"
	rcpts  = "C: RCPT TO:<u@x.test>\nS: 250 ok\n"
	datas  = "C: DATA\nS: 354 go\n"
	takes  = "B:\nS: 250 2.0.0 queued\n"
	group  = "C: MAIL FROM:<s@me.test>\nC: RCPT TO:<u@x.test>\nC: DATA\n"

	accepted = "K192.0.2.1 accepted message.\nRemote host said: 250 2.0.0 queued\n"
	died     = "ZConnected to 192.0.2.1 but connection died. (#4.4.2)\n"
	noConn   = "ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
)

// TestReplies is spec/remote.md 8, row by row.
func TestReplies(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"all well", greets + mails + rcpts + datas + takes, accepted},
		{"pipelined", pipes + group + "S: 250 ok\nS: 250 ok\nS: 354 go\n" + takes, accepted},
		{"HELO", "S: 220 x\nC: EHLO me.test\nS: 502 what\nC: HELO me.test\nS: 250 ok\n" + mails + rcpts + datas + takes, accepted},
		{"no extensions after HELO", "S: 220 x\nC: EHLO me.test\nS: 500 what\nC: HELO me.test\nS: 250-x\nS: 250 SIZE\n" + mails + rcpts + datas + takes, accepted},

		{"greeting 554", "S: 554 go away", "DConnected to 192.0.2.1 but sender was rejected.\nRemote host said: 554 go away\n"},
		{"greeting 421", "S: 421 busy", "ZConnected to 192.0.2.1 but greylisted.\nRemote host said: 421 busy\n"},
		{"greeting 450", "S: 450 busy", "ZConnected to 192.0.2.1 but greylisted.\nRemote host said: 450 busy\n"},
		{"greeting 451", "S: 451 busy", "ZConnected to 192.0.2.1 but greeting failed.\nRemote host said: 451 busy\n"},
		{"greeting 250", "S: 250 hi", "ZConnected to 192.0.2.1 but greeting failed.\nRemote host said: 250 hi\n"},
		{"greeting EOF", "close", died},
		{"greeting nonsense", "S: hello there\nclose", "ZConnected to 192.0.2.1 but its reply was malformed. (#4.5.0)\n"},

		{"HELO 550", "S: 220 x\nC: EHLO me.test\nS: 550 no\nC: HELO me.test\nS: 550 no", "DConnected to 192.0.2.1 but my name was rejected.\nRemote host said: 550 no\n"},
		{"HELO 450", "S: 220 x\nC: EHLO me.test\nS: 450 no\nC: HELO me.test\nS: 450 no", "ZConnected to 192.0.2.1 but my name was rejected.\nRemote host said: 450 no\n"},
		{"EHLO 421", "S: 220 x\nC: EHLO me.test\nS: 421 bye\nclose", "ZConnected to 192.0.2.1 but my name was rejected.\nRemote host said: 421 bye\n"},
		{"EHLO EOF", "S: 220 x\nC: EHLO me.test\nclose", died},

		{"MAIL 550", greets + "C: MAIL FROM:<s@me.test>\nS: 550 5.7.1 no", "DConnected to 192.0.2.1 but sender was rejected.\nRemote host said: 550 5.7.1 no\n"},
		{"MAIL 451", greets + "C: MAIL FROM:<s@me.test>\nS: 451 no", "ZConnected to 192.0.2.1 but sender was greylisted.\nRemote host said: 451 no\n"},
		{"MAIL 421", greets + "C: MAIL FROM:<s@me.test>\nS: 421 no\nclose", "ZConnected to 192.0.2.1 but sender was greylisted.\nRemote host said: 421 no\n"},
		{"MAIL EOF", greets + "C: MAIL FROM:<s@me.test>\nclose", died},
		{"pipelined MAIL 550", pipes + group + "S: 550 no\nS: 503 no\nS: 503 no", "DConnected to 192.0.2.1 but sender was rejected.\nRemote host said: 550 no\n"},
		{"pipelined MAIL 550, then 354", pipes + group + "S: 550 no\nS: 503 no\nS: 354 go\nclose", "ZConnected to 192.0.2.1 but its reply was malformed. (#4.5.0)\n"},

		{"RCPT 550", greets + mails + "C: RCPT TO:<u@x.test>\nS: 550 5.1.1 who", "D192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 who\nGiving up on 192.0.2.1.\n"},
		{"RCPT 552", greets + mails + "C: RCPT TO:<u@x.test>\nS: 552 full", "D192.0.2.1 does not like recipient.\nRemote host said: 552 full\nGiving up on 192.0.2.1.\n"},
		{"RCPT 450", greets + mails + "C: RCPT TO:<u@x.test>\nS: 450 later", "Z192.0.2.1 probably greylisting.\nRemote host said: 450 later\nGiving up on 192.0.2.1.\n"},
		{"RCPT 451", greets + mails + "C: RCPT TO:<u@x.test>\nS: 451 later", "Z192.0.2.1 does not like recipient.\nRemote host said: 451 later\nGiving up on 192.0.2.1.\n"},
		{"RCPT 452 alone", greets + mails + "C: RCPT TO:<u@x.test>\nS: 452 full", "Z192.0.2.1 does not like recipient.\nRemote host said: 452 full\nGiving up on 192.0.2.1.\n"},
		{"RCPT 421", greets + mails + "C: RCPT TO:<u@x.test>\nS: 421 bye\nclose", "Z192.0.2.1 probably greylisting.\nRemote host said: 421 bye\nConnected to 192.0.2.1 but connection died.\nRemote host said: 421 bye\n"},
		{"RCPT EOF", greets + mails + "C: RCPT TO:<u@x.test>\nclose", died},
		{"pipelined RCPT 550", pipes + group + "S: 250 ok\nS: 550 who\nS: 554 none", "D192.0.2.1 does not like recipient.\nRemote host said: 550 who\nGiving up on 192.0.2.1.\n"},
		{"pipelined RCPT 550, then 354", pipes + group + "S: 250 ok\nS: 550 who\nS: 354 go\nC: .\nS: 554 none", "D192.0.2.1 does not like recipient.\nRemote host said: 550 who\nGiving up on 192.0.2.1.\n"},

		{"DATA 554", greets + mails + rcpts + "C: DATA\nS: 554 no", "D192.0.2.1 failed on DATA command.\nRemote host said: 554 no\n"},
		{"DATA 451", greets + mails + rcpts + "C: DATA\nS: 451 no", "Z192.0.2.1 message was greylisted.\nRemote host said: 451 no\n"},
		{"DATA 452", greets + mails + rcpts + "C: DATA\nS: 452 no", "Z192.0.2.1 failed on DATA command.\nRemote host said: 452 no\n"},
		{"DATA 421", greets + mails + rcpts + "C: DATA\nS: 421 bye\nclose", "Z192.0.2.1 failed on DATA command.\nRemote host said: 421 bye\n"},
		{"DATA 250", greets + mails + rcpts + "C: DATA\nS: 250 ok\nclose", "ZConnected to 192.0.2.1 but its reply was malformed. (#4.5.0)\n"},
		{"DATA EOF", greets + mails + rcpts + "C: DATA\nclose", died},

		{"dot 554", greets + mails + rcpts + datas + "B:\nS: 554 spam", "D192.0.2.1 failed after I sent the message.\nRemote host said: 554 spam\n"},
		{"dot 451", greets + mails + rcpts + datas + "B:\nS: 451 later", "Z192.0.2.1 failed after I sent the message.\nRemote host said: 451 later\n"},
		{"dot 421", greets + mails + rcpts + datas + "B:\nS: 421 later\nclose", "Z192.0.2.1 failed after I sent the message.\nRemote host said: 421 later\n"},
		{"dot multi-line", greets + mails + rcpts + datas + "B:\nS: 250-one\nS: 250 two", "K192.0.2.1 accepted message.\nRemote host said: 250-one\n250 two\n"},
		{"body EOF", greets + mails + rcpts + datas + "close", died},

		{"codes differ", greets + "C: MAIL FROM:<s@me.test>\nS: 250-one\nS: 550 two\nclose", "ZConnected to 192.0.2.1 but its reply was malformed. (#4.5.0)\n"},
		{"code 199", greets + "C: MAIL FROM:<s@me.test>\nS: 199 what\nclose", "ZConnected to 192.0.2.1 but its reply was malformed. (#4.5.0)\n"},
		{"control characters", greets + "C: MAIL FROM:<s@me.test>\nS: 550 \x00a\x1bb\rc\xffd", "DConnected to 192.0.2.1 but sender was rejected.\nRemote host said: 550 ?a?bc?d\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = []string{tt.script}
				a := w.agent()
				if got := one(t, a); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				w.done(a)
				if ended := !strings.Contains(tt.script, "close") && !strings.Contains(tt.script, "421"); ended && w.ended() != 1 {
					t.Error("the session did not end with QUIT")
				}
			})
		})
	}
}

func TestLossOfTheFinalReplyIsInDoubt(t *testing.T) {
	for _, end := range []string{"close", "hang", "S: what?\nclose", "S: 354 go\nclose"} {
		bubble(t, func(t *testing.T, w *world) {
			w.hosts["192.0.2.1:25"] = []string{greets + mails + rcpts + datas + "B:\n" + end}
			a := w.agent()
			o := deliver(t, a, message(mail, "u@x.test"))[0]
			if want := "ZConnected to 192.0.2.1 but connection died. Possible duplicate! (#4.4.2)\n"; short(o) != want || !o.InDoubt {
				t.Errorf("%s: %q, in doubt: %v", end, short(o), o.InDoubt)
			}
			w.done(a)
		})
	}
}

func TestEachRecipientHasItsOutcome(t *testing.T) {
	const to = "C: RCPT TO:<a@x.test>\nC: RCPT TO:<b@x.test>\nC: RCPT TO:<c@x.test>\n"
	for _, tt := range []struct {
		name, answers string
		want          []string
	}{
		{"accepted", "S: 550 no\nS: 450 later\nS: 250 ok\nS: 354 go\nB:\nS: 250 took", []string{
			"D192.0.2.1 does not like recipient.\nRemote host said: 550 no\n",
			"Z192.0.2.1 probably greylisting.\nRemote host said: 450 later\n",
			"K192.0.2.1 accepted message.\nRemote host said: 250 took\n",
		}},
		{"deferred", "S: 550 no\nS: 450 later\nS: 250 ok\nS: 354 go\nB:\nS: 451 hm", []string{
			"D192.0.2.1 does not like recipient.\nRemote host said: 550 no\n",
			"Z192.0.2.1 probably greylisting.\nRemote host said: 450 later\n192.0.2.1 failed after I sent the message.\nRemote host said: 451 hm\n",
			"Z192.0.2.1 failed after I sent the message.\nRemote host said: 451 hm\n",
		}},
		{"rejected", "S: 550 no\nS: 450 later\nS: 250 ok\nS: 354 go\nB:\nS: 554 spam", []string{
			"D192.0.2.1 does not like recipient.\nRemote host said: 550 no\n192.0.2.1 failed after I sent the message.\nRemote host said: 554 spam\n",
			"Z192.0.2.1 probably greylisting.\nRemote host said: 450 later\n192.0.2.1 failed after I sent the message.\nRemote host said: 554 spam\n",
			"D192.0.2.1 failed after I sent the message.\nRemote host said: 554 spam\n",
		}},
		{"421 in between", "S: 550 no\nS: 421 bye\nclose", []string{
			"D192.0.2.1 does not like recipient.\nRemote host said: 550 no\n",
			"Z192.0.2.1 probably greylisting.\nRemote host said: 421 bye\nConnected to 192.0.2.1 but connection died.\nRemote host said: 421 bye\n",
			"ZConnected to 192.0.2.1 but connection died.\nRemote host said: 421 bye\n",
		}},
		{"EOF in between", "S: 550 no\nclose", []string{
			"D192.0.2.1 does not like recipient.\nRemote host said: 550 no\n",
			died, died,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = []string{pipes + "C: MAIL FROM:<s@me.test>\n" + to + "C: DATA\nS: 250 ok\n" + tt.answers}
				a := w.agent()
				for i, o := range deliver(t, a, message(mail, "a@x.test", "b@x.test", "c@x.test")) {
					if short(o) != tt.want[i] {
						t.Errorf("recipient %d\ngot  %q\nwant %q", i, short(o), tt.want[i])
					}
				}
				w.done(a)
			})
		})
	}
}

func TestOutcomeHoldsReplyAndPlace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.hosts["192.0.2.1:25"] = []string{greets + mails + "C: RCPT TO:<u@x.test>\nS: 550-5.1.1 who\nS: 550 5.1.1 is it"}
		a := w.agent()
		o := deliver(t, a, message(mail, "u@x.test"))[0]
		if o.Reply != (sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 1}, Text: "who\nis it"}) {
			t.Errorf("reply %+v", o.Reply)
		}
		if o.Where != "mx.x.test [192.0.2.1]" {
			t.Errorf("where %q", o.Where)
		}
		w.done(a)
	})
}

func TestRecipientsBeyondTheLimitFollow(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"ours", pipes +
			"C: MAIL FROM:<s@me.test>\nC: RCPT TO:<a@x.test>\nC: RCPT TO:<b@x.test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" + takes +
			"C: MAIL FROM:<s@me.test>\nC: RCPT TO:<c@x.test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" + takes},
		{"the peer's", pipes +
			"C: MAIL FROM:<s@me.test>\nC: RCPT TO:<a@x.test>\nC: RCPT TO:<b@x.test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 452 4.5.3 too many\nS: 354 go\n" + takes +
			"C: MAIL FROM:<s@me.test>\nC: RCPT TO:<b@x.test>\nC: RCPT TO:<c@x.test>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" + takes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:25"] = []string{tt.script}
				a := w.agent()
				a.MaxRecipients = 2
				for _, o := range deliver(t, a, message(mail, "a@x.test", "b@x.test", "c@x.test")) {
					if short(o) != accepted {
						t.Errorf("%q", short(o))
					}
				}
				w.done(a)
			})
		})
	}
}

func TestManyRecipientsGoInGroups(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		script := pipes + "C: MAIL FROM:<s@me.test>\n"
		var to []string
		long := strings.Repeat("u", 60)
		size, waiting := len("MAIL FROM:<s@me.test>\r\n"), 1
		for i := range 90 {
			r := long + string(rune('a'+i%26)) + "@x.test"
			to = append(to, r)
			script += "C: RCPT TO:<" + r + ">\n"
			size, waiting = size+len("RCPT TO:<>\r\n")+len(r), waiting+1
			if size >= 4096 {
				script += strings.Repeat("S: 250 ok\n", waiting)
				size, waiting = 0, 0
			}
		}
		script += "C: DATA\n" + strings.Repeat("S: 250 ok\n", waiting) + "S: 354 go\n" + takes
		w.hosts["192.0.2.1:25"] = []string{script}
		a := w.agent()
		for _, o := range deliver(t, a, message(mail, to...)) {
			if short(o) != accepted {
				t.Fatalf("%q", short(o))
			}
		}
		w.done(a)
	})
}

func TestBodyOnTheWire(t *testing.T) {
	for text, want := range map[string]string{
		"Subject: hi\n\n.yo\n..\n.\n":     "Subject: hi\r\n\r\n..yo\r\n...\r\n..\r\n",
		"a\r\nb\rc\n":                     "a\r\nb\r\nc\r\n",
		"":                                "",
		"\xff\x00\n":                      "\xff\x00\r\n",
		strings.Repeat("x", 70000) + "\n": strings.Repeat("x", 70000) + "\r\n",
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.hosts["192.0.2.1:25"] = []string{greets + mails + rcpts + datas + takes}
			a := w.agent()
			if got := short(deliver(t, a, message(text, "u@x.test"))[0]); got != accepted {
				t.Errorf("%.40q: %q", text, got)
			}
			w.done(a)
			if !slices.Equal(w.bodies, []string{want}) {
				t.Errorf("%.40q was sent as %.60q", text, w.bodies)
			}
		})
	}
}
