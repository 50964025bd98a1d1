package mimefilter_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/mimefilter"
)

// The messages that bring others down.
func nested(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	return b.String()
}

func nestedMessages(n int) string { return strings.Repeat("Content-Type: message/rfc822\n\n", n) }

// encoded puts a message into n others, each in quoted-printable, which makes it
// no longer.
func encoded(n int, message string) string {
	for range n {
		message = "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.ReplaceAll(message, "=", "=3D")
	}
	return message
}

func flat(n int) string {
	return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", n)
}

func wide(n int) string {
	return "Content-Type: multipart/mixed; boundary=b\n\n" +
		strings.Repeat("--b\nContent-Type: multipart/mixed; boundary=b\n\n", n)
}

// Limits stop the work: what stands behind them costs nothing, however much
// it is.
func TestLimitsBoundTheWork(t *testing.T) {
	for _, test := range []struct {
		name, text, rule string
		lines            int // that may be looked at
	}{
		{"10 MB of header", strings.Repeat("X-Field: abcdefghijklmnopqrstuvwxyz\n", 10<<20/36), "header longer than 65536 octets", 1<<16/36 + 1},
		{"a line of 10 MB", "Subject: " + strings.Repeat("x", 10<<20), "header longer than 65536 octets", 1},
		{"10 MB of continuation", "Content-Type: x\n" + strings.Repeat(" a\n", 10<<20/3), "field of more than 500 lines", 501},
		{"100,000 empty parts", flat(100_000), "more than 1000 parts", 2100},
		{"100,000 parts of a part", wide(100_000), "parts more than 64 deep", 300},
		{"10,000 nested parts", nested(10_000), "parts more than 64 deep", 300},
		{"10,000 messages in messages", nestedMessages(10_000), "parts more than 64 deep", 300},
		{"a deep one in an encoded one", encoded(1, nested(10_000)), "parts more than 64 deep", 400},
		{"many parts in an encoded one", encoded(1, flat(100_000)), "more than 1000 parts", 4200},
		{"encoded ones in one another", encoded(5, flat(100_000)), "encoded messages more than 4 deep", 100},
		{"a line of 10 MB in an encoded one", encoded(1, strings.Repeat("x", 10<<20)), "line of an encoded message longer than 1024 octets", 10},
		{"100,000 uuencoded files", "\n" + strings.Repeat("begin 644 x\n", 100_000), "more than 1000 parts", 1100},
	} {
		s, err := new(mimefilter.Filter).Body(t.Context(), &filter.Session{})
		if err != nil {
			t.Fatal(err)
		}
		message := []byte(test.text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for text := message; len(text) > 0; {
			n := min(4096, len(text))
			s.Write(text[:n])
			text = text[n:]
		}
		v, err := s.End()
		runtime.ReadMemStats(&after)
		if err != nil || v.Action != sqmail.ActionReject || v.Rule != test.rule || v.Reply.Code != 554 {
			t.Errorf("%s: %+v, %v", test.name, v, err)
		}
		if n := mimefilter.Lines(s); n > test.lines {
			t.Errorf("%s: looked at %d lines", test.name, n)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
			t.Errorf("%s: allocated %d octets", test.name, n)
		}
		s.Close()
	}
}

// Long bodies cost no memory.
func TestBodiesAreNotKept(t *testing.T) {
	for name, line := range map[string]string{
		"lines": strings.Repeat("x", 75) + "\n", "one line": strings.Repeat("x", 76),
		"delimiters": "--b" + strings.Repeat("x", 72) + "\n", "hyphens": strings.Repeat("-", 75) + "\n",
	} {
		s, err := (&mimefilter.Filter{MaxParts: 1 << 30}).Body(t.Context(), &filter.Session{})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(s, "Content-Type: multipart/mixed; boundary=c\n\n--c\n\n")
		piece := []byte(strings.Repeat(line, 100))
		s.Write(piece)
		if n := testing.AllocsPerRun(100, func() { s.Write(piece) }); n > 0 {
			t.Errorf("%s: %v allocations for %d octets", name, n, len(piece))
		}
		if v, err := s.End(); err != nil || v.Action != sqmail.ActionPass {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func TestLimitsCanBeSet(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		name string
		f    mimefilter.Filter
		text string
		rule string
	}{
		{"depth", mimefilter.Filter{MaxDepth: 2}, nested(2), ""},
		{"too deep", mimefilter.Filter{MaxDepth: 2}, nested(3), "parts more than 2 deep"},
		{"parts", mimefilter.Filter{MaxParts: 3}, flat(2), ""},
		{"too many parts", mimefilter.Filter{MaxParts: 3}, flat(3), "more than 3 parts"},
		{"header", mimefilter.Filter{MaxHeader: 200}, "A: " + long + "\n\n" + long + long, ""},
		{"long header", mimefilter.Filter{MaxHeader: 200}, "A: " + long + "\nB: " + long + "\n\n", "header longer than 200 octets"},
		{"folded", mimefilter.Filter{MaxFieldLines: 3}, "A: x\n y\n z\nB: x\n y\n z\n\n", ""},
		{"folded too often", mimefilter.Filter{MaxFieldLines: 3}, "A: x\n y\n z\n z\n\n", "field of more than 3 lines"},
		{"line", mimefilter.Filter{MaxLine: 100}, "A: " + long + "\n\n" + long + "\n" + long, ""},
		{"parts in an encoded message", mimefilter.Filter{MaxParts: 4}, encoded(1, flat(2)) + "\n", ""},
		{"too many parts in one", mimefilter.Filter{MaxParts: 4}, encoded(1, flat(3)) + "\n", "more than 4 parts"},
		{"depth of an encoded message", mimefilter.Filter{MaxDepth: 2}, encoded(1, flat(1)) + "\n", ""},
		{"too deep in one", mimefilter.Filter{MaxDepth: 1}, encoded(1, flat(1)) + "\n", "parts more than 1 deep"},
		{"four encoded", mimefilter.Filter{}, encoded(4, "\n"), ""},
		{"long line", mimefilter.Filter{MaxLine: 99}, "\n" + long + "\n", "line longer than 99 octets"},
		{"size", mimefilter.Filter{MaxSize: 102}, "\n" + long + "\n", ""},
		{"long", mimefilter.Filter{MaxSize: 101}, "\n" + long + "\n", "longer than 101 octets"},
	} {
		for _, n := range []int{1, 10, 1000} {
			if v, err := look(t, &test.f, test.text, n); err != nil || v.Rule != test.rule || (v.Rule != "") != (v.Action == sqmail.ActionReject) {
				t.Errorf("%s: %+v, %v", test.name, v, err)
			}
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	var names strings.Builder
	for i := range 32 {
		fmt.Fprintf(&names, "; name=\"%d%s\"", i, strings.Repeat("x", 500))
	}
	for name, text := range map[string]string{
		"attachment":    flat(1) + strings.Repeat(strings.Repeat("x", 76)+"\n", 10<<20/77),
		"header":        strings.Repeat("X-Field: abcdefghijklmnopqrstuvwxyz\n", 10<<20/36),
		"parts":         flat(100_000),
		"nested":        nested(10_000),
		"few parts":     flat(900),
		"hyphens":       nested(60) + "\n" + strings.Repeat("--zz\n", 10<<20/5),
		"encoded":       encoded(4, flat(1)+strings.Repeat(strings.Repeat("x", 76)+"\n", 10<<20/77)),
		"many readings": flat(0) + strings.Repeat("--b\nContent-Type: text/plain"+names.String()+"\n\n", 900),
	} {
		b.Run(name, func(b *testing.B) {
			f := &mimefilter.Filter{Names: patterns("*.exe *.com *x?y*"), MaxParts: 1000}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := look(b, f, text, 32<<10); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
