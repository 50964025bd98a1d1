package mailtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// CA is a certificate authority for one test. Its certificates are valid from
// 1990 to 2100, so that the fake time of synctest, which begins in 2000, is
// covered.
type CA struct {
	// Pool holds the authority, for tls.Config.RootCAs.
	Pool *x509.CertPool

	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

var (
	notBefore = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// NewCA makes a new authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{t: t, Pool: x509.NewCertPool()}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "mailtest CA"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	ca.cert, ca.key = ca.sign(template, notAfter)
	ca.Pool.AddCert(ca.cert)
	return ca
}

// Issue makes a certificate for names and IP addresses, good for servers and
// for clients.
func (ca *CA) Issue(names ...string) tls.Certificate { return ca.IssueUntil(notAfter, names...) }

// IssueUntil makes a certificate that expires.
func (ca *CA) IssueUntil(end time.Time, names ...string) tls.Certificate {
	ca.t.Helper()
	template := &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for i, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
		if i == 0 {
			template.Subject.CommonName = name
		}
	}
	leaf, key := ca.sign(template, end)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// Server returns the configuration of a server with a certificate for names.
func (ca *CA) Server(names ...string) *tls.Config {
	ca.t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue(names...)}}
}

// sign completes a template; the authority signs itself.
func (ca *CA) sign(template *x509.Certificate, end time.Time) (*x509.Certificate, crypto.Signer) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		ca.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = notBefore, end
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert, key
}
