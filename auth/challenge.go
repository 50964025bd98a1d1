package auth

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// NewChallenge returns a challenge for CRAM-MD5, or a timestamp for APOP:
// "<random.seconds@host>", a msg-id (RFC 2195, 2; RFC 1939, 7). It holds 128
// random bits and is never the same twice. Octets of host that do not belong
// there are left out; if none remains it is "localhost".
func NewChallenge(host string) string {
	var random [16]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	return "<" + hex.EncodeToString(random[:]) + "." + strconv.FormatInt(time.Now().Unix(), 10) + "@" + challengeHost(host) + ">"
}

func challengeHost(host string) string {
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == '<' || r == '>' || r == '@' {
			return -1
		}
		return r
	}, host)
	if host == "" {
		return "localhost"
	}
	return host[:min(len(host), 255)]
}
