package queue

import (
	"strings"

	"github.com/sqmail/sqmail"
)

// verpTail ends a reverse-path that is different for each recipient.
const verpTail = "-@[]"

// verp returns the reverse-path for one recipient, and whether it is the
// recipient's alone: PRE@HOST-@[] and BOX@RHOST make PREBOX=RHOST@HOST.
func verp(sender, to sqmail.Path) (sqmail.Path, bool) {
	base, ok := verpBase(sender)
	if !ok || to.Domain == "" {
		return sender, ok
	}
	b := base.Unquoted()
	at := strings.LastIndexByte(b, '@')
	return sqmail.PathOf(b[:at] + to.LocalPart() + "=" + to.Domain + b[at:]), true
}

// verpBase returns PRE@HOST of a sender PRE@HOST-@[]: where the bounces go
// that the queue makes. Of any other it returns the sender itself.
func verpBase(sender sqmail.Path) (sqmail.Path, bool) {
	if sender.Domain != "[]" {
		return sender, false
	}
	base, ok := strings.CutSuffix(sender.Unquoted(), verpTail)
	if !ok || !strings.Contains(base, "@") {
		return sender, false
	}
	return sqmail.PathOf(base), true
}
