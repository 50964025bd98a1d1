package sqmail

import "strings"

// verpTail ends a reverse-path that is to name its recipient.
const verpTail = "-@[]"

// VERPBase returns PRE@HOST of a reverse-path PRE@HOST-@[], which asks for
// variable envelope return paths: a queue gives each recipient's copy a
// reverse-path of its own ([Path.VERP]), and sends its own bounces to the base.
// ok is false for any other path, which is returned as it is.
func (p Path) VERPBase() (base Path, ok bool) {
	if p.Domain != "[]" {
		return p, false
	}
	address, ok := strings.CutSuffix(p.Unquoted(), verpTail)
	if !ok || !strings.Contains(address, "@") {
		return p, false
	}
	return PathOf(address), true
}

// VERP returns the reverse-path of the copy for one recipient: that of
// list-owner-@a.test-@[] for joe@b.test is list-owner-joe=b.test@a.test. alone
// says that p asks for it, so that the copy is this recipient's alone. A
// recipient without a domain, and a p that does not ask, leave p as it is.
func (p Path) VERP(to Path) (sender Path, alone bool) {
	base, ok := p.VERPBase()
	if !ok || to.Domain == "" {
		return p, ok
	}
	b := base.Unquoted()
	at := strings.LastIndexByte(b, '@')
	return PathOf(b[:at] + to.LocalPart() + "=" + to.Domain + b[at:]), true
}
