package remote

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"

	"github.com/sqmail/sqmail"
)

// A TLSPolicy decides how a connection is protected. It is asked for each host
// before it is called, concurrently.
//
// A nil rule is the zero rule. Connections are shared by deliveries that get
// the same pointer (or nil) for the same destination: a policy returns the
// same for as long as nothing has changed. With an error the host is not
// called, and the recipients are deferred if no other host takes them; the
// report has the words of the error's Reply, if it is an [sqmail.Error].
//
// DANE (RFC 7672) and MTA-STS (RFC 8461) are policies: they find the rule for
// a host in the DNS, or refuse a host that the domain's policy does not list.
type TLSPolicy interface {
	TLSRule(ctx context.Context, to TLSTarget) (*TLSRule, error)
}

// TLSPolicyFunc makes a function a [TLSPolicy].
type TLSPolicyFunc func(ctx context.Context, to TLSTarget) (*TLSRule, error)

// TLSRule calls f.
func (f TLSPolicyFunc) TLSRule(ctx context.Context, to TLSTarget) (*TLSRule, error) {
	return f(ctx, to)
}

// TLSTarget is what a policy may go by.
type TLSTarget struct {
	// Name is the domain of the recipients, or the relay: in A-labels, lower
	// case. Relay says which.
	Name  string
	Relay bool

	// Host and Port are what is to be called: a mail exchanger, or the relay.
	Host string
	Port uint16

	// ReversePath is the sender of the message.
	ReversePath sqmail.Path
}

// TLSMode says whether TLS is used.
type TLSMode uint8

// The modes. A peer that was to be tried with TLSIfOffered and failed the
// handshake gets the message in the clear, over a new connection, and is not
// asked again for an hour.
const (
	TLSIfOffered TLSMode = iota // use it if it works
	TLSNever                    // do not
	TLSRequired                 // defer without it
)

// TLSRule is how connections to a host are protected. It must not change after
// it was returned. All that is asked of the peer's certificate counts only with
// TLSRequired; a certificate is never asked for otherwise than by TLS itself.
type TLSRule struct {
	Mode TLSMode

	// Implicit starts TLS at once, without STARTTLS (RFC 8314, 3.3). So do
	// port 465 and the protocol "smtps".
	Implicit bool

	// Port replaces the port of the route. 0: don't.
	Port uint16

	// VerifyChain demands a chain to one of Roots (nil: those of the system)
	// with at most MaxDepth certificates between (0: 10).
	VerifyChain bool
	Roots       *x509.CertPool
	MaxDepth    int

	// VerifyName demands a certificate for one of Names (nil: the Name of the
	// TLSTarget). With ExactName a wildcard does not count. With HostCounts the
	// name of the host will do as well: for exchangers that nobody can have
	// forged (DNSSEC, MTA-STS).
	VerifyName bool
	Names      []string
	ExactName  bool
	HostCounts bool

	// Pins demand a certificate with one of these hashes of its DER form:
	// SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512, told by the length.
	Pins [][]byte

	// Verify is asked after everything else. Nil: nothing more is asked.
	Verify func(tls.ConnectionState) error

	// ServerName is the name to ask for (SNI). "": the host's.
	ServerName string

	// Config holds the rest: versions, ciphers, our certificate. Its
	// ServerName and InsecureSkipVerify are not used. Nil: the defaults of
	// crypto/tls, that is TLS 1.2 or newer.
	Config *tls.Config
}

var (
	ifOffered = &TLSRule{}

	// requireTLS is for messages with REQUIRETLS (RFC 8689, 4.2.1).
	requireTLS = &TLSRule{Mode: TLSRequired, VerifyChain: true, VerifyName: true, HostCounts: true}
)

// certError is what is wrong with a certificate, in the words of
// spec/remote.md 6.1; the name of the peer follows.
type certError string

func (e certError) Error() string { return string(e) }

const (
	errNoCertificate certError = "Unable to obtain X.500 certificate from: "
	errChain         certError = "Unable to verify X.500 certificate from: "
	errSubject       certError = "Unable to validate X.500 certificate Subject for: "
	errFingerprint   certError = "No pinned fingerprint matches the X.509 certificate from: "
)

// required returns a rule for messages with REQUIRETLS: r if it makes sure who
// the peer is, else a stricter one.
func (r *TLSRule) required() *TLSRule {
	if r == nil {
		return requireTLS
	}
	if r.Mode == TLSRequired && (r.VerifyName || r.Pins != nil || r.Verify != nil) {
		return r
	}
	strict := *r
	strict.Mode, strict.VerifyChain, strict.VerifyName, strict.HostCounts = TLSRequired, true, true, true
	return &strict
}

const defaultMaxDepth = 10

// config returns what crypto/tls needs to know for a connection to host.
func (r *TLSRule) config(name, host string) *tls.Config {
	c := &tls.Config{}
	if r.Config != nil {
		c = r.Config.Clone()
	}
	c.ServerName = r.ServerName
	if c.ServerName == "" {
		c.ServerName = host
	}
	c.InsecureSkipVerify = true // by r.verify, as far as asked for
	further := c.VerifyConnection
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := r.verify(cs, name, host); err != nil {
			return err
		}
		if further != nil {
			return further(cs)
		}
		return nil
	}
	return c
}

// verify checks what the peer showed.
func (r *TLSRule) verify(cs tls.ConnectionState, name, host string) error {
	if r.Mode != TLSRequired {
		return nil
	}
	if len(cs.PeerCertificates) == 0 {
		return errNoCertificate
	}
	if r.VerifyChain && !r.chainOK(cs.PeerCertificates) {
		return errChain
	}
	names := r.Names
	if names == nil {
		names = []string{name}
	}
	if r.HostCounts {
		names = append(slices.Clone(names), host)
	}
	if r.VerifyName && !certifies(cs.PeerCertificates[0], names, r.ExactName) {
		return errSubject
	}
	if r.Pins != nil && !pinned(cs.PeerCertificates[0].Raw, r.Pins) {
		return errFingerprint
	}
	if r.Verify != nil {
		return r.Verify(cs)
	}
	return nil
}

func (r *TLSRule) chainOK(certs []*x509.Certificate) bool {
	opts := x509.VerifyOptions{Roots: r.Roots, Intermediates: x509.NewCertPool()}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	chains, err := certs[0].Verify(opts)
	if err != nil {
		return false
	}
	for _, chain := range chains {
		if len(chain)-2 <= or(r.MaxDepth, defaultMaxDepth) {
			return true
		}
	}
	return false
}

// certifies reports whether a certificate is for one of names (RFC 6125, 6.4).
func certifies(c *x509.Certificate, names []string, exact bool) bool {
	presented := c.DNSNames
	if len(presented) == 0 {
		presented = []string{c.Subject.CommonName}
	}
	for _, name := range names {
		if addr, ok := literalAddr(name); ok {
			if certifiesAddr(c, addr) {
				return true
			}
			continue
		}
		name, err := lookupName(name)
		if err != nil {
			continue
		}
		for _, p := range presented {
			if matchName(p, name, exact) {
				return true
			}
		}
	}
	return false
}

func certifiesAddr(c *x509.Certificate, addr netip.Addr) bool {
	for _, ip := range c.IPAddresses {
		if known, ok := netip.AddrFromSlice(ip); ok && known.Unmap() == addr {
			return true
		}
	}
	return false
}

// matchName compares a presented name, which may have a wildcard for its first
// label, with a name in A-labels.
func matchName(presented, name string, exact bool) bool {
	presented = strings.TrimSuffix(presented, ".")
	if parent, wild := strings.CutPrefix(presented, "*."); wild {
		_, rest, found := strings.Cut(name, ".")
		return !exact && found && strings.Contains(rest, ".") && strings.EqualFold(parent, rest)
	}
	return presented != "" && strings.EqualFold(presented, name)
}

// pinned reports whether a certificate has one of the hashes.
func pinned(der []byte, pins [][]byte) bool {
	for _, pin := range pins {
		if sum := fingerprint(der, len(pin)); sum != nil && subtle.ConstantTimeCompare(sum, pin) == 1 {
			return true
		}
	}
	return false
}

// fingerprint returns the hash that is size octets long, or nil.
func fingerprint(der []byte, size int) []byte {
	switch size {
	case sha1.Size:
		sum := sha1.Sum(der)
		return sum[:]
	case sha256.Size224:
		sum := sha256.Sum224(der)
		return sum[:]
	case sha256.Size:
		sum := sha256.Sum256(der)
		return sum[:]
	case sha512.Size384:
		sum := sha512.Sum384(der)
		return sum[:]
	case sha512.Size:
		sum := sha512.Sum512(der)
		return sum[:]
	}
	return nil
}
