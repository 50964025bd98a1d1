package auth

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/sqmail/sqmail"
)

// The mechanisms that [Credentials] tell apart, in the spelling of
// Peer.Mechanism.
const (
	MechanismPlain   = "plain"    // SASL PLAIN (RFC 4616)
	MechanismLogin   = "login"    // SASL LOGIN
	MechanismCRAMMD5 = "cram-md5" // SASL CRAM-MD5 (RFC 2195)
	MechanismUser    = "user"     // USER and PASS of POP3 (RFC 1939)
	MechanismAPOP    = "apop"     // APOP of POP3 (RFC 1939)
)

// Credentials are what a client shows to prove who it is: a password, or a
// response that only somebody who knows the password can make of a challenge.
type Credentials struct {
	// Mechanism is how they were sent: one of the constants of this package.
	Mechanism string

	// User is the name that the client gives, octet for octet, not empty.
	User string

	// Password is what the client sent as such; "" with a Challenge.
	Password string

	// Challenge is what the server sent, angle brackets included, and
	// Response the digest in hexadecimal that the client made of it and of
	// the password. Both are "" with a Password.
	Challenge, Response string

	// Peer is the session, for stores whose answer depends on it. It may be
	// nil, and must not be changed.
	Peer *sqmail.Peer
}

// HasPassword reports whether c shows the password itself, so that it can be
// checked against a hash. If not, the store must know the password: see Match.
func (c *Credentials) HasPassword() bool { return c.Challenge == "" && c.Response == "" }

// Match reports whether c proves knowledge of the password, in a time that
// does not tell how much of it is right. The check is that of the mechanism: a
// CRAM-MD5 response must be the lower-case HMAC-MD5 of the challenge (RFC
// 2195), an APOP response the MD5 of challenge and password (RFC 1939, 7), and
// with any other mechanism Password must be equal. An empty password matches
// nothing.
func (c *Credentials) Match(password string) bool {
	if password == "" {
		return false
	}
	switch c.Mechanism {
	case MechanismCRAMMD5:
		return c.Challenge != "" && equal(c.Response, cramMD5(password, c.Challenge))
	case MechanismAPOP:
		return c.Challenge != "" && equal(c.Response, apop(password, c.Challenge))
	}
	return c.HasPassword() && equal(c.Password, password)
}

// equal compares in a time that depends on the length of a alone: both are
// hashed first, so that the length of b does not show.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func cramMD5(secret, challenge string) string {
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write([]byte(challenge))
	return hex.EncodeToString(mac.Sum(nil))
}

func apop(secret, challenge string) string {
	sum := md5.Sum([]byte(challenge + secret))
	return hex.EncodeToString(sum[:])
}

// ShowsPassword reports whether the mechanism, in any case, sends the password
// itself, so that it needs TLS to be safe.
func ShowsPassword(mechanism string) bool {
	switch strings.ToLower(mechanism) {
	case MechanismCRAMMD5, MechanismAPOP:
		return false
	}
	return true
}
