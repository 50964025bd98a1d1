package wildmat_test

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/internal/wildmat"
)

func Example() {
	fmt.Println(wildmat.Match("*@[a-c]*.example", "joe@bad.example"))
	fmt.Println(wildmat.Match("*@[^a-c]*.example", "joe@bad.example"))
	// Output:
	// true
	// false
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		text, pattern string
		want          bool
	}{
		// filter.md, 1.2
		{"", "*", true},
		{"", "a*", false},
		{"abc", "a?c", true},
		{"a*c", `a\*c`, true},
		{"abc", `a\*c`, false},
		{"a]c", "a[]x]c", true},
		{"a-c", "a[-x]c", true},
		{"a5c", "a[0-9]c", true},
		{"a5c", "a[^0-9]c", false},
		{"a!c", "a[!0-9]c", true},
		{"a5c", "a[!0-9]c", true}, // "!" is a member like any other
		{"abcabc", "*c", true},
		{"abd", "*c", false},

		{"", "", true},
		{"a", "", false},
		{"", "**", true},
		{"", "?", false},
		{"aXbXc", "a*b*c", true},
		{"aXbXd", "a*b*c", false},
		{"ABC", "abc", false},
		{"\xff", "[\x80-\xff]", true},
		{"a-c", "a[x-]c", true},
		{"a^c", "a[x^]c", true},
		{"a]c", "a[^]]c", false},
		{"abc", "a[^]]c", true},
		{"a-c", "a[^-x]c", false},
		{"a[c", "a[c", false},
		{"a", "a[", false},
		{"a", "[]", false},
		{"a", "[^]", false},
		{`a\`, `a\`, false},
		{"mississippi", "*iss*ippi", true},
	} {
		if got := wildmat.Match(test.pattern, test.text); got != test.want {
			t.Errorf("%q against %q: %v", test.text, test.pattern, got)
		}
	}
}

func TestValid(t *testing.T) {
	for pattern, want := range map[string]bool{
		"": true, "*": true, "a[b]c": true, "[]]": true, "[^]]": true, `\[`: true,
		"[": false, "a[b": false, "[]": false, `a\`: false, `[^]`: false,
	} {
		if got := wildmat.Valid(pattern); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}

// TestCostIsBounded would not end if a star could be tried again for each way
// in which the stars before it can match.
func TestCostIsBounded(t *testing.T) {
	if wildmat.Match(strings.Repeat("*a", 50)+"b", strings.Repeat("a", 10_000)) {
		t.Error("matched")
	}
}

// FuzzMatch compares with a regular expression that is built from the pattern,
// and with path.Match where the two languages agree.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?[c-e]", "aXbYd")
	f.Add(`\*[^]x-]`, "*y")
	f.Add("[", "[")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 64 || len(text) > 256 {
			return
		}
		got := wildmat.Match(pattern, text)
		if !strings.ContainsAny(pattern, `[]\/`) && !strings.Contains(text, "/") && isASCII(pattern+text) {
			if want, err := path.Match(pattern, text); err == nil && got != want {
				t.Errorf("%q against %q: %v", text, pattern, got)
			}
		}
		if !strings.ContainsAny(pattern, `[\`) && isASCII(pattern+text) {
			expr := regexp.QuoteMeta(pattern)
			expr = strings.ReplaceAll(strings.ReplaceAll(expr, `\*`, `.*`), `\?`, `.`)
			if want := regexp.MustCompile(`(?s)\A` + expr + `\z`).MatchString(text); got != want {
				t.Errorf("%q against %q: %v", text, pattern, got)
			}
		}
		if got && !wildmat.Valid(pattern) {
			t.Errorf("%q matched the malformed pattern %q", text, pattern)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func BenchmarkMatch(b *testing.B) {
	for b.Loop() {
		wildmat.Match("*@*.example.org", "somebody.with.a.name@lists.example.org")
	}
}
