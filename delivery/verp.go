package delivery

import (
	"strings"

	"github.com/sqmail/sqmail"
)

// verpTail ends a reverse-path that is to name each recipient (variable
// envelope return paths: list-owner-@example.org-@[]).
const verpTail = "-@[]"

// IsVERP reports whether a reverse-path is to be expanded for each recipient.
func IsVERP(reverse sqmail.Path) bool {
	pre, found := strings.CutSuffix(reverse.Unquoted(), verpTail)
	return found && strings.Contains(pre, "@")
}

// ExpandVERP returns the reverse-path that a recipient's copy has:
// list-owner-@a.test-@[] for joe@b.test becomes list-owner-joe=b.test@a.test.
// A reverse-path that is not a VERP one, and a recipient without a domain,
// leave it as it is.
func ExpandVERP(reverse, to sqmail.Path) sqmail.Path {
	pre, found := strings.CutSuffix(reverse.Unquoted(), verpTail)
	at := strings.LastIndexByte(pre, '@')
	if !found || at < 0 || to.Domain == "" {
		return reverse
	}
	return sqmail.PathOf(pre[:at] + to.LocalPart() + "=" + to.Domain + pre[at:])
}
