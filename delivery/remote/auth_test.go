package remote_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestAuth is spec/remote.md 9, its vectors included.
func TestAuth(t *testing.T) {
	const challenge = "<1896.697170952@postoffice.reston.mci.net>"
	cram := "C: AUTH CRAM-MD5\nS: 334 " + b64(challenge) + "\nC: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\n"
	login := "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: " + b64("tim") + "\nS: 334 what?\nC: " + b64("tanstaaftanstaaf") + "\n"
	plain := "C: AUTH PLAIN\nS: 334\nC: " + b64("\x00tim\x00tanstaaftanstaaf") + "\n"
	rest := rcpts + datas + takes
	said := func(what, reply string) string {
		return "Connected to 192.0.2.1 but " + what + ".\nRemote host said: " + reply + "\n"
	}
	for _, tt := range []struct{ name, offered, script, want string }{
		{"CRAM-MD5 first", "AUTH LOGIN PLAIN cram-md5", cram + "S: 235 ok\n" + mails + rest, accepted},
		{"PLAIN second", "AUTH LOGIN PLAIN", plain + "S: 235 ok\n" + mails + rest, accepted},
		{"LOGIN", "AUTH X LOGIN", login + "S: 235 ok\n" + mails + rest, accepted},
		{"none in common", "AUTH GSSAPI", mails + rest, accepted},
		{"not offered", "X", mails + rest, accepted},
		{"refused at once", "AUTH PLAIN", "C: AUTH PLAIN\nS: 504 no", "Z" + said("authentication was rejected (AUTH PLAIN)", "504 no")},
		{"accepted at once", "AUTH PLAIN", "C: AUTH PLAIN\nS: 235 ok\n" + mails + rest, accepted},
		{"wrong password", "AUTH PLAIN", plain + "S: 535 no", "Z" + said("authentication was rejected (PLAIN)", "535 no")},
		{"expired", "AUTH PLAIN", plain + "S: 432 old", "D" + said("password expired", "432 old")},
		{"too weak", "AUTH PLAIN", plain + "S: 534 weak", "Z" + said("authentication mechanism too weak (PLAIN)", "534 weak")},
		{"user refused", "AUTH LOGIN", "C: AUTH LOGIN\nS: 334 x\nC: " + b64("tim") + "\nS: 535 no", "Z" + said("authentication was rejected (LOGIN)", "535 no")},
		{"no challenge", "AUTH CRAM-MD5", "C: AUTH CRAM-MD5\nS: 334 !!!\nclose", "ZConnected to 192.0.2.1 but its reply was malformed. (#4.5.0)\n"},
		{"one too many", "AUTH PLAIN", plain + "S: 334 more", "Z" + said("authentication was rejected (PLAIN)", "334 more")},
		{"EOF", "AUTH PLAIN", "C: AUTH PLAIN\nclose", died},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.hosts["192.0.2.1:587"] = []string{offers(tt.offered) + tt.script}
				a, m := w.agent(), message(mail, "u@x.test")
				m.Route.Relay = sqmail.Relay{Host: "192.0.2.1", Port: 587, User: "tim", Password: "tanstaaftanstaaf"}
				if got := short(deliver(t, a, m)[0]); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				w.done(a)
			})
		})
	}
}

func TestNoPasswordInTheClear(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.hosts["192.0.2.1:587"] = []string{offers("AUTH PLAIN") + mails + rcpts + datas + takes}
		a, m := w.agent(), message(mail, "u@x.test")
		a.RefuseClearAuth = true
		m.Route.Relay = sqmail.Relay{Host: "192.0.2.1", Port: 587, User: "tim", Password: "secret"}
		if got := short(deliver(t, a, m)[0]); got != accepted {
			t.Errorf("%q", got)
		}
		w.done(a)
	})
}

func TestPasswordAloneIsNoCredential(t *testing.T) {
	for _, relay := range []sqmail.Relay{{Password: "secret"}, {User: "tim"}} {
		bubble(t, func(t *testing.T, w *world) {
			relay.Host = "192.0.2.1"
			w.hosts["192.0.2.1:25"] = []string{offers("AUTH PLAIN") + mails + rcpts + datas + takes}
			a, m := w.agent(), message(mail, "u@x.test")
			m.Route.Relay = relay
			if got := short(deliver(t, a, m)[0]); got != accepted {
				t.Errorf("%q", got)
			}
			w.done(a)
		})
	}
}

// TestUserInMail: AUTH= takes a mailbox, as xtext, and nothing else
// (RFC 4954, 5).
func TestUserInMail(t *testing.T) {
	for user, param := range map[string]string{
		"a+b=c@x.test":  " AUTH=a+2Bb+3Dc@x.test",
		"ü@x.test":      " AUTH=+C3+BC@x.test",
		`"a b"@x.test`:  ` AUTH="a+20b"@x.test`,
		"tim":           "",
		"tim@":          "",
		"a\r\nb@x.test": "",
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.hosts["192.0.2.1:25"] = []string{offers("AUTH PLAIN") + "C: AUTH PLAIN\nS: 235 ok\n" +
				strings.Replace(mails, "test>\n", "test>"+param+"\n", 1) + rcpts + datas + takes}
			a, m := w.agent(), message(mail, "u@x.test")
			m.Route.Relay = sqmail.Relay{Host: "192.0.2.1", User: user, Password: "x"}
			if got := short(deliver(t, a, m)[0]); got != accepted {
				t.Errorf("%q: %q", user, got)
			}
			w.done(a)
		})
	}
}
