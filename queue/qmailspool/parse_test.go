package qmailspool

import (
	"strings"
	"testing"
)

func FuzzParseTodo(f *testing.F) {
	f.Add([]byte("u0\x00p1630\x00Fs@x.y\x00Ta@b.c\x00Td@e.f\x00"))
	f.Add([]byte("Fs\x00T\x00"))
	f.Add([]byte("u0\x00F"))
	f.Fuzz(func(t *testing.T, b []byte) {
		sender, recipients, err := parseTodo(b)
		if err != nil {
			return
		}
		size := len(sender)
		for _, r := range recipients {
			size += len(r) + 2
		}
		if size > len(b) || strings.Contains(sender, "\x00") {
			t.Errorf("%q became %q, %q", b, sender, recipients)
		}
	})
}

// What is read of a channel can be written again.
func FuzzParseChannel(f *testing.F) {
	f.Add([]byte("Ta@b.c\x00Dd@e.f\x00"))
	f.Add([]byte("T"))
	f.Fuzz(func(t *testing.T, b []byte) {
		recipients, err := parseChannel(b)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, r := range recipients {
			again.WriteString(string("TD"[r.Status]) + r.Address + "\x00")
		}
		if again.String() != string(b) {
			t.Errorf("%q became %q", b, again.String())
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte("Fs@x.y\x00"))
	f.Add([]byte("F\x00rest"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if sender, err := parseInfo(b); err == nil && !strings.HasPrefix(string(b), "F"+sender+"\x00") {
			t.Errorf("%q became %q", b, sender)
		}
	})
}

// No octet of a bounce is lost, but for the empty lines between the
// paragraphs; reports have no empty line.
func FuzzParseBounce(f *testing.F) {
	f.Add([]byte("<z@v.org>:\nno such\n/user\n\n<r@r.net>:\n\n"))
	f.Add([]byte("junk\n\n<a>:\ntext"))
	f.Add([]byte("<a>:\n\n\n\n<b>:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, rest := parseBounce(b)
		kept := len(rest)
		for _, p := range found {
			if strings.Contains(p.report, "\n\n") || strings.Contains(p.address, "\n") {
				t.Errorf("%q became %q", b, found)
			}
			kept += len("<>:\n") + len(p.address) + len(p.report)
		}
		if text := strings.ReplaceAll(string(b), "\n", ""); kept < len(text) {
			t.Errorf("of %q only %d octets were kept", b, kept)
		}
	})
}

// Whatever the control files say: what was rewritten is undone, or refused.
func FuzzUndo(f *testing.F) {
	f.Add("z@v.org", "v.org", "vu", "u@w.org", "wu")
	f.Add("q@ex.sub.org", ".sub.org", "su-x", "ex.sub.org", "")
	f.Add("a@b", "", "alias", ".b", "x-")
	f.Fuzz(func(t *testing.T, address, key1, prefix1, key2, prefix2 string) {
		r := Rewriting{Locals: []string{"l.org"}, VirtualDomains: map[string]string{key1: prefix1, key2: prefix2}}
		c := r.compile()
		rewritten, isLocal := c.apply(address)
		if !isLocal {
			return
		}
		original, err := c.undo(rewritten)
		if err != nil {
			t.Fatalf("%q was made of %q: %v", rewritten, address, err)
		}
		if again, isLocal := c.apply(original); !isLocal || again != rewritten {
			t.Errorf("%q was made of %q, undone to %q, which gives %q", rewritten, address, original, again)
		}
	})
}

// The table of spec/queue.md, 6: what was made local, and what of.
func TestUndo(t *testing.T) {
	r := Rewriting{Locals: []string{"l.org"}, VirtualDomains: map[string]string{
		"v.org": "vu", "u@w.org": "wu", ".sub.org": "su-x", "ex.sub.org": ""}}
	c := r.compile()
	for rewritten, want := range map[string]string{
		"joe@L.ORG":              "joe@L.ORG",
		"vu-z@v.org":             "z@v.org",
		"vu-vu-z@V.org":          "vu-z@V.org",
		"wu-U@W.org":             "U@W.org",
		"su-x-q@a.sub.org":       "q@a.sub.org",
		"su-x-q@deep.ex.sub.org": "q@deep.ex.sub.org",
		"@l.org":                 "@l.org",
		"a@b@l.org":              "a@b@l.org",
	} {
		if got, err := c.undo(rewritten); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", rewritten, got, err, want)
		}
	}
	for _, strange := range []string{"z@v.org", "wu-other@w.org", "su-x-q@ex.sub.org", "joe@foreign.org", "joe", ""} {
		if got, err := c.undo(strange); err == nil {
			t.Errorf("%q was taken for %q", strange, got)
		}
	}
}
