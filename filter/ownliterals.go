package filter

import (
	"context"
	"net/netip"

	"github.com/sqmail/sqmail"
)

// OwnLiterals gives addresses at a literal of this host, such as
// joe@[192.0.2.1], a domain that the other filters and the routing know. It comes
// first. Spec: smtpd.md, 4.3 (control/localiphost).
type OwnLiterals struct {
	// Domain is what stands for this host. "": nothing is replaced.
	Domain string

	// IsOwn knows the addresses of this host. Those of loopback, and the one
	// that the client is connected to, are known without it; it may be nil.
	IsOwn func(netip.Addr) bool
}

// Name returns "localiphost".
func (f *OwnLiterals) Name() string { return "localiphost" }

// ReversePath replaces the domain of the reverse-path.
func (f *OwnLiterals) ReversePath(_ context.Context, s *Session) (sqmail.Verdict, error) {
	return f.replace(s.Peer, &s.Envelope.ReversePath), nil
}

// Recipient replaces the domain of a recipient.
func (f *OwnLiterals) Recipient(_ context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	return f.replace(s.Peer, &to.Path), nil
}

func (f *OwnLiterals) replace(p *sqmail.Peer, path *sqmail.Path) sqmail.Verdict {
	addr, ok := literal(path.Domain)
	addr = addr.Unmap()
	if !ok || f.Domain == "" || !isOwnAddress(p, addr) && (f.IsOwn == nil || !f.IsOwn(addr)) {
		return sqmail.Verdict{}
	}
	v := sqmail.Verdict{Rule: f.Domain, Input: path.Unquoted()}
	path.Domain = f.Domain
	return v
}

// isOwnAddress reports whether an address is known to be of the host that a
// client is connected to.
func isOwnAddress(p *sqmail.Peer, addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsValid() && addr == p.Local.Addr().Unmap().WithZone("")
}
