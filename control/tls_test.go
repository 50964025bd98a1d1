package control_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"testing"
	"time"
)

// authority issues client certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func (a *authority) issue(t *testing.T, subject pkix.Name) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{Subject: subject, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// handshake returns what the server knows of a client with a certificate.
func handshake(t *testing.T, server *tls.Config, certs ...tls.Certificate) (tls.ConnectionState, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		client := tls.Client(far, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(certs) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certs[0], nil
		}})
		client.Handshake()
		client.Read(make([]byte, 1)) // session tickets, or the alert
	}()
	conn := tls.Server(near, server)
	err := conn.HandshakeContext(t.Context())
	state := conn.ConnectionState()
	near.Close()
	<-done
	return state, err
}

func TestVerifyClient(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	c := load(t, map[string]string{
		"services":          "a smtps :465 UCSPITLS=@ SMTPAUTH=! CCAFILE=ssl/ca.pem\nb smtps :466 SMTPAUTH=!\n",
		"ssl/localhost.pem": certificate, "ssl/localhost.key": key, "ssl/ca.pem": ours.pem(),
	})
	service := c.Services[0]
	for want, subject := range map[string]pkix.Name{"joe": {CommonName: "joe"}, "O=Example": {Organization: []string{"Example"}}} {
		state, err := handshake(t, service.TLS, ours.issue(t, subject))
		if err != nil {
			t.Fatal(err)
		}
		if user, ok := service.VerifyClient(&state); user != want || !ok {
			t.Errorf("%q, %v, want %q", user, ok, want)
		}
		if user, ok := c.Services[1].VerifyClient(&state); ok {
			t.Errorf("a service without CCAFILE takes %q", user)
		}
	}
	state, err := handshake(t, service.TLS)
	if user, ok := service.VerifyClient(&state); err != nil || ok {
		t.Errorf("without a certificate: %q, %v", user, err)
	}
	state, err = handshake(t, service.TLS, other.issue(t, pkix.Name{CommonName: "joe"}))
	if user, ok := service.VerifyClient(&state); err != nil || ok || len(state.VerifiedChains) > 0 {
		t.Errorf("of a foreign authority: %q, %v", user, err)
	}
	if _, ok := service.VerifyClient(nil); ok {
		t.Error("cleartext")
	}
}

func TestExpiredCertificateIsWarnedOf(t *testing.T) {
	certificate, key := newPair(time.Now().Add(-time.Hour))
	c := load(t, map[string]string{"services": "a pop3s :995", "ssl/localhost.pem": certificate, "ssl/localhost.key": key})
	warned(t, c.Problems, "ssl/localhost.pem: warning: the certificate has expired")
}
