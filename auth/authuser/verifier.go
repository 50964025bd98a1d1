package authuser

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/sqmail/sqmail/auth"
)

// Verifier checks credentials against a [Table]. It is an [auth.Verifier].
type Verifier struct {
	// Table is the table. Nil: nobody can log in.
	Table *Table

	// Stores are asked about users whose value is a mark; see Rule.Store. A
	// mark that is not in the map is a temporary error.
	Stores map[string]auth.Verifier
}

// Verify returns whom the credentials prove; the Identity is the store's, or
// else has only the name that the client gave. The error wraps
// [auth.ErrRejected] if the table or the store refuses; all others are
// temporary.
func (v *Verifier) Verify(ctx context.Context, c *auth.Credentials) (auth.Identity, error) {
	var rule *Rule
	if v.Table != nil {
		rule = v.Table.Lookup(c.User)
	}
	switch {
	case rule == nil:
		c.Match("x") // what a user's password takes
		return auth.Identity{}, auth.Rejected("no rule for such a user")
	case rule.Denies():
		c.Match("x")
		return auth.Identity{}, auth.Rejected(fmt.Sprintf("the rule in line %d denies", rule.Line))
	case rule.Store != "":
		store := v.Stores[rule.Store]
		if store == nil {
			return auth.Identity{}, fmt.Errorf("authuser: the rule in line %d asks store %q, and there is none", rule.Line, rule.Store)
		}
		return store.Verify(ctx, c)
	case !rule.check(c):
		reason := "wrong password"
		if rule.hash != nil && !c.HasPassword() {
			reason = "there is only a hash to check a response with"
		}
		return auth.Identity{}, auth.Rejected(reason)
	}
	return auth.Identity{Name: c.User}, nil
}

// sums are the kinds of hash by their length.
var sums = map[int]func(password string) []byte{
	md5.Size:    func(p string) []byte { s := md5.Sum([]byte(p)); return s[:] },
	sha1.Size:   func(p string) []byte { s := sha1.Sum([]byte(p)); return s[:] },
	sha256.Size: func(p string) []byte { s := sha256.Sum256([]byte(p)); return s[:] },
}

func sumMatches(hash []byte, password string) bool {
	return subtle.ConstantTimeCompare(hash, sums[len(hash)](password)) == 1
}
