package smtpd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// loopbackOnly lets nobody in who is not on this host.
type loopbackOnly struct{}

func (loopbackOnly) CheckConnect(_ context.Context, peer *sqmail.Peer) error {
	if peer.Remote.Addr().IsLoopback() {
		return nil
	}
	return reject(550, "not you")
}

func (loopbackOnly) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return nil
}

// TestXClientAttributes: what the proxy says stands in the Peer when the
// Policy is asked about the connection, and in the trace field.
func TestXClientAttributes(t *testing.T) {
	for _, tc := range []struct {
		attributes, remote, local, name, user, hello string
	}{
		{"ADDR=192.0.2.7 PORT=99 DESTADDR=203.0.113.1 DESTPORT=587", "192.0.2.7:99", "203.0.113.1:587", "", "", ""},
		{"ADDR=IPV6:2001:db8::7", "[2001:db8::7]:0", "", "", "", ""},
		{"ADDR=ipv6:::ffff:192.0.2.7 NAME=[TEMPUNAVAIL]", "192.0.2.7:0", "", "", "", ""},
		{"ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]", "invalid AddrPort", "", "", "", ""},
		{"NAME=Client.Example.ORG. ADDR=192.0.2.7 HELO=c+2B PROTO=SMTP", "192.0.2.7:0", "", "client.example.org", "", "c+"},
		{"LOGIN=joe+20doe ADDR=192.0.2.7", "192.0.2.7:0", "", "", "joe doe", ""},
		{"LOGIN=[unavailable] ADDR=192.0.2.7", "192.0.2.7:0", "", "", "", ""},
	} {
		var r smtpdtest.Recorder
		var seen sqmail.Peer
		server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) {
			s.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			s.Policy = seeing{&seen}
		})
		c := server.Dial(t)
		c.Do("XCLIENT "+tc.attributes, 220)
		remote, local := seen.Remote.String(), seen.Local.String()
		if tc.local == "" {
			local = ""
		}
		if remote != tc.remote || local != tc.local || seen.Name != tc.name || seen.User != tc.user || seen.Hello != tc.hello {
			t.Errorf("%s: %+v", tc.attributes, seen)
		}
		c.Do("EHLO c", 250)
		c.Mail("a@example.org", "b@example.test", "x\n")
		trace := string(r.Messages()[0].Envelope.Header)
		protocol := "ESMTP;"
		if tc.user != "" {
			protocol = "ESMTPA;"
		}
		if !strings.Contains(trace, " with "+protocol) || tc.name != "" && !strings.Contains(trace, "from "+tc.name+" (HELO c)") {
			t.Errorf("%s: %s", tc.attributes, trace)
		}
	}
}

// TestXCLIENTLeavesTheNameBehind: that of the proxy is not its client's.
func TestXCLIENTLeavesTheNameBehind(t *testing.T) {
	var seen sqmail.Peer
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) {
		s.XCLIENTFrom, s.Policy = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, seeing{&seen}
		s.ForPeer = func(_ context.Context, peer *sqmail.Peer) (*smtpd.Server, error) {
			if peer.Remote.Addr().IsLoopback() {
				peer.Name = "proxy.example.test"
			}
			return nil, nil
		}
	})
	c := server.Dial(t)
	for _, test := range []struct{ attributes, name string }{
		{"LOGIN=joe", "proxy.example.test"},
		{"ADDR=192.0.2.7", ""},
		{"ADDR=192.0.2.8 NAME=c.example.org", "c.example.org"},
		{"LOGIN=joe", "c.example.org"},
	} {
		c.Do("XCLIENT "+test.attributes, 220)
		if seen.Name != test.name {
			t.Errorf("%s: %q, want %q", test.attributes, seen.Name, test.name)
		}
	}
}

// seeing notes the peer of the last connection.
type seeing struct{ peer *sqmail.Peer }

func (p seeing) CheckConnect(_ context.Context, peer *sqmail.Peer) error {
	*p.peer = *peer
	return nil
}

func (seeing) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return nil
}

// The certificate that a proxy has shown is not its client's.
func TestXCLIENTLeavesTheCertificateBehind(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) {
		s.XCLIENTFrom, s.Policy = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, smtpd.AcceptAll
		s.Certificate = func(*tls.ConnectionState) string { return "proxy" }
		s.TLSConfig.ClientAuth = tls.RequestClientCert
		s.TLSConfig.ClientCAs = x509.NewCertPool()
		s.TLSConfig.ClientCAs.AddCert(s.TLSConfig.Certificates[0].Leaf)
	})
	server.ClientTLS.Certificates = server.TLSConfig.Certificates
	c := server.Dial(t)
	c.StartTLS()
	c.Do("EHLO c", 250)
	c.Mail("a@example.org", "b@example.test", "text\n")
	c.Do("XCLIENT ADDR=192.0.2.9", 220)
	c.Do("EHLO c", 250)
	c.Mail("a@example.org", "b@example.test", "text\n")
	for i, want := range []string{"proxy", ""} {
		peer := r.Messages()[i].Envelope.Peer
		if peer.User != want || len(peer.TLS.VerifiedChains) != len(want)/5 {
			t.Errorf("message %d: user %q, %d chains", i, peer.User, len(peer.TLS.VerifiedChains))
		}
	}
}
