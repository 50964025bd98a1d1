package control

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// told collects what a parser complains of.
func told(all *[]string) complain {
	return func(line int, fatal bool, text string) { *all = append(*all, fmt.Sprint(line, " ", text)) }
}

func TestParseList(t *testing.T) {
	tests := []struct {
		name, text string
		want       string // line=entry
		warnings   int
	}{
		{"plain", "a.com\nb.com\n", "1=a.com 2=b.com", 0},
		{"last line without LF", "a.com\nb.com", "1=a.com 2=b.com", 0},
		{"comments and empty lines", "# x\n\n  \t\na.com\n#b.com\n", "4=a.com", 0},
		{"trailing blanks", "a.com \t \n", "1=a.com", 0},
		{"CRLF", "a.com\r\n#x\r\n\r\nb.com\r\n", "1=a.com 4=b.com", 0},
		{"comments stand in column one", "a.com #x\n", "1=a.com #x", 0},
		{"blanks in front", " a.com\n", "1=a.com", 1},
		{"Latin-1", "# \xe4\na\xe4.com\nb.com", "2=a\xe4.com 3=b.com", 1},
		{"empty", "", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var warnings, got []string
			for _, e := range parseList("f", []byte(tt.text), told(&warnings)) {
				got = append(got, fmt.Sprintf("%d=%s", e.Line, e.Key))
			}
			if strings.Join(got, " ") != tt.want || len(warnings) != tt.warnings {
				t.Errorf("got %q, told %q", got, warnings)
			}
		})
	}
}

func TestParseMap(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Entry
		warnings   int
	}{
		{"plain", "a.com:x\nb.com:\n", []Entry{{"a.com", "x", "f", 1}, {"b.com", "", "f", 2}}, 0},
		{"first colon", "a.com:x:y\n", []Entry{{"a.com", "x:y", "f", 1}}, 0},
		{"empty key", ":x\n", []Entry{{"", "x", "f", 1}}, 0},
		{"no colon", "a.com\nb.com:y", []Entry{{"b.com", "y", "f", 2}}, 1},
		{"the last of equals counts", "a.com:x\nb.com:z\nA.COM:y\n", []Entry{{"A.COM", "y", "f", 3}, {"b.com", "z", "f", 2}}, 1},
		{"literal", "[2001:db8::1]:x\n[a:y\n", []Entry{{"[2001:db8::1]", "x", "f", 1}, {"[a", "y", "f", 2}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var warnings []string
			got := parseMap("f", []byte(tt.text), told(&warnings))
			if !reflect.DeepEqual(got, tt.want) || len(warnings) != tt.warnings {
				t.Errorf("got %v, told %q", got, warnings)
			}
		})
	}
}

func TestParseLine(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "a", "a \t\r\n": "a", " a\nb": " a", "# mx": "# mx", "\na": ""} {
		if got := parseLine([]byte(text)); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func FuzzParseMap(f *testing.F) {
	f.Add("a.com:x\nA.COM:y\n# c\n\r\n[::1]:z")
	f.Add("\x00:\n :")
	f.Fuzz(func(t *testing.T, text string) {
		seen := map[string]bool{}
		lines := strings.Count(text, "\n") + 1
		for _, e := range parseMap("f", []byte(text), func(int, bool, string) {}) {
			if seen[lower(e.Key)] || e.Line < 1 || e.Line > lines || strings.Contains(e.Key+e.Value, "\n") {
				t.Fatalf("%+v", e)
			}
			seen[lower(e.Key)] = true
		}
	})
}
