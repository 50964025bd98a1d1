package control

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseDNSList(t *testing.T) {
	for line, want := range map[string]string{
		"bl.example":               "bl.example",
		"BL.example.":              "bl.example",
		"-bl.example: go away ":    "bl.example reject go away",
		"!wl.example":              "wl.example allow",
		"bl.example:see http://x/": "bl.example see http://x/",
		"!wl.example:text":         "error",
		"-!wl.example":             "error",
		"":                         "error",
		"bl example":               "error",
		strings.Repeat("a.", 100):  "error",
	} {
		list, err := parseDNSList(Entry{Key: line})
		got := list.Base
		if list.Reject {
			got += " reject"
		}
		if list.Allow {
			got += " allow"
		}
		if list.Text != "" {
			got += " " + list.Text
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// FuzzParseDNSList: every list that is taken can be asked about every client,
// and has a text that is one line.
func FuzzParseDNSList(f *testing.F) {
	f.Add("-bl.example:%IP% is listed")
	f.Add("!wl.example")
	longest := len(strings.Repeat("f.", 2*len(netip.IPv6Unspecified().AsSlice())))
	f.Fuzz(func(t *testing.T, line string) {
		list, err := parseDNSList(Entry{Key: line})
		if err != nil {
			return
		}
		if !validHost(list.Base) || longest+len(list.Base) > 253 || list.Allow && (list.Reject || list.Text != "") {
			t.Errorf("%q: %+v", line, list)
		}
		if strings.ContainsAny(list.Text, "\r\n\x00") {
			t.Errorf("%q: text %q", line, list.Text)
		}
	})
}
