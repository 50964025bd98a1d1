package gosmtp_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/gosmtp"
)

func TestEveryStepReachesTheBackend(t *testing.T) {
	var b backend
	server := start(t, &b)
	server.Talk(t, `S: 220*
C: EHLO client.test
S: 250...
C: MAIL FROM:<"a b"@x.test> BODY=8BITMIME SIZE=20 SMTPUTF8 RET=HDRS ENVID=q+2B1
S: 250 2.1.0*
C: RCPT TO:<b@example.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2B@example.test
S: 250 2.1.5*
C: RCPT TO:<none@example.test>
S: 550-5.0.0 not
S: 550 5.0.0 here
C: DATA
S: 354*
C: one
C: ..two
C: .
S: 250 2.0.0 ok *
C: MAIL FROM:<>
S: 250*
C: RSET
S: 250*
C: RSET
S: 250*
`)
	server.Close()
	b.want(t,
		"begin client.test",
		`mail "a b"@x.test 8BITMIME 20 true HDRS q+1 false false`,
		"rcpt b@example.test [DELAY SUCCESS] RFC822 c+@example.test",
		"rcpt none@example.test []  ",
		`data "one\r\n.two\r\n" <nil>`,
		"reset",
		"mail   0 false   false false",
		"reset",
		"logout")
}

func TestAnswersOfTheBackend(t *testing.T) {
	start(t, new(backend)).Talk(t, `S: 220*
C: EHLO vague
S: 451 4.3.0 temporary failure, try again later
C: EHLO no
S: 550...
C: MAIL FROM:<a@x.test>
S: 503*
C: EHLO c
S: 250...
C: MAIL FROM:<busy@x.test>
S: 450 4.2.1 later
C: MAIL FROM:<vague@x.test>
S: 451 4.3.0 temporary failure, try again later
C: MAIL FROM:<odd@x.test>
S: 451 4.3.0 temporary failure, try again later
C: MAIL FROM:<fine@x.test>
S: 250 2.1.0 ok
C: RCPT TO:<fine@x.test>
S: 250 2.1.5 ok
C: DATA
S: 354*
C: fine
C: .
S: 250 2.0.0 ok *
C: MAIL FROM:<a@x.test>
C: RCPT TO:<b@x.test>
C: DATA
S: 250*
S: 250*
S: 354*
C: vague
C: .
S: 451 4.3.0 temporary failure, try again later
C: MAIL FROM:<leave@x.test>
S: 421 4.0.0 bye
END
`)
}

func TestTextOfSuccessIsTold(t *testing.T) {
	c := start(t, new(backend)).Dial(t)
	c.Do("EHLO c", 250)
	if r := c.Mail("a@x.test", "b@x.test", "fine\n"); !strings.HasSuffix(r, " qp number 7") {
		t.Errorf("%q", r)
	}
}

func TestSessionBeginsAnewUnderTLS(t *testing.T) {
	var b backend
	var states []bool
	b.onConn = func(c *smtp.Conn) { states = append(states, gosmtp.Peer(c).TLS != nil) }
	server := start(t, &b)
	c := server.Dial(t)
	c.Do("EHLO one", 250)
	c.Do("EHLO again", 250)
	c.StartTLS()
	c.Do("EHLO two", 250)
	c.Do("QUIT", 221)
	server.Close()
	b.want(t, "begin one", "logout", "begin two", "logout")
	if len(states) != 2 || states[0] || !states[1] {
		t.Errorf("TLS: %v", states)
	}
}

func TestConnTellsTheTruth(t *testing.T) {
	var b backend
	var remote, local net.Addr
	var domain string
	b.onConn = func(c *smtp.Conn) {
		remote, local, domain = c.Conn().RemoteAddr(), c.Conn().LocalAddr(), c.Server().Domain
		if _, ok := c.TLSConnectionState(); ok || c.Session() != nil {
			t.Error("there is neither TLS nor a session")
		}
		if p := gosmtp.Peer(c); p == nil || p.Hello != "c.test" {
			t.Errorf("Peer = %+v", p)
		}
	}
	server := start(t, &b, func(s *smtp.Server) { s.Domain = "mx.test" })
	c := server.Dial(t)
	c.Do("EHLO c.test", 250)
	if remote.String() != c.LocalAddr().String() || local.String() != server.Addr || domain != "mx.test" {
		t.Errorf("%v, %v, %s", remote, local, domain)
	}
	if p := gosmtp.Peer(new(smtp.Conn)); p != nil {
		t.Errorf("Peer of a foreign Conn: %v", p)
	}
}

func TestBackendMayCloseTheConnection(t *testing.T) {
	start(t, new(backend)).Talk(t, "S: 220*\nC: EHLO c\nS: 250...\nC: MAIL FROM:<close@x.test>\nS: 421 4.3.2 closing\nEND\n")
	reject := &backend{onConn: (*smtp.Conn).Reject}
	start(t, reject).Talk(t, "S: 220*\nC: EHLO c\nS: 421 4.3.2 closing\nEND\n")
}

// go-smtp's own client finds what it would find at go-smtp's server.
func TestClientOfGoSMTP(t *testing.T) {
	b := new(authBackend)
	settings := smtp.NewServer(b)
	settings.Domain, settings.AllowInsecureAuth, settings.MaxMessageBytes = "mx.test", true, 1000
	server := gosmtp.From(settings)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	c, err := smtp.Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(sasl.NewPlainClient("", "joe", "secret")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("a@x.test", []string{"b@x.test"}, strings.NewReader("hello\r\n")); err != nil {
		t.Error(err)
	}
	if err := c.Mail("a@x.test", nil); err != nil {
		t.Error(err)
	}
	if err := c.Rcpt("no@x.test", nil); err == nil || err.(*smtp.SMTPError).Code != 550 {
		t.Errorf("refused with %v", err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	server.Close()
	if err := <-done; err != smtpd.ErrServerClosed {
		t.Error(err)
	}
	b.want(t, "auth PLAIN", "user joe", "mail a@x.test 8BITMIME 0 false   false false", "rcpt b@x.test []  ",
		`data "hello\r\n" <nil>`, "reset", "mail a@x.test 8BITMIME 0 false   false false", "rcpt no@x.test []  ", "reset", "logout")
}

func TestSettingsAreTakenOver(t *testing.T) {
	s := smtp.NewServer(new(backend))
	s.Addr, s.Domain, s.LMTP, s.MaxRecipients, s.MaxMessageBytes = ":2525", "mx.test", true, 7, 9
	s.ReadTimeout, s.WriteTimeout, s.AllowInsecureAuth, s.EnableDSN = time.Second, time.Minute, true, true
	g := gosmtp.From(s)
	if g.Addr != ":2525" || g.HelloName != "mx.test" || !g.LMTP || g.MaxRecipients != 7 || g.MaxMessageBytes != 9 ||
		g.IdleTimeout != time.Second || g.BodyTimeout != time.Second || g.WriteTimeout != time.Minute || !g.CleartextAuth ||
		strings.Join(g.Hide, " ") != "SMTPUTF8 REQUIRETLS" {
		t.Errorf("%+v", g.Hide)
	}
	if g := gosmtp.NewServer(new(backend)); strings.Join(g.Hide, " ") != "SMTPUTF8 DSN REQUIRETLS" || g.IdleTimeout != 0 {
		t.Errorf("%+v", g.Hide)
	}
}

func TestForeignMessagesAreDeferred(t *testing.T) {
	a := gosmtp.Adapt(new(backend))
	for _, env := range []*sqmail.Envelope{{}, {Peer: &sqmail.Peer{}}} {
		_, err := a.Receive(t.Context(), env, strings.NewReader("x"))
		if sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("err = %v", err)
		}
	}
	if err := a.CheckRecipient(t.Context(), nil, nil, nil); sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("err = %v", err)
	}
}
