package queue

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

// Reports are made of what peers said. They must not break the format they
// stand in, whatever that is.
func FuzzForeignText(f *testing.F) {
	for _, s := range []string{"", "\n", "no such\n\nuser\n\n\n", "a\r\nb", "\x00\x1b[2J", "é\xff", "--- Below this line", strings.Repeat("x", 2000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o := bounded(sqmail.Outcome{Class: sqmail.Rejection, Text: s, Where: s, Reply: sqmail.Reply{Code: 550, Text: s}})
		r := &report{lines: []reportLine{{outcome: &o, status: Failed}}, about: &Entry{Envelope: sqmail.Envelope{
			Recipients: []sqmail.Recipient{{Path: sqmail.PathOf(s), Original: s}}}}}
		r.routing = func(int) sqmail.Routing { return sqmail.Routing{Display: sqmail.PathOf(s)} }

		paragraph := r.paragraph(0)
		if strings.Contains(strings.TrimRight(paragraph, "\n"), "\n\n") || !strings.HasSuffix(paragraph, "\n\n") || paragraph[0] != '<' {
			t.Errorf("paragraph %q", paragraph)
		}
		fields := r.perRecipient(0)
		if i := strings.Index(fields, "\n\n"); i != len(fields)-2 {
			t.Errorf("fields %q", fields)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(fields, "\n\n"), "\n") {
			if name, _, found := strings.Cut(line, ":"); !found || strings.ContainsAny(name, " \t") || len(line) > 998 {
				t.Errorf("field %q", line)
			}
		}
		for _, line := range []string{sanitized(s), headerPath(sqmail.PathOf(s)), field(s)} {
			if strings.ContainsAny(line, "\n\r\x00\x1b") {
				t.Errorf("%q is not one clean line", line)
			}
		}
	})
}

func TestSanitized(t *testing.T) {
	tests := map[string]string{
		"no such\n\nuser\n": "no such//user/",
		"bell\a, é, \xff":   "bell_, é, _",
		"plain":             "plain",
	}
	for in, want := range tests {
		if got := sanitized(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := sanitized(strings.Repeat("é", 5000)); len(got) > maxLogText+3 {
		t.Errorf("%d octets", len(got))
	}
}

func TestAccountOfTheReversePath(t *testing.T) {
	tests := map[string]string{
		"Joe@X.test":                      "joe@x.test",
		"news-1234-joe=example.org@x.org": "news@x.org",
		"list-owner-@x.org-@[]":           "list@x.org",
		"joe+tag@x.test":                  "joe@x.test",
		"-odd@x.test":                     "-odd@x.test",
		"":                                "",
	}
	for from, want := range tests {
		if got := account(&sqmail.Envelope{ReversePath: sqmail.PathOf(from)}); got != want {
			t.Errorf("%q: %q, want %q", from, got, want)
		}
	}
}

func TestHealthOfADestination(t *testing.T) {
	ok := sqmail.Outcome{Class: sqmail.Accepted}
	no := sqmail.Outcome{Class: sqmail.Rejection}
	dead := sqmail.Outcome{}
	grey := sqmail.Outcome{Reply: sqmail.Reply{Code: 450}}
	busy := sqmail.Outcome{Reply: sqmail.Reply{Code: 421}}
	ours := sqmail.Outcome{Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 4, 1}}}
	tests := []struct {
		outcomes []sqmail.Outcome
		want     health
	}{
		{nil, healthUnknown},
		{[]sqmail.Outcome{ok}, healthGood},
		{[]sqmail.Outcome{no}, healthGood},
		{[]sqmail.Outcome{grey}, healthGood},
		{[]sqmail.Outcome{dead}, healthDead},
		{[]sqmail.Outcome{ours}, healthDead},
		{[]sqmail.Outcome{busy}, healthBusy},
		{[]sqmail.Outcome{dead, ok}, healthGood},
		{[]sqmail.Outcome{busy, grey}, healthGood},
	}
	for _, tt := range tests {
		if got := healthOf(tt.outcomes); got != tt.want {
			t.Errorf("%+v: %d, want %d", tt.outcomes, got, tt.want)
		}
	}
}
