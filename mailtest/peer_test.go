package mailtest_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/mailtest"
)

const mxAddress = "192.0.2.1:25"

// dialog is a client that says lines and reads replies.
type dialog struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, n *mailtest.Network) *dialog {
	t.Helper()
	conn, err := n.DialContext(t.Context(), "tcp", mxAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &dialog{t, conn, bufio.NewReader(conn)}
}

// reply reads one reply, its lines joined by LF.
func (d *dialog) reply() (string, error) {
	var lines []string
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return strings.Join(lines, "\n"), err
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n"), nil
		}
	}
}

// says sends lines and wants the replies that follow ">".
func (d *dialog) says(script string) {
	d.t.Helper()
	for line := range strings.Lines(strings.TrimSpace(script)) {
		line = strings.TrimSpace(line)
		want, isReply := strings.CutPrefix(line, "> ")
		if !isReply {
			if _, err := io.WriteString(d.conn, line+"\r\n"); err != nil {
				d.t.Fatalf("%s: %v", line, err)
			}
			continue
		}
		if got, err := d.reply(); err != nil || !strings.HasPrefix(got, want) {
			d.t.Fatalf("reply %q, %v; want %s", got, err, want)
		}
	}
}

// fails wants the connection to end.
func (d *dialog) fails(want error) {
	d.t.Helper()
	if got, err := d.reply(); !errors.Is(err, want) || got != "" {
		d.t.Fatalf("got %q, %v; want %v", got, err, want)
	}
}

const greet = `
	> 220 peer.test ESMTP
	EHLO mx.test
	> 250-peer.test`

const transaction = `
	MAIL FROM:<joe@a.test>
	> 250
	RCPT TO:<bob@b.test>
	> 250
	DATA
	> 354
	Subject: hi

	..dot
	.`

func TestPeerTakesMailAndKeepsIt(t *testing.T) {
	var n mailtest.Network
	p := mailtest.NewPeer(t, &n, mxAddress)
	conn, err := n.DialContext(t.Context(), "tcp", mxAddress)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClient(conn)
	if err := c.Hello("mx.a.test"); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("joe@a.test", &smtp.MailOptions{Size: 21, Body: smtp.Body8BitMIME, EnvelopeID: "q+1", Return: smtp.DSNReturnHeaders}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"bob@b.test", "eve@b.test"} {
		if err := c.Rcpt(to, &smtp.RcptOptions{Notify: []smtp.DSNNotify{smtp.DSNNotifyFailure, smtp.DSNNotifyDelayed}}); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "Subject: hi\r\n\r\n.dot\r\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	messages, err := p.Wait(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	m := mailtest.AssertDelivered(t, messages, "bob@b.test",
		mailtest.FromPath("joe@a.test"), mailtest.HasData("Subject: hi\n\n.dot\n"), mailtest.HasHeader("subject", "hi"))
	mailtest.AssertDelivered(t, messages, "eve@b.test")
	if string(m.Wire) != "Subject: hi\r\n\r\n..dot\r\n" {
		t.Errorf("on the wire: %q", m.Wire)
	}
	env := m.Envelope
	if env.Size != 21 || env.Body != sqmail.Body8Bit || env.EnvelopeID != "q+1" || env.Return != sqmail.ReturnHeaders ||
		env.Recipients[0].Notify != sqmail.NotifyFailure|sqmail.NotifyDelay {
		t.Errorf("envelope %+v", env)
	}
	if env.Peer.Hello != "mx.a.test" || env.Peer.Protocol != "ESMTP" || env.Peer.Local.String() != mxAddress {
		t.Errorf("peer %+v", env.Peer)
	}
	if p.Sessions() != 1 || !strings.Contains(p.Transcript(), "1 C: RCPT TO:<eve@b.test>") {
		t.Errorf("transcript of %d sessions:\n%s", p.Sessions(), p.Transcript())
	}
}

func TestPeerIsStrict(t *testing.T) {
	var n mailtest.Network
	p := mailtest.NewPeer(t, &n, mxAddress)
	d := dial(t, &n)
	d.says(`
		> 220
		MAIL FROM:<joe@a.test>
		> 503
		LHLO mx.test
		> 500
		EHLO
		> 501
		EHLO mx.test
		> 250
		RCPT TO:<bob@b.test>
		> 503
		DATA
		> 503
		MAIL FROM: <joe@a.test>
		> 501
		MAIL FROM:joe@a.test
		> 501
		MAIL FROM:<joe@a.test>SIZE=1
		> 501
		MAIL FROM:<joe@a.test> SIZE=x
		> 501
		MAIL FROM:<joe@a.test> ENVID=+4
		> 501
		MAIL FROM:<joe@a.test> FOO=x
		> 555
		MAIL FROM:<> BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=FULL AUTH=<>
		> 250
		MAIL FROM:<>
		> 503
		RCPT TO:<>
		> 501
		RCPT TO:<bob@b.test> NOTIFY=NEVER,DELAY
		> 501
		RCPT TO:<bob@b.test> ORCPT=rfc822;a=b
		> 501
		RCPT TO:<bob@b.test> X=y
		> 555
		RCPT TO:<bob@b.test> NOTIFY=DELAY ORCPT=rfc822;a+3Db
		> 250
		STARTTLS
		> 502
		AUTH PLAIN AAA=
		> 502
		FROB
		> 500
		NOOP
		> 250
		RSET
		> 250
		DATA
		> 503
		DATA x
		> 501`)
	io.WriteString(d.conn, "NOOP\n")
	d.says("> 500 5.5.2\nQUIT\n> 221")
	d.fails(io.EOF)

	d = dial(t, &n)
	d.says("> 220")
	io.WriteString(d.conn, "NOOP "+strings.Repeat("x", 10000))
	d.says("> 500 5.5.6")
	if len(p.Messages()) != 0 {
		t.Error("mail was taken")
	}
}

// Only CRLF "." CRLF ends a message: the others would let a client smuggle.
func TestPeerEndsMessagesStrictly(t *testing.T) {
	var n mailtest.Network
	p := mailtest.NewPeer(t, &n, mxAddress)
	d := dial(t, &n)
	d.says(greet + "\nMAIL FROM:<>\n> 250\nRCPT TO:<bob@b.test>\n> 250\nDATA\n> 354")
	body := "a\n.\nb\r\n.\nc\n.\r\nd\r.\r\n..\r\n"
	io.WriteString(d.conn, body+".\r\n")
	d.says("> 250")
	if m := p.Messages()[0]; string(m.Wire) != body || string(m.Data) != "a\n.\nb\n\nc\n.\nd\r.\n.\n" {
		t.Errorf("got %q, on the wire %q", m.Data, m.Wire)
	}
	d.says("MAIL FROM:<>\n> 250\nRCPT TO:<bob@b.test>\n> 250\nDATA\n> 354\n.\n> 250") // the dot first
	if m := p.Messages()[1]; len(m.Data) != 0 {
		t.Errorf("empty message: %q", m.Data)
	}
}

func TestPeerTakesChunks(t *testing.T) {
	var n mailtest.Network
	p := mailtest.NewPeer(t, &n, mxAddress)
	p.On(mailtest.Data, mailtest.Nth(2)).Reply(452, "4.3.1", "full")
	d := dial(t, &n)
	d.says(greet + "\nMAIL FROM:<>\n> 250\nRCPT TO:<bob@b.test>\n> 250")
	io.WriteString(d.conn, "BDAT 6\r\nabc\r\n.")
	d.says("> 250\nMAIL FROM:<>\n> 503")
	io.WriteString(d.conn, "BDAT 5 LAST\r\n\r\nx\r\n")
	d.says("> 250")
	mailtest.AssertDelivered(t, p.Messages(), "bob@b.test", mailtest.HasData("abc\n.\nx\n"))

	io.WriteString(d.conn, "BDAT 4\r\nQUIT")
	d.says("> 503\nMAIL FROM:<>\n> 250\nRCPT TO:<bob@b.test>\n> 250")
	io.WriteString(d.conn, "BDAT 4 LAST\r\nQUIT")
	d.says("> 452")
	io.WriteString(d.conn, "BDAT 9223372036854775807\r\n")
	d.says("> 552")
	d.fails(io.EOF)
}

func TestPeerBoundsMessages(t *testing.T) {
	var n mailtest.Network
	p := &mailtest.Peer{MaxSize: 100}
	p.Start(t, &n, mxAddress)
	d := dial(t, &n)
	d.says(greet + "\nMAIL FROM:<>\n> 250\nRCPT TO:<bob@b.test>\n> 250\nDATA\n> 354")
	io.WriteString(d.conn, strings.Repeat("x", 20000)+"\r\n.\r\n")
	d.says("> 552 5.3.4\nMAIL FROM:<>\n> 250\nQUIT\n> 221")
	if len(p.Messages()) != 0 {
		t.Error("taken")
	}
}

func TestPeerHasTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := mailtest.NewCA(t)
		var n mailtest.Network
		p := &mailtest.Peer{Name: "mx.test", TLS: ca.Server("mx.test", "192.0.2.1"), Users: map[string]string{"joe": "secret"}}
		p.Start(t, &n, mxAddress)
		p.On(mailtest.StartTLS, mailtest.Nth(2)).Reply(454, "4.7.0", "not now")
		p.On(mailtest.StartTLS, mailtest.Nth(3)).BadTLS()
		client := &tls.Config{RootCAs: ca.Pool, ServerName: "mx.test"}

		d := dial(t, &n)
		d.says("> 220\nSTARTTLS\n> 503\nEHLO a.test\n> 250\nSTARTTLS x\n> 501\nSTARTTLS\n> 220")
		secure := tls.Client(d.conn, client)
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		d.conn, d.r = secure, bufio.NewReader(secure)
		d.says("MAIL FROM:<>\n> 503\nEHLO a.test\n> 250\nSTARTTLS\n> 503" + transaction + "\n> 250")
		m := p.Messages()[0]
		if m.Envelope.Peer.TLS == nil || m.Envelope.Peer.Protocol != "ESMTPS" {
			t.Errorf("peer %+v", m.Envelope.Peer)
		}

		d = dial(t, &n)
		d.says("> 220\nEHLO a.test\n> 250\nSTARTTLS\n> 454\nNOOP\n> 250\nSTARTTLS\n> 220")
		if err := tls.Client(d.conn, client).Handshake(); err == nil {
			t.Error("bad TLS is good")
		}

		d = dial(t, &n)
		d.says("> 220\nEHLO a.test\n> 250")
		io.WriteString(d.conn, "STARTTLS\r\nMAIL FROM:<>\r\n")
		d.says("> 554")
		d.fails(io.EOF)
	})
}

func TestPeerHasImplicitTLS(t *testing.T) {
	ca := mailtest.NewCA(t)
	var n mailtest.Network
	p := &mailtest.Peer{TLS: &tls.Config{Certificates: []tls.Certificate{ca.IssueUntil(time.Now().Add(-time.Hour), "mx.test")}}, ImplicitTLS: true}
	p.Start(t, &n, mxAddress)
	p.On(mailtest.Connect, mailtest.Nth(2)).BadTLS()
	for _, want := range []string{"expired", "first record does not look like a TLS handshake"} {
		d := dial(t, &n)
		err := tls.Client(d.conn, &tls.Config{RootCAs: ca.Pool, ServerName: "mx.test"}).Handshake()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestPeerAuthenticates(t *testing.T) {
	var n mailtest.Network
	p := &mailtest.Peer{Users: map[string]string{"joe": "secret"}}
	p.Start(t, &n, mxAddress)
	for _, script := range []string{
		"AUTH PLAIN AGpvZQBzZWNyZXQ=\n> 235\nAUTH PLAIN AGpvZQBzZWNyZXQ=\n> 503",
		"AUTH PLAIN\n> 334 \nAGpvZQBzZWNyZXQ=\n> 235",
		"AUTH LOGIN\n> 334 VXNlcm5hbWU6\nam9l\n> 334 UGFzc3dvcmQ6\nc2VjcmV0\n> 235",
		"AUTH CRAM-MD5\n> 334 PDEuMUBwZWVyLnRlc3Q+\nam9lIDAwMDA=\n> 535",
		"AUTH PLAIN AGpvZQB3cm9uZw==\n> 535",
		"AUTH PLAIN AABhAA==\n> 535",
		"AUTH LOGIN b3RoZXI=\n> 334\nc2VjcmV0\n> 535",
		"AUTH GSSAPI\n> 504",
	} {
		d := dial(t, &n)
		d.says(greet)
		d.says(script)
	}
	mac := hmac.New(md5.New, []byte("secret"))
	mac.Write([]byte("<1.1@peer.test>"))
	d := dial(t, &n)
	d.says(greet + "\nAUTH CRAM-MD5\n> 334\n" + base64.StdEncoding.EncodeToString([]byte("joe "+hex.EncodeToString(mac.Sum(nil)))) + "\n> 235")
	if log := p.Transcript(); strings.Contains(log, "AGpvZQ") || strings.Contains(log, "c2VjcmV0") {
		t.Error("credentials are in the transcript")
	}
	p.On(mailtest.Auth).Reply(454, "4.7.0", "later")
	d = dial(t, &n)
	d.says(greet + "\nAUTH PLAIN AGpvZQBzZWNyZXQ=\n> 454")
}

func TestPeerSpeaksLMTP(t *testing.T) {
	var n mailtest.Network
	p := &mailtest.Peer{LMTP: true}
	p.Start(t, &n, mxAddress)
	p.On(mailtest.Body, mailtest.For("bob@b.test")).Reply(452, "4.2.2", "full")
	d := dial(t, &n)
	d.says(`
		> 220
		EHLO a.test
		> 500
		LHLO a.test
		> 250
		MAIL FROM:<>
		> 250
		RCPT TO:<bob@b.test>
		> 250
		RCPT TO:<eve@b.test>
		> 250
		DATA
		> 354
		.
		> 452
		> 250
		QUIT
		> 221`)
	mailtest.AssertDelivered(t, p.Messages(), "eve@b.test")
	mailtest.AssertNotDelivered(t, p.Messages(), "bob@b.test")
}

func TestPeerOnLoopback(t *testing.T) {
	p := new(mailtest.Peer)
	address := p.Start(t, mailtest.Loopback{}, "127.0.0.1:0")
	c, err := smtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendMail("joe@a.test", []string{"bob@b.test"}, strings.NewReader("Subject: hi\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	messages, err := p.Wait(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	mailtest.AssertDelivered(t, messages, "bob@b.test")
}
