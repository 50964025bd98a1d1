package control

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"time"

	"github.com/sqmail/sqmail/internal/serve"
)

// tls reads the certificate of a service that needs one. Without it the
// configuration is not used: a service that should offer TLS must not go on
// without.
func (s *source) tls(service *Service) {
	settings := service.profiles[nil].Settings
	wanted := service.ImplicitTLS()
	for _, p := range service.profiles {
		wanted = wanted || p.STARTTLS != Off
	}
	if !wanted {
		return
	}
	certFile := settings.CertFile
	if settings.ChainFile != "" { // which takes precedence
		certFile = settings.ChainFile
	}
	keyFile := settings.KeyFile
	if keyFile == "" { // the key is in the certificate's file
		keyFile = certFile
	}
	certText, ok := s.pem(service, certFile)
	keyText, ok2 := s.pem(service, keyFile)
	if !ok || !ok2 {
		return
	}
	certificate, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		s.fatal(service.File, service.Line, "%s and %s are no certificate with its key: %v", certFile, keyFile, err)
		return
	}
	if leaf := certificate.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		s.warn(certFile, 0, "the certificate has expired on %s", leaf.NotAfter.Format(time.DateOnly))
	}
	service.TLS = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{certificate},
	}
	s.clientCA(service, settings.ClientCAFile)
}

// clientCA reads the authorities of client certificates. With them a certificate
// is asked for; a client may have none, or one that proves nothing.
func (s *source) clientCA(service *Service, file string) {
	if file == "" {
		for _, p := range service.profiles {
			if p.CertRelay {
				s.warn(service.File, service.Line, `UCSPITLS "?" and "@" need CCAFILE, the authorities of client certificates`)
				return
			}
		}
		return
	}
	text, ok := s.pem(service, file)
	if !ok {
		return
	}
	service.TLS.ClientCAs = x509.NewCertPool()
	if !service.TLS.ClientCAs.AppendCertsFromPEM(text) {
		s.fatal(service.File, service.Line, "CCAFILE: there is no certificate in %s", file)
		return
	}
	service.TLS.ClientAuth = tls.RequestClientCert // see VerifyClient
}

// pem reads a file that a service needs: below the home, or anywhere if its name
// is absolute.
func (s *source) pem(service *Service, file string) ([]byte, bool) {
	if !filepath.IsAbs(file) && !filepath.IsLocal(file) {
		s.fatal(service.File, service.Line, "%.80q leads out of the home", file)
		return nil, false
	}
	file = filepath.ToSlash(filepath.Clean(file))
	text, found := s.read(file)
	if s.missing(file) {
		s.fatal(service.File, service.Line, "%s does not exist", file)
	}
	return text, found
}

// VerifyClient reports whether a client has presented a certificate that an
// authority of CCAFILE has issued, and whom it names: its common name, or else
// its distinguished name. Without CCAFILE nobody has. The handshake takes any
// certificate: a session whose client has a foreign one goes on as if it had
// none (spec/tls.md, 4).
func (s *Service) VerifyClient(state *tls.ConnectionState) (user string, ok bool) {
	if s.TLS == nil || s.TLS.ClientCAs == nil || state == nil {
		return "", false
	}
	if serve.VerifyClient(s.TLS, state) != nil || len(state.VerifiedChains) == 0 {
		return "", false
	}
	subject := state.VerifiedChains[0][0].Subject
	if subject.CommonName != "" {
		return subject.CommonName, true
	}
	return subject.String(), true
}
