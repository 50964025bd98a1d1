package smtpd

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
)

// TestReceived holds the rows of spec/smtpd.md, 7.1.
func TestReceived(t *testing.T) {
	remote := netip.MustParseAddrPort("192.0.2.7:1234")
	state := &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_256_GCM_SHA384}
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "joe\n\x00(x)"}}
	verified := *state
	verified.PeerCertificates = []*x509.Certificate{cert}
	verified.VerifiedChains = [][]*x509.Certificate{{cert}}
	claimed := verified
	claimed.VerifiedChains = nil
	for _, test := range []struct {
		name      string
		peer      sqmail.Peer
		recipient string
		want      string
	}{
		{"submission", sqmail.Peer{Remote: remote, Name: "client.example.net", Hello: "laptop", User: "joe", TLS: state, Protocol: "ESMTPSAM"}, "",
			"Received: from client.example.net (HELO laptop) (joe@192.0.2.7)\n" +
				"  de/crypted with TLSv1.3: TLS_AES_256_GCM_SHA384 [256/256] DN=none\n" +
				"  by mx.example.com with ESMTPSAM; 5 Mar 2024 07:08:09 -0000\n"},
		{"cleartext", sqmail.Peer{Remote: remote, Name: "client.example.net", Hello: "laptop", Protocol: "ESMTP"}, "",
			"Received: from client.example.net (HELO laptop) (192.0.2.7)\n  by mx.example.com with ESMTP; 5 Mar 2024 07:08:09 -0000\n"},
		{"hello is the name", sqmail.Peer{Remote: remote, Name: "a.test", Hello: "A.TEST", Protocol: "ESMTP"}, "",
			"Received: from a.test (192.0.2.7)\n  by mx.example.com with ESMTP; 5 Mar 2024 07:08:09 -0000\n"},
		{"nothing is known", sqmail.Peer{Protocol: "SMTP"}, "",
			"Received: from unknown (unknown)\n  by mx.example.com with SMTP; 5 Mar 2024 07:08:09 -0000\n"},
		{"IPv6", sqmail.Peer{Remote: netip.MustParseAddrPort("[fe80::1%eth0]:25"), Protocol: "SMTP"}, "",
			"Received: from unknown (fe80::1)\n  by mx.example.com with SMTP; 5 Mar 2024 07:08:09 -0000\n"},
		{"what could be taken for structure", sqmail.Peer{Remote: remote, Name: "a_b", Hello: "x) (1.2.3.4)\n by [é]", User: "j(o)e", Protocol: "ESMTPA"}, "",
			"Received: from a?b (HELO x? ?1.2.3.4?? by ????) (j?o?e@192.0.2.7)\n  by mx.example.com with ESMTPA; 5 Mar 2024 07:08:09 -0000\n"},
		{"UTF-8 with SMTPUTF8", sqmail.Peer{Remote: remote, Hello: "é", Protocol: "UTF8SMTP"}, "",
			"Received: from unknown (HELO é) (192.0.2.7)\n  by mx.example.com with UTF8SMTP; 5 Mar 2024 07:08:09 -0000\n"},
		{"recipient", sqmail.Peer{Remote: remote, Protocol: "SMTP"}, "joe+x@example.org",
			"Received: from unknown (192.0.2.7)\n  by mx.example.com with SMTP for <joe+x@example.org>; 5 Mar 2024 07:08:09 -0000\n"},
		{"a name without end", sqmail.Peer{Remote: remote, Name: strings.Repeat("x", 5000), Protocol: "SMTP"}, "",
			"Received: from " + strings.Repeat("x", 512) + " (192.0.2.7)\n  by mx.example.com with SMTP; 5 Mar 2024 07:08:09 -0000\n"},
		{"a verified certificate", sqmail.Peer{Remote: remote, TLS: &verified, Protocol: "ESMTPS"}, "",
			"Received: from unknown (192.0.2.7)\n  de/crypted with TLSv1.3: TLS_AES_256_GCM_SHA384 [256/256] DN=CN=joe???x?\n  by mx.example.com with ESMTPS; 5 Mar 2024 07:08:09 -0000\n"},
		{"a certificate that anybody can make", sqmail.Peer{Remote: remote, TLS: &claimed, Protocol: "ESMTPS"}, "",
			"Received: from unknown (192.0.2.7)\n  de/crypted with TLSv1.3: TLS_AES_256_GCM_SHA384 [256/256] DN=none\n  by mx.example.com with ESMTPS; 5 Mar 2024 07:08:09 -0000\n"},
	} {
		now := time.Date(2024, 3, 5, 8, 8, 9, 0, time.FixedZone("CET", 3600))
		if got := string(appendReceived(nil, &test.peer, "mx.example.com", test.recipient, now)); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestProtocolWords(t *testing.T) {
	for _, test := range []struct {
		base            string
		tls, auth, utf8 bool
		want            string
	}{
		{"SMTP", false, false, false, "SMTP"},
		{"SMTP", true, false, false, "ESMTPS"},
		{"ESMTP", false, true, false, "ESMTPA"},
		{"ESMTP", true, true, false, "ESMTPSA"},
		{"ESMTP", true, true, true, "UTF8SMTPSA"},
		{"SMTP", false, false, true, "UTF8SMTP"},
		{"LMTP", true, false, false, "LMTPS"},
		{"LMTP", false, false, true, "UTF8LMTP"},
	} {
		if got := protocol(test.base, test.tls, test.auth, test.utf8); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func FuzzReceived(f *testing.F) {
	f.Add("name", "hello", "user", "to@example.org", true)
	f.Add("a)\r\nX: y", "\u2028", "\x00", "<>", false)
	f.Fuzz(func(t *testing.T, name, hello, user, recipient string, utf8 bool) {
		peer := &sqmail.Peer{Name: name, Hello: hello, User: user, Protocol: "ESMTP"}
		if utf8 {
			peer.Protocol = "UTF8SMTP"
		}
		field := string(appendReceived(nil, peer, "mx.example.com", recipient, time.Unix(0, 0)))
		lines := strings.Split(strings.TrimSuffix(field, "\n"), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[1], "  by mx.example.com with ") || len(field) > 4096 {
			t.Fatalf("%q", field)
		}
		for _, line := range lines {
			if !isPrintable(line, utf8) {
				t.Fatalf("%q", line)
			}
		}
	})
}
