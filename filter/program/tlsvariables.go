package program

import (
	"crypto/tls"
	"strconv"
	"strings"
)

// tlsVariables hands the variables of a connection's TLS to add, by mod_ssl's
// names (smtpd.md, 6.3). Those of the client's certificate are there only if it
// is verified.
func tlsVariables(state *tls.ConnectionState, add func(name, value string)) {
	suite := tls.CipherSuiteName(state.CipherSuite)
	bits := strconv.Itoa(keyBits(suite))
	add("SSL_PROTOCOL", strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1))
	add("SSL_CIPHER", suite)
	add("SSL_CIPHER_ALGKEYSIZE", bits)
	add("SSL_CIPHER_USEKEYSIZE", bits)
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return
	}
	cert := state.VerifiedChains[0][0]
	add("SSL_CLIENT_S_DN", cert.Subject.String())
	add("SSL_CLIENT_S_DN_CN", cert.Subject.CommonName)
	if len(cert.EmailAddresses) > 0 {
		add("SSL_CLIENT_S_DN_Email", cert.EmailAddresses[0])
	}
}

// keyBits returns the length of the key of a cipher suite, by its name.
func keyBits(suite string) int {
	switch {
	case strings.Contains(suite, "_128_"):
		return 128
	case strings.Contains(suite, "3DES"):
		return 168
	}
	return 256
}
