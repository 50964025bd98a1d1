package control

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
)

// certificateLife is how long a certificate of our own is good. Who looks at
// the date of one that nobody else has signed would not trust it before either.
const certificateLife = 10 * 365 * 24 * time.Hour

// certificate makes ssl/localhost.key and a certificate for it, signed by
// itself, in ssl/localhost.pem. A key without certificate, from an Init that was cut
// off, is used.
func (m *maker) certificate(me string) {
	var key crypto.Signer
	m.do(func() (err error) { key, err = m.key(); return err })
	if m.err != nil {
		return
	}
	text, err := selfSigned(me, key, time.Now())
	if err != nil {
		m.err = err
		return
	}
	m.file("ssl/localhost.pem", string(text), 0o644)
}

// key returns the key in ssl/localhost.key, which it makes if there is none.
func (m *maker) key() (crypto.Signer, error) {
	const name = "ssl/localhost.key"
	if text, err := os.ReadFile(m.path(name)); err == nil {
		return parseKey(text)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	m.file(name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	return key, m.err
}

func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("ssl/localhost.key holds no key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("ssl/localhost.key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("ssl/localhost.key cannot sign")
	}
	return signer, nil
}

// selfSigned returns a certificate for me and for localhost.
func selfSigned(me string, key crypto.Signer, now time.Time) ([]byte, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName(me)},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certificateLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{me, "localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// commonName is me if it fits; the names that count are the DNSNames.
func commonName(me string) string {
	if len(me) > 64 { // RFC 5280, upper bounds
		return "localhost"
	}
	return me
}
