package serve

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// VerifyClient verifies the certificate that a client has presented to a
// configuration that has ClientCAs and asks with RequestClientCert: package tls
// takes any certificate then, so that one of a foreign authority does not end
// the handshake. One that an authority of ClientCAs has issued for clients gets
// its VerifiedChains in state. Of other configurations package tls has said what
// there is to say, and VerifyClient does nothing. The error is why a certificate
// proves nothing.
func VerifyClient(config *tls.Config, state *tls.ConnectionState) error {
	if config == nil || state == nil || config.ClientCAs == nil || config.ClientAuth != tls.RequestClientCert ||
		len(state.PeerCertificates) == 0 || len(state.VerifiedChains) > 0 {
		return nil
	}
	options := x509.VerifyOptions{
		Roots: config.ClientCAs, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: time.Now(),
	}
	if config.Time != nil {
		options.CurrentTime = config.Time()
	}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := state.PeerCertificates[0].Verify(options)
	if err != nil {
		return err
	}
	state.VerifiedChains = chains
	return nil
}
