package local

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "\n", "./Maildir/\n", "#c\n./mbox\r\n|prog a \n&fwd@x.y\nfwd2@x.y\n\n+list\nfw3@x.y  \n+other",
		"&\n", " x@y\n", "<a@b>\n", "\"a b\"@c", "a@b@c", "&\xff@x", "+list\n/x", "|", "\x00",
	} {
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, forwardOnly bool) {
		list, err := parse(text, forwardOnly)
		if err != nil {
			if fail, ok := errors.AsType[*failure](err); !ok || fail.class != sqmail.Deferral || list != nil {
				t.Errorf("%v, %v", list, err)
			}
			return
		}
		lines := bytes.Split(text, []byte("\n"))
		for _, in := range list {
			checkInstruction(t, in, string(lines[in.Line-1]), forwardOnly)
		}
	})
}

func checkInstruction(t *testing.T, in Instruction, line string, forwardOnly bool) {
	t.Helper()
	if forwardOnly && in.Kind != KindForward && in.Kind != KindUnknown {
		t.Errorf("%q is allowed", line)
	}
	if !strings.Contains(line, strings.TrimRight(in.Arg, " ")) && in.Kind != KindForward {
		t.Errorf("%q became %q", line, in.Arg)
	}
	if in.Kind != KindForward {
		return
	}
	// Whatever is forwarded to is an address that a server would take.
	to := in.To
	if to.Domain == "" {
		to.Domain = "host.test"
	}
	if _, err := sqmail.ParsePath(to.String()); err != nil {
		t.Errorf("%q forwards to %q: %v", line, in.To, err)
	}
}

// A home directory cannot be left by way of an address.
func FuzzCandidates(f *testing.F) {
	for _, ext := range []string{"", "a-b-c", "../../etc/passwd", "a/../b", "x-default", "\x00", "A.B-"} {
		f.Add(ext)
	}
	f.Fuzz(func(t *testing.T, ext string) {
		for _, c := range candidates("-", ext) {
			if !strings.HasPrefix(c.name, ".qmail-") || strings.Contains(c.name[1:], ".") {
				t.Errorf("%q: file %q", ext, c.name)
			}
			if !strings.HasSuffix(ext, c.rest) {
				t.Errorf("%q: default %q", ext, c.rest)
			}
		}
	})
}

func FuzzFields(f *testing.F) {
	for _, text := range []string{"", "\n", "a: b\n c\nd:e\n\nf: g\n", "a", " folded\n", strings.Repeat("x", 9000) + "\ny: z\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := fields(strings.NewReader(text), func(field string) {
			if field == "" || len(field) > maxField || strings.Contains(field, "\n") {
				t.Errorf("%q: field %.60q", text, field)
			}
		})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
