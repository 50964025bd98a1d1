package delivery

import (
	"strings"

	"github.com/sqmail/sqmail"
)

// verpTail ends a reverse-path that the queue expands for each recipient
// (variable envelope return paths: list-owner-@example.org-@[]).
const verpTail = "-@[]"

// expandVERP returns the reverse-path that a recipient's copy will have:
// list-owner-@a.test-@[] for joe@b.test becomes list-owner-joe=b.test@a.test.
// What cannot be expanded stays as it is.
func expandVERP(reverse, to sqmail.Path) sqmail.Path {
	pre, found := strings.CutSuffix(reverse.Unquoted(), verpTail)
	at := strings.LastIndexByte(pre, '@')
	if !found || at < 0 {
		return reverse
	}
	return sqmail.PathOf(pre[:at] + to.LocalPart() + "=" + to.Domain + pre[at:])
}
