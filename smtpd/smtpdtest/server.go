package smtpdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
)

// Server is an SMTP server on a loopback address.
type Server struct {
	*smtpd.Server

	// Addr is where it listens, "host:port".
	Addr string

	// ClientTLS is a configuration for clients that trusts the server.
	ClientTLS *tls.Config
}

// NewServer starts a server that hands messages to r, which may be nil, and
// ends it with the test, waiting for its sessions. It is named mx.example.test
// and offers STARTTLS with a certificate of its own. Each of configure may
// change its fields before it starts.
func NewServer(t testing.TB, r sqmail.Receiver, configure ...func(*smtpd.Server)) *Server {
	t.Helper()
	return start(t, newServer(r, configure), (*smtpd.Server).Serve)
}

// NewTLSServer is NewServer with implicit TLS.
func NewTLSServer(t testing.TB, r sqmail.Receiver, configure ...func(*smtpd.Server)) *Server {
	t.Helper()
	return start(t, newServer(r, configure), (*smtpd.Server).ServeTLS)
}

// Serve starts a server that the program under test has made, and ends it with
// the test, waiting for its sessions. If it has no TLSConfig it gets that of
// NewServer, which is the only one that ClientTLS trusts.
func Serve(t testing.TB, server *smtpd.Server) *Server {
	t.Helper()
	if server.TLSConfig == nil {
		server.TLSConfig = serverTLS()
	}
	return start(t, server, (*smtpd.Server).Serve)
}

func newServer(r sqmail.Receiver, configure []func(*smtpd.Server)) *smtpd.Server {
	server := &smtpd.Server{HelloName: hostName, Receiver: r, TLSConfig: serverTLS()}
	for _, f := range configure {
		f(server)
	}
	return server
}

func start(t testing.TB, server *smtpd.Server, serve func(*smtpd.Server, net.Listener) error) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := serve(server, l); err != smtpd.ErrServerClosed {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return &Server{Server: server, Addr: l.Addr().String(), ClientTLS: clientTLS()}
}

// hostName is whom the certificate is for.
const hostName = "mx.example.test"

// certificate is made once per process: keys cost time.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{hostName, "localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA:        true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }

func clientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(certificate().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: hostName}
}
