package userfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"github.com/sqmail/sqmail/auth"
)

// MaxPassword is the longest password that Hash takes, in octets: bcrypt uses
// no more.
const MaxPassword = bcrypt.PasswordInputSizeMax

// maxChecked is the longest password that is compared with a hash: the cost of
// some kinds grows with it.
const maxChecked = 512

// hashCost is bcrypt's work factor: some 60 ms on one processor of today.
const hashCost = 10

// What a hash may cost. A stroke of the pen must not make each login take an
// hour, or a gigabyte.
const (
	maxBcryptCost     = 16
	maxSHARounds      = 10_000_000
	maxYescryptFactor = 16 // 2^16 blocks of r*128 octets: 256 MiB at most
)

// Hash returns a secret for [File.Add] that keeps a hash of the password:
// bcrypt ($2b$), work factor 10. The error tells why a password cannot be one:
// it is empty, longer than MaxPassword, or has a NUL in it.
func Hash(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("userfile: empty password")
	case len(password) > MaxPassword:
		return "", fmt.Errorf("userfile: password longer than %d octets", MaxPassword)
	case strings.IndexByte(password, 0) >= 0:
		return "", errors.New("userfile: NUL in password")
	}
	hasher, err := bcrypt.New(bcrypt.WithIterations(hashCost))
	if err != nil {
		return "", fmt.Errorf("userfile: %w", err)
	}
	digest, err := hasher.Hash(password)
	if err != nil {
		return "", fmt.Errorf("userfile: %w", err)
	}
	return digest.Encode(), nil
}

// Clear returns a secret for [File.Add] that keeps the password itself. Only
// with such a secret can a user log in with CRAM-MD5 or APOP; whoever reads
// the file has the password.
func Clear(password string) string { return "=" + password }

// secret is the parsed third field of a line.
type secret struct {
	locked bool
	clear  string           // the password, "" if it is not known
	digest algorithm.Digest // its hash, nil if there is none
}

// parseSecret parses a secret. The error does not show it.
func parseSecret(text string) (s secret, err error) {
	if text == "" {
		return secret{locked: true}, nil
	}
	if rest, found := strings.CutPrefix(text, "!"); found {
		s.locked = true
		text = rest
	}
	switch {
	case text == "" || text == "*":
		s.locked = true
	case text[0] == '=':
		if s.clear = text[1:]; s.clear == "" {
			return secret{}, errors.New("empty password")
		}
		if len(s.clear) > maxChecked {
			return secret{}, errors.New("password too long")
		}
	case text[0] == '$':
		s.digest, err = decodeHash(text)
	default:
		err = errors.New(`a secret begins with "$" (a hash), "=" (the password itself) or "!" (locked)`)
	}
	return s, err
}

var errHash = errors.New("malformed hash")

// decodeHash decodes a hash of crypt(3) that is not too dear to check.
func decodeHash(text string) (algorithm.Digest, error) {
	parts := strings.Split(text, "$") // "", kind, …
	if len(parts) < 4 || len(text) > maxChecked {
		return nil, errHash
	}
	var decode algorithm.DecodeFunc
	var cost, limit int
	switch parts[1] {
	case "2a", "2b", "2y":
		decode, limit = bcrypt.Decode, maxBcryptCost
		cost = number(parts[2])
	case "5", "6":
		decode, limit = shacrypt.Decode, maxSHARounds
		if rounds, found := strings.CutPrefix(parts[2], "rounds="); found {
			cost = number(rounds)
		}
	case "y":
		decode, limit = scrypt.Decode, maxYescryptFactor
		cost = yescryptFactor(parts[2])
	default:
		return nil, fmt.Errorf("unknown kind of hash $%.10s$", parts[1])
	}
	if cost < 0 {
		return nil, errHash
	}
	if cost > limit {
		return nil, fmt.Errorf("a hash of kind $%s$ with work factor %d costs too much, the limit is %d", parts[1], cost, limit)
	}
	digest, err := decode(text)
	if err != nil {
		return nil, errHash // the library's error may show the hash
	}
	return digest, nil
}

// number reads a number without sign, or returns -1.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// yescryptFactor reads the binary logarithm of N from the parameters of
// yescrypt: flavour, N, r, each a letter of crypt's alphabet. What is longer
// asks for features that crypt(3) does not use either. -1: not such a text.
func yescryptFactor(text string) int {
	const letters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if len(text) != 3 || text[0] != 'j' {
		return -1
	}
	n, r := strings.IndexByte(letters, text[1]), strings.IndexByte(letters, text[2])
	if n < 0 || r < 0 || r > 31 {
		return -1
	}
	return n + 1
}

// check reports whether c proves knowledge of the secret.
func (s *secret) check(c *auth.Credentials) bool {
	if s.digest == nil {
		return c.Match(s.clear)
	}
	return c.HasPassword() && len(c.Password) <= maxChecked && s.digest.Match(c.Password)
}
