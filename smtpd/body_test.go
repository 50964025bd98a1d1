package smtpd

import (
	"strings"
	"testing"
	"testing/iotest"
)

func TestHops(t *testing.T) {
	for header, want := range map[string]int{
		"Received: x\n":                                     1,
		"RECEIVED:x\n\tfolded\n":                            1,
		"Received : x\n":                                    1,
		"Received\t:x\n":                                    1,
		"Delivered-To: joe@example.org\n":                   1,
		"Received-SPF: pass\n":                              0,
		"X-Received: x\n":                                   0,
		" Received: folded\n":                               0,
		"Received\n":                                        0,
		"Receivedx: y\n":                                    0,
		"Received: x\nDelivered-To: y\n":                    2,
		"Received: x\n\nReceived: in the body\n":            1,
		"\nReceived: in the body\n":                         0,
		strings.Repeat("Received: x\n", 100):                100,
		"Subject: " + strings.Repeat("Received:", 9) + "\n": 0,
	} {
		for _, step := range []int{1, 7, 4096} {
			var h hopCounter
			for rest := header; rest != ""; {
				n := min(step, len(rest))
				h.scan([]byte(rest[:n]))
				rest = rest[n:]
			}
			if h.count != want {
				t.Errorf("%.40q in steps of %d: %d hops, want %d", header, step, h.count, want)
			}
		}
	}
}

// TestErrorOfReadingIsFinal: a Receiver that asks again is told the same.
func TestErrorOfReadingIsFinal(t *testing.T) {
	w := &remembered{Reader: iotest.DataErrReader(strings.NewReader("text"))}
	buf := make([]byte, 10)
	n, err := w.Read(buf)
	if n != 4 || err == nil {
		t.Fatal(n, err)
	}
	if _, again := w.Read(buf); again != err {
		t.Errorf("%v, then %v", err, again)
	}
}

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ in, ascii, utf8 string }{
		{"plain text", "plain text", "plain text"},
		{"a\r\n\x00\x7fb", "a????b", "a????b"},
		{"é", "??", "é"},
		{"\xe9", "?", "?"},
		{"\u0085\u2028\u2029", "????????", "????????"},
		{"日本", "??????", "日本"},
	} {
		if got := printable(test.in, false); got != test.ascii {
			t.Errorf("%q: %q", test.in, got)
		}
		if got := printable(test.in, true); got != test.utf8 {
			t.Errorf("%q: %q", test.in, got)
		}
	}
}
