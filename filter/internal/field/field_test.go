package field_test

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail/filter/internal/field"
)

func TestAppendMakesOneField(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"X-A", "b", "X-A: b\n"},
		{"X-A", "", "X-A: \n"},
		{"X-A", "a\n b\r\n\tc", "X-A: a\n b\n\tc\n"},
		{"X-A", "a\r\n\t b\n  \tc", "X-A: a\n\t b\n  \tc\n"},
		{"X-A", "a\nX-Evil: b", "X-A: a X-Evil: b\n"},
		{"X-A", "a\n\nb", "X-A: a  b\n"},
		{"X-A", "a\n \n b", "X-A: a  \n b\n"},
		{"X-A", "a\r b\x00\x7f\xff\t", "X-A: a  b  \xff\t\n"},
		{"X-A", "a\n ", "X-A: a  \n"},
		{"", "x", ""},
		{"X A", "x", ""},
		{"X:", "x", ""},
		{"X\n", "x", ""},
		{"\xff", "x", ""},
		{strings.Repeat("x", 101), "x", ""},
		{"X", strings.Repeat("x", 8<<10+1), ""},
	} {
		if got := string(field.Append([]byte("F: 1\n"), test.name, test.value)); got != "F: 1\n"+test.want {
			t.Errorf("%q, %q: %q", test.name, test.value, got)
		}
	}
}

func TestLines(t *testing.T) {
	const s = "a\r\n\x00\x7f\xffz and more"
	if got := field.ASCII(s, 7); got != "a?????z" {
		t.Errorf("%q", got)
	}
	if got := field.Printable(s, 7); got != "a????\xffz" {
		t.Errorf("%q", got)
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("X-A", "a\r\n b\nX-Evil: c")
	f.Fuzz(func(t *testing.T, name, value string) {
		got := string(field.Append(nil, name, value))
		if got == "" {
			return
		}
		for i, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
			if i == 0 && !strings.HasPrefix(line, name+": ") || i > 0 && line[0] != ' ' && line[0] != '\t' || strings.TrimSpace(line) == "" {
				t.Errorf("%q", got)
			}
		}
	})
}
