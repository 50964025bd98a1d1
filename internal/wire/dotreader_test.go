package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sqmail/sqmail/internal/wire"
)

var policies = map[string]wire.Policy{"refuse": wire.Refuse, "repair": wire.Repair, "pass": wire.Pass}

// None of these ends a message: some server or other takes each of them for
// its end, and reads what follows as commands.
func TestOnlyCRLFDotCRLFEndsABody(t *testing.T) {
	for _, end := range []string{
		"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n",
		"\n.\r", "\r\n\x00.\r\n", "\r\r\n.\r\n", "\r\n.\r\r\n", "\n\n.\r\n", "\r\n.\x00\r\n",
	} {
		for name, policy := range policies {
			for _, source := range sources {
				r := wire.NewReader(source(strings.NewReader("text" + end + "SMUGGLED\r\n.\r\nNEXT\r\n")))
				body, err := io.ReadAll(wire.NewDotReader(r, policy))
				if err != nil {
					if policy != wire.Refuse {
						t.Errorf("%s %q: %v", name, end, err)
					}
					if line, again := r.ReadLine(100); again == nil {
						t.Errorf("%s %q: %q was read as a command", name, end, line)
					}
					continue
				}
				if !strings.HasSuffix(string(body), "SMUGGLED\n") {
					t.Errorf("%s: %q ended the body: %q", name, end, body)
				}
				if line, err := r.ReadLine(100); string(line) != "NEXT" {
					t.Errorf("%s %q: then %q, %v", name, end, line, err)
				}
			}
		}
	}
}

func TestDotReader(t *testing.T) {
	for _, tc := range []struct {
		rule, input  string // without the end of the body
		repair, pass string
		refused      error
	}{
		{"CRLF is LF", "a\r\nb\r\n", "a\nb\n", "a\nb\n", nil},
		{"no line at all", "", "", "", nil},
		{"an empty line", "\r\n", "\n", "\n", nil},
		{"a doubled dot is one", "..\r\n..a\r\n...\r\n", ".\n.a\n..\n", ".\n.a\n..\n", nil},
		{"a dot before text is dropped", ".a\r\n", "a\n", "a\n", nil},
		{"a dot within a line stays", "a.\r\n", "a.\n", "a.\n", nil},
		{"NUL and 8-bit pass", "\x00\xff\r\n", "\x00\xff\n", "\x00\xff\n", nil},
		{"NUL after a dot", ".\x00\r\n", "\x00\n", "\x00\n", nil},
		{"a bare LF", "a\nb\r\n", "a\nb\n", "a\nb\n", wire.ErrBareLF},
		{"dots after a bare LF are text", "a\n..b\n.\nc\r\n", "a\n..b\n.\nc\n", "a\n..b\n.\nc\n", wire.ErrBareLF},
		{"a bare CR", "a\rb\r\n", "a\nb\n", "a\rb\n", wire.ErrBareCR},
		{"CR CR LF", "a\r\r\nb\r\n", "a\nb\n", "a\r\nb\n", wire.ErrBareCR},
		{"many CRs", "a\r\r\r\rb\r\n", "a\nb\n", "a\r\r\r\rb\n", wire.ErrBareCR},
		{"a CR after a dot", ".\rx\r\n", ".\nx\n", ".\rx\n", wire.ErrBareCR},
		{"LF CR", "a\n\rb\r\n", "a\n\nb\n", "a\n\rb\n", wire.ErrBareLF},
		{"a broken line, then a whole one", "a\n\r\n..b\r\n", "a\n\n.b\n", "a\n\n.b\n", wire.ErrBareLF},
	} {
		for name, policy := range policies {
			for from, source := range sources {
				r := wire.NewReader(source(strings.NewReader(tc.input + ".\r\nNEXT\r\n")))
				got, err := io.ReadAll(wire.NewDotReader(r, policy))
				want, wantErr := tc.pass, error(nil)
				switch {
				case policy == wire.Repair:
					want = tc.repair
				case policy == wire.Refuse && tc.refused != nil:
					want, wantErr = string(got), tc.refused
				}
				if string(got) != want || !errors.Is(err, wantErr) {
					t.Errorf("%s (%s, %s): %q, %v; want %q, %v", tc.rule, name, from, got, err, want, wantErr)
				}
			}
		}
	}
}

func TestBodyCutShortIsAnError(t *testing.T) {
	for _, input := range []string{"", "a", "a\r", "a\r\n", "a\r\n.", "a\r\n.\r", ".\r"} {
		d := wire.NewDotReader(wire.NewReader(strings.NewReader(input)), wire.Refuse)
		for range 2 {
			if _, err := io.ReadAll(d); err != io.ErrUnexpectedEOF {
				t.Errorf("%q: %v", input, err)
			}
		}
	}
}

func TestLargeBodiesByReadAndWriteTo(t *testing.T) {
	text := strings.Repeat(strings.Repeat("0123456789", 7)+"\n.\n", 5000) + strings.Repeat("x", 100_000) + "\n"
	var sent bytes.Buffer
	w := wire.NewDotWriter(&sent)
	io.WriteString(w, text)
	w.Close()
	for name, read := range map[string]func(io.Reader) ([]byte, error){
		"Read": func(r io.Reader) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{r}) },
		"WriteTo": func(r io.Reader) ([]byte, error) {
			var b bytes.Buffer
			_, err := r.(io.WriterTo).WriteTo(&b)
			return b.Bytes(), err
		},
		"octets": func(r io.Reader) ([]byte, error) { return io.ReadAll(iotest.OneByteReader(r)) },
	} {
		r := wire.NewReader(io.MultiReader(bytes.NewReader(sent.Bytes()), strings.NewReader("NEXT\r\n")))
		got, err := read(wire.NewDotReader(r, wire.Refuse))
		if string(got) != text || err != nil {
			t.Errorf("%s: %d octets of %d, %v", name, len(got), len(text), err)
		}
		if line, err := r.ReadLine(10); string(line) != "NEXT" {
			t.Errorf("%s: then %q, %v", name, line, err)
		}
	}
}

// modelBody is what a DotReader makes of input, told in another way: by
// looking at each octet with what stands before and behind it.
func modelBody(input string, policy wire.Policy) (body string, rest string, err error) {
	clean := true // at a line start that means something
	at := func(i int) byte {
		if i < 0 || i >= len(input) {
			return 0
		}
		return input[i]
	}
	var out strings.Builder
	for i := 0; i < len(input); i++ {
		c := input[i]
		if clean && c == '.' {
			if at(i+1) == '\r' && at(i+2) == '\n' {
				return out.String(), input[i+3:], nil
			}
			clean = false
			if at(i+1) != '\r' && at(i+1) != '\n' {
				continue
			}
		}
		wasCR := i > 0 && at(i-1) == '\r'
		switch {
		case c == '\r' && at(i+1) == '\n' && i+1 < len(input):
			clean = !wasCR
			if policy == wire.Refuse && wasCR {
				return out.String(), "", wire.ErrBareCR
			}
			out.WriteByte('\n')
			i++
		case c == '\r':
			clean = false
			if policy == wire.Refuse {
				return out.String(), "", wire.ErrBareCR
			}
			if policy == wire.Pass {
				out.WriteByte('\r')
			} else if at(i+1) != '\r' {
				out.WriteByte('\n')
			}
		case c == '\n':
			clean = false
			if policy == wire.Refuse {
				return out.String(), "", wire.ErrBareLF
			}
			out.WriteByte('\n')
		default:
			clean = false
			out.WriteByte(c)
		}
	}
	return out.String(), "", io.ErrUnexpectedEOF
}

func FuzzDotReader(f *testing.F) {
	for _, s := range []string{"a\r\n..\r\n.\r\nQUIT\r\n", ".\r\n", "a\r\r\n.\r\n\r\n.\r\n", "\n.\n\r.\r\r\n.\rx\r\n.\r\n"} {
		for p := range uint8(3) {
			f.Add(s, p, uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, input string, p, step uint8) {
		policy := wire.Policy(p % 3)
		want, rest, wantErr := modelBody(input, policy)
		r := wire.NewReader(&stepReader{strings.NewReader(input), int(step%7) + 1})
		got, err := io.ReadAll(wire.NewDotReader(r, policy))
		if err != wantErr && wantErr != nil {
			if err == nil || wantErr != io.ErrUnexpectedEOF && err != io.ErrUnexpectedEOF {
				t.Fatalf("error %v, want %v", err, wantErr)
			}
		}
		if wantErr == nil && (err != nil || string(got) != want) || !strings.HasPrefix(want, string(got)) {
			t.Fatalf("%q, %v; want %q, %v", got, err, want, wantErr)
		}
		if wantErr == nil {
			if after, _ := io.ReadAll(r); string(after) != rest {
				t.Fatalf("then %q, want %q", after, rest)
			}
		}
	})
}

// stepReader gives n octets at a time.
type stepReader struct {
	r io.Reader
	n int
}

func (s *stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }

func BenchmarkDotReader(b *testing.B) {
	for name, line := range map[string]string{
		"mail":   strings.Repeat("x", 76) + "\r\n",
		"short":  "12345678\r\n",
		"dots":   ".." + strings.Repeat("x", 40) + "\r\n",
		"nolf":   strings.Repeat("x", 50_000) + "\r\n",
		"bareLF": strings.Repeat(strings.Repeat("x", 76)+"\n", 400) + "\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			input := []byte(strings.Repeat(line, 100_000/len(line)) + ".\r\n")
			buf := make([]byte, 32<<10)
			src := bytes.NewReader(nil)
			r := wire.NewReader(src)
			b.SetBytes(int64(len(input)))
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(input)
				r.Reset(src)
				d := wire.NewDotReader(r, wire.Repair)
				for {
					if _, err := d.Read(buf); err != nil {
						if err != io.EOF {
							b.Fatal(err)
						}
						break
					}
				}
			}
		})
	}
}
