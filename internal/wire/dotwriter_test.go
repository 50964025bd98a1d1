package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/internal/wire"
)

// sent is text as a DotWriter sends it, written in pieces of n octets.
func sent(text string, n int) (string, error) {
	var b bytes.Buffer
	w := wire.NewDotWriter(&b)
	for i := 0; i < len(text); i += n {
		io.WriteString(w, text[i:min(len(text), i+n)])
	}
	err := w.Close()
	return b.String(), err
}

func TestDotWriter(t *testing.T) {
	for _, tc := range []struct {
		rule, text, want string
		size             int64 // without dot-stuffing
	}{
		{"nothing", "", "", 0},
		{"LF", "a\nb\n", "a\r\nb\r\n", 6},
		{"CRLF", "a\r\nb\r\n", "a\r\nb\r\n", 6},
		{"a bare CR is a line end", "a\rb\n", "a\r\nb\r\n", 6},
		{"CR CR LF", "a\r\r\nb\n", "a\r\n\r\nb\r\n", 8},
		{"CR LF LF", "a\r\n\nb\n", "a\r\n\r\nb\r\n", 8},
		{"the last line is completed", "a\nb", "a\r\nb\r\n", 6},
		{"a CR at the end", "a\r", "a\r\n", 3},
		{"dots at the start of lines", ".\n..\n.a\nb.\n", "..\r\n...\r\n..a\r\nb.\r\n", 15},
		{"a dot after a bare CR", "a\r.b\n", "a\r\n..b\r\n", 7},
		{"empty lines", "\n\n", "\r\n\r\n", 4},
		{"NUL and 8-bit", "\x00\xff\n", "\x00\xff\r\n", 4},
		{"long", strings.Repeat("x", 70_000) + "\n", strings.Repeat("x", 70_000) + "\r\n", 70_002},
	} {
		for _, n := range []int{1, 2, 3, 100_000} {
			got, err := sent(tc.text, n)
			if got != tc.want+".\r\n" || err != nil {
				t.Errorf("%s: %q, %v; want %q", tc.rule, got, err, tc.want)
			}
			size, err := wire.Size(&stepReader{strings.NewReader(tc.text), n})
			if size != tc.size || err != nil {
				t.Errorf("%s: size %d, %v; want %d", tc.rule, size, err, tc.size)
			}
		}
	}
}

func TestPartialLineIsReported(t *testing.T) {
	w := wire.NewDotWriter(io.Discard)
	defer w.Abort()
	for _, tc := range []struct {
		text string
		want bool
	}{{"", false}, {"a", true}, {"b\n", false}, {".", true}, {"\r", false}, {"\n", false}} {
		io.WriteString(w, tc.text)
		if w.Partial() != tc.want {
			t.Errorf("after %q: %v", tc.text, !tc.want)
		}
	}
}

func TestAbortSendsNoEnd(t *testing.T) {
	var b bytes.Buffer
	w := wire.NewDotWriter(&b)
	io.WriteString(w, "half a line")
	w.Abort()
	if err := w.Close(); err != wire.ErrClosed || strings.Contains(b.String(), ".\r\n") {
		t.Errorf("sent %q, %v", b.String(), err)
	}
	if _, err := w.Write([]byte("x")); err != wire.ErrClosed {
		t.Errorf("Write after Abort: %v", err)
	}
}

func TestWriteErrorIsFinal(t *testing.T) {
	broken := errors.New("broken")
	w := wire.NewDotWriter(writerFunc(func([]byte) (int, error) { return 0, broken }))
	var err error
	for range 100 {
		if _, err = io.WriteString(w, strings.Repeat("x\n", 1000)); err != nil {
			break
		}
	}
	if err != broken || w.Close() != broken {
		t.Errorf("err = %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What is sent is read back as it was, and has the size that was announced.
func FuzzDotWriter(f *testing.F) {
	f.Add("a\n.\r\n..\r\rb", uint8(2))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		got, err := sent(text, int(n)+1)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(wire.NewDotReader(wire.NewReader(strings.NewReader(got)), wire.Refuse))
		if err != nil {
			t.Fatalf("%q was sent as %q: %v", text, got, err)
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if string(body) != want {
			t.Fatalf("%q was sent as %q, read as %q", text, got, body)
		}
		if size, _ := wire.Size(strings.NewReader(text)); size != int64(len(body)+strings.Count(want, "\n")) {
			t.Fatalf("size of %q: %d", text, size)
		}
	})
}

func BenchmarkDotWriter(b *testing.B) {
	text := []byte(strings.Repeat(strings.Repeat("x", 76)+"\n", 1300))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		w := wire.NewDotWriter(io.Discard)
		w.Write(text)
		w.Close()
	}
}
