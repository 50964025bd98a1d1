package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// mayRelay reports whether a client may send to strangers.
func mayRelay(c *smtpdtest.Client) bool {
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.net>", 250)
	c.Send("RCPT TO:<b@elsewhere.test>\r\n")
	return strings.HasPrefix(c.Reply(), "250")
}

func proxyV2(from string) string {
	addr := netip.MustParseAddrPort(from)
	ip := addr.Addr().As4()
	return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string(ip[:]) + "\x7f\x00\x00\x01" + string([]byte{byte(addr.Port() >> 8), byte(addr.Port())}) + "\x00\x19"
}

// The rules are about the client behind a proxy, and never about the proxy.
func TestRulesAreForTheClientBehindAProxy(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services": "front smtp 127.0.0.1:0 PROXYFROM=127.0.0.1 rules=rules.smtpd\n" +
			"plain smtp 127.0.0.1:0 PROXYFROM=192.0.2.0/24 rules=rules.smtpd\n",
		"control/rules.smtpd": "127.:allow,RELAYCLIENT=\"\"\n=localhost:allow,RELAYCLIENT=\"\"\n=friend.example.net:allow,RELAYCLIENT=\"\"\n192.0.2.2:deny\n:allow\n",
	})
	for _, test := range []struct {
		name, service, first string
		greeting             int
		relays               bool
	}{
		{"v1, a friend by name", "front", "PROXY TCP4 192.0.2.1 127.0.0.1 4711 25\r\n", 220, true},
		{"v2, a friend by name", "front", proxyV2("192.0.2.1:4711"), 220, true},
		{"v1, a stranger", "front", "PROXY TCP4 192.0.2.3 127.0.0.1 4711 25\r\n", 220, false},
		{"v1, IPv6", "front", "PROXY TCP6 2001:db8::1 ::1 4711 25\r\n", 220, false},
		{"v1, turned away", "front", "PROXY TCP4 192.0.2.2 127.0.0.1 4711 25\r\n", 554, false},
		{"v2, turned away", "front", proxyV2("192.0.2.2:4711"), 554, false},
		{"nobody knows who", "front", "PROXY UNKNOWN\r\n", 220, false},
		{"no proxy", "plain", "", 220, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := d.connect(test.service, test.first)
			if c.Expect(test.greeting); test.greeting == 220 && mayRelay(c) != test.relays {
				t.Errorf("relays: %v", !test.relays)
			}
		})
	}
	t.Run("a proxy that says nothing", func(t *testing.T) {
		c := d.connect("front", "EHLO client.example.net\r\n")
		if said, _ := io.ReadAll(c); len(said) > 0 { // the error may be a reset
			t.Errorf("it hears %q", said)
		}
	})
	t.Run("a header of somebody else", func(t *testing.T) {
		c := d.connect("plain", "PROXY TCP4 192.0.2.1 127.0.0.1 4711 25\r\n")
		if r := c.Reply(); strings.HasPrefix(r, "220") {
			c.Expect(500)
		}
	})
}

// POP3 and TLS from the first octet stand behind proxies too.
func TestOtherServicesBehindAProxy(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services": "pop pop3 127.0.0.1:0 PROXYFROM=127.0.0.0/8 rules=r\nsec smtps 127.0.0.1:0 SMTPAUTH=! PROXYFROM=127.0.0.0/8 rules=r\n",
		"control/r":        "127.:deny\n:allow\n",
	})
	for _, service := range []string{"pop", "sec"} {
		conn, err := net.Dial("tcp", d.addr(service))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "PROXY TCP4 192.0.2.1 127.0.0.1 4711 25\r\n")
		if service == "sec" {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		greeting := make([]byte, 3)
		if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "220" && string(greeting) != "+OK" {
			t.Errorf("%s: %q %v", service, greeting, err)
		}
	}
}

// XCLIENT is for those who are named, its client has the rules of its own, and
// its name stays.
func TestXCLIENT(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services": "trusting smtp 127.0.0.1:0 XCLIENTFROM=\"192.0.2.77 127.0.0.0/8\" rules=rules.smtpd\n" +
			"careful smtp 127.0.0.1:0 XCLIENTFROM=192.0.2.77 rules=rules.smtpd\n",
		"control/rules.smtpd": "=told.example.net:allow,RELAYCLIENT=\"\"\n192.0.2.2:deny\n127.:allow,RELAYCLIENT=\"\"\n:allow\n",
	})
	for _, test := range []struct {
		name, service, xclient string
		code                   int
		relays                 bool
	}{
		{"a name that was told", "trusting", "NAME=told.example.net ADDR=192.0.2.9", 220, true},
		{"a stranger", "trusting", "ADDR=192.0.2.9", 220, false},
		{"a name that is looked up", "trusting", "ADDR=192.0.2.1", 220, false},
		{"a user", "trusting", "ADDR=192.0.2.9 LOGIN=joe", 220, true},
		{"turned away", "trusting", "ADDR=192.0.2.2", 554, false},
		{"nobody is trusted", "careful", "ADDR=192.0.2.9", 550, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := d.dial(test.service)
			ehlo := c.Do("EHLO c", 250)
			if offered := strings.Contains(ehlo, "XCLIENT"); offered != (test.service == "trusting") {
				t.Errorf("offered: %v", offered)
			}
			c.Do("XCLIENT "+test.xclient, test.code)
			if test.code != 554 && mayRelay(c) != test.relays {
				t.Errorf("relays: %v", !test.relays)
			}
		})
	}
}

// Passwords need TLS, unless AUTHTLS says that they do not.
func TestAUTHTLS(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services": "careful smtp 127.0.0.1:0 SMTPAUTH=+cram PROXYFROM=127.0.0.1\n" +
			"trusting smtp 127.0.0.1:0 SMTPAUTH=+cram PROXYFROM=127.0.0.1 AUTHTLS=-\n" +
			"pop pop3 127.0.0.1:0 PROXYFROM=127.0.0.1\npopular pop3 127.0.0.1:0 PROXYFROM=127.0.0.1 AUTHTLS=-\n",
	})
	const proxy = "PROXY TCP4 192.0.2.3 127.0.0.1 4711 25\r\n"
	for service, want := range map[string]string{"careful": "250-AUTH CRAM-MD5\n", "trusting": "250-AUTH LOGIN PLAIN CRAM-MD5\n"} {
		c := d.connect(service, proxy)
		c.Expect(220)
		if ehlo := c.Do("EHLO c", 250); !strings.Contains(ehlo, want) {
			t.Errorf("%s: %s", service, ehlo)
		}
	}
	for service, want := range map[string]bool{"pop": false, "popular": true} {
		said, err := io.ReadAll(d.connect(service, proxy+"CAPA\r\nQUIT\r\n"))
		if err != nil || strings.Contains(string(said), "\nUSER\r") != want {
			t.Errorf("%s: %q %v", service, said, err)
		}
	}
}

// Extensions and limits are what the variables say, and LMTP has a listener.
func TestWhatEHLOOffers(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services": "plain smtp 127.0.0.1:0\nrich smtp 127.0.0.1:0 UTF8=\"\" MAXTRANSACTIONS=2 MAXRECIPIENTS=7\nlocal lmtp 127.0.0.1:0 UTF8=1\n",
	})
	has := func(service, hello, line string) bool {
		return strings.Contains(d.dial(service).Do(hello+" c", 250), line)
	}
	for _, test := range []struct {
		service, hello, line string
		want                 bool
	}{
		{"plain", "EHLO", "SMTPUTF8", false},
		{"plain", "EHLO", "LIMITS", false},
		{"rich", "EHLO", "SMTPUTF8", true},
		{"rich", "EHLO", "LIMITS RCPTMAX=7 MAILMAX=2", true},
		{"local", "LHLO", "SMTPUTF8", true},
	} {
		if got := has(test.service, test.hello, test.line); got != test.want {
			t.Errorf("%s: %s: %v", test.service, test.line, got)
		}
	}
	c := d.dial("plain")
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.net> SMTPUTF8", 555)
	c = d.dial("rich")
	c.Do("EHLO c", 250)
	for range 2 {
		c.Do("MAIL FROM:<a@example.net>", 250)
		c.Do("RSET", 250)
	}
	c.Do("MAIL FROM:<a@example.net>", 421)
	c = d.dial("local")
	c.Do("LHLO c", 250)
	c.Do("MAIL FROM:<a@example.net>", 250)
	c.Do("RCPT TO:<a@mx.example.org>", 250)
	c.Do("RCPT TO:<b@mx.example.org>", 250)
	c.Do("DATA", 354)
	c.Send("Subject: x\r\n\r\nx\r\n.\r\n")
	c.Expect(250)
	c.Expect(250)
	c.Do("QUIT", 221)
}

// A client certificate of a foreign authority is worth nothing, and costs
// nothing either.
func TestForeignClientCertificate(t *testing.T) {
	ours, theirs := mailtest.NewCA(t), mailtest.NewCA(t)
	server := ours.Issue("mx.example.org")
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	d := serveInside(t, map[string]string{
		"control/services": "smtpd smtp 127.0.0.1:0 UCSPITLS=? CCAFILE=ssl/ca.pem\nsmtpsd smtps 127.0.0.1:0 UCSPITLS=? CCAFILE=ssl/ca.pem SMTPAUTH=\"\"\n",
		"ssl/ca.pem":       block("CERTIFICATE", server.Certificate[1]),
	})
	for _, test := range []struct {
		name   string
		certs  []tls.Certificate
		relays bool
	}{
		{"none", nil, false},
		{"ours", []tls.Certificate{ours.Issue("joe")}, true},
		{"foreign", []tls.Certificate{theirs.Issue("joe")}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", d.addr("smtpd"))
			if err != nil {
				t.Fatal(err)
			}
			c := smtpdtest.NewClient(t, conn, &tls.Config{InsecureSkipVerify: true, Certificates: test.certs})
			c.Expect(220)
			c.Do("EHLO c", 250)
			c.StartTLS()
			if got := mayRelay(c); got != test.relays {
				t.Errorf("STARTTLS: relays: %v", got)
			}
		})
	}
}
