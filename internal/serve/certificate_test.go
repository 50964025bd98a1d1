package serve_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/sqmail/sqmail/internal/serve"
)

// issued returns a certificate for one use, and the authority that has issued
// it.
func issued(t *testing.T, use x509.ExtKeyUsage) (leaf, authority *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(template, parent *x509.Certificate) *x509.Certificate {
		template.NotBefore, template.NotAfter = time.Unix(1000, 0), time.Unix(2000, 0)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	authority = sign(root, root)
	leaf = sign(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "joe"}, ExtKeyUsage: []x509.ExtKeyUsage{use}}, authority)
	return leaf, authority
}

// TestCertificateProves: what an authority of ours has issued to clients, while
// it is valid, and nothing else.
func TestCertificateProves(t *testing.T) {
	ours, authority := issued(t, x509.ExtKeyUsageClientAuth)
	foreign, _ := issued(t, x509.ExtKeyUsageClientAuth)
	server, authorityOfServer := issued(t, x509.ExtKeyUsageServerAuth)
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	roots.AddCert(authorityOfServer)
	for _, test := range []struct {
		name  string
		cert  *x509.Certificate
		at    int64
		valid bool
	}{
		{"ours", ours, 1500, true},
		{"too late", ours, 2500, false},
		{"of a foreign authority", foreign, 1500, false},
		{"of a server", server, 1500, false},
	} {
		config := &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: roots, Time: func() time.Time { return time.Unix(test.at, 0) }}
		state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{test.cert}}
		if err := serve.VerifyClient(config, state); (err == nil) != test.valid || (len(state.VerifiedChains) > 0) != test.valid {
			t.Errorf("%s: %v, %d chains", test.name, err, len(state.VerifiedChains))
		}
	}
}
