package program_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/program"
)

// A certificate is told of only if it is verified (smtpd.md, 6.2 and 6.3).
func TestVariablesOfCertificates(t *testing.T) {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "joe", Organization: []string{"Example"}}, EmailAddresses: []string{"joe@x.test"}}
	claimed := &tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, PeerCertificates: []*x509.Certificate{cert}}
	verified := *claimed
	verified.VerifiedChains = [][]*x509.Certificate{{cert}}
	common := []string{"SSL_CIPHER=TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "SSL_CIPHER_ALGKEYSIZE=256", "SSL_CIPHER_USEKEYSIZE=256"}
	ofCert := []string{"SSL_CLIENT_S_DN=CN=joe,O=Example", "SSL_CLIENT_S_DN_CN=joe", "SSL_CLIENT_S_DN_Email=joe@x.test"}
	for state, want := range map[*tls.ConnectionState][]string{
		claimed:   append(slices.Clone(common), "SSL_PROTOCOL=TLSv1.2"),
		&verified: append(slices.Concat(common, ofCert), "SSL_PROTOCOL=TLSv1.2"),
	} {
		env := envelope("", "b@y.test")
		env.Peer = &sqmail.Peer{TLS: state}
		got := slices.DeleteFunc(program.Variables(env), func(v string) bool { return !strings.HasPrefix(v, "SSL_") })
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
