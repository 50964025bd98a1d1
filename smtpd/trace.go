package smtpd

import (
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
)

// appendReceived appends the trace field of a message, spec/smtpd.md 7.1 (the
// form that qmail's log readers and users know).
func appendReceived(dst []byte, peer *sqmail.Peer, by, recipient string, now time.Time) []byte {
	utf8 := strings.HasPrefix(peer.Protocol, "UTF8")
	dst = append(dst, "Received: from "...)
	name := peer.Name
	if name == "" {
		name = "unknown"
	}
	dst = appendTrace(dst, name, utf8)
	if peer.Hello != "" && !equalFold(peer.Hello, peer.Name) {
		dst = append(dst, " (HELO "...)
		dst = appendTrace(dst, peer.Hello, utf8)
		dst = append(dst, ')')
	}
	dst = append(dst, " ("...)
	if peer.User != "" {
		dst = appendTrace(dst, peer.User, utf8)
		dst = append(dst, '@')
	}
	dst = appendAddr(dst, peer.Remote.Addr())
	dst = append(dst, ")\n"...)
	if peer.TLS != nil {
		dst = append(dst, "  de/crypted with "...)
		dst = appendTLS(dst, peer.TLS)
		dst = append(dst, '\n')
	}
	dst = append(dst, "  by "...)
	dst = appendTrace(dst, by, utf8)
	dst = append(dst, " with "...)
	dst = append(dst, peer.Protocol...)
	if recipient != "" {
		dst = append(dst, " for <"...)
		dst = appendTrace(dst, recipient, utf8)
		dst = append(dst, '>')
	}
	dst = append(dst, "; "...)
	dst = now.UTC().AppendFormat(dst, "2 Jan 2006 15:04:05 -0000")
	return append(dst, '\n')
}

// appendTrace appends s, with "?" for whatever could be taken for a part of
// the field's own structure.
func appendTrace(dst []byte, s string, utf8 bool) []byte {
	const most = 512 // a field of the header stays readable
	if len(s) > most {
		s = s[:most]
	}
	from := len(dst)
	dst = appendPrintable(dst, s, utf8)
	for i, c := range dst[from:] {
		if c < 0x80 && !isAlphanumeric(c) && strings.IndexByte(".@%+/=:- ", c) < 0 {
			dst[from+i] = '?'
		}
	}
	return dst
}

func appendAddr(dst []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(dst, "unknown"...)
	}
	return addr.WithZone("").AppendTo(dst)
}

// appendTLS appends version, cipher suite, key lengths, and the client's
// distinguished name if it is verified.
func appendTLS(dst []byte, state *tls.ConnectionState) []byte {
	version := strings.ReplaceAll(tls.VersionName(state.Version), " ", "v")
	dst = append(dst, version...)
	dst = append(dst, ": "...)
	suite := tls.CipherSuiteName(state.CipherSuite)
	dst = append(dst, suite...)
	bits := strconv.Itoa(keyBits(suite))
	dst = append(dst, " ["...)
	dst = append(dst, bits...)
	dst = append(dst, '/')
	dst = append(dst, bits...)
	dst = append(dst, "] DN="...)
	if len(state.VerifiedChains) == 0 {
		return append(dst, "none"...)
	}
	return appendTrace(dst, state.PeerCertificates[0].Subject.String(), false)
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

// protocol returns the trace keyword of a session's state (RFC 3848, RFC 6531,
// 4.3).
func protocol(base string, tls, auth, utf8 bool) string {
	if base == "SMTP" && !tls && !auth && !utf8 {
		return base
	}
	if utf8 {
		base = "UTF8" + strings.TrimPrefix(base, "E")
	} else if base == "SMTP" {
		base = "ESMTP"
	}
	if tls {
		base += "S"
	}
	if auth {
		base += "A"
	}
	return base
}
