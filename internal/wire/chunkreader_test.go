package wire_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sqmail/sqmail/internal/wire"
)

// readChunks reads chunks one after the other, as a server reads BDAT.
func readChunks(r *wire.Reader, policy wire.Policy, sizes ...int64) (string, error) {
	c := wire.NewChunkReader(r, policy)
	var all []byte
	for i, size := range sizes {
		if err := c.Next(size, i == len(sizes)-1); err != nil {
			return string(all), err
		}
		got, err := io.ReadAll(c)
		all = append(all, got...)
		if err != nil {
			return string(all), err
		}
	}
	return string(all), nil
}

func TestChunkReader(t *testing.T) {
	for _, tc := range []struct {
		rule, input string
		sizes       []int64
		policy      wire.Policy
		want        string
		err         error
	}{
		{"one chunk", "a\r\nb\r\n", []int64{6}, wire.Refuse, "a\nb\n", nil},
		{"dots mean nothing", ".\r\n..\r\n", []int64{7}, wire.Refuse, ".\n..\n", nil},
		{"a CRLF cut in two", "a\r\nb\r\n", []int64{2, 4}, wire.Refuse, "a\nb\n", nil},
		{"chunks of one octet", "a\r\nb", []int64{1, 1, 1, 1}, wire.Refuse, "a\nb", nil},
		{"empty chunks between", "a\r\n", []int64{2, 0, 0, 1, 0}, wire.Refuse, "a\n", nil},
		{"no octet at all", "", []int64{0}, wire.Refuse, "", nil},
		{"a CR at the very end is bare", "a\r", []int64{2}, wire.Refuse, "a", wire.ErrBareCR},
		{"and kept", "a\r", []int64{2}, wire.Pass, "a\r", nil},
		{"or a line break", "a\r\r", []int64{2, 1}, wire.Repair, "a\n", nil},
		{"a bare LF", "a\nb", []int64{3}, wire.Refuse, "a", wire.ErrBareLF},
		{"a bare CR at the border", "a\rb", []int64{2, 1}, wire.Refuse, "a", wire.ErrBareCR},
		{"less than promised", "abc", []int64{5}, wire.Refuse, "abc", io.ErrUnexpectedEOF},
	} {
		for from, source := range sources {
			r := wire.NewReader(source(strings.NewReader(tc.input + tail(tc.err))))
			got, err := readChunks(r, tc.policy, tc.sizes...)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%s (%s): %q, %v; want %q, %v", tc.rule, from, got, err, tc.want, tc.err)
			}
			if tc.err != nil {
				continue
			}
			if line, err := r.ReadLine(10); string(line) != "NEXT" {
				t.Errorf("%s (%s): then %q, %v", tc.rule, from, line, err)
			}
		}
	}
}

func tail(err error) string {
	if err != nil {
		return ""
	}
	return "NEXT\r\n"
}

func TestChunkIsSkipped(t *testing.T) {
	r := wire.NewReader(strings.NewReader("MAIL\r\nRCPT\r\nNEXT\r\n"))
	c := wire.NewChunkReader(r, wire.Refuse)
	c.Next(12, true)
	io.ReadFull(c, make([]byte, 3))
	if err := c.Skip(); err != nil || c.Left() != 0 {
		t.Errorf("%d left, %v", c.Left(), err)
	}
	if line, err := r.ReadLine(10); string(line) != "NEXT" {
		t.Errorf("%q, %v", line, err)
	}
}

// What QMTP's table says of text with CRLF line ends (spec qmtp-qmqp, 2.2).
func TestTextReaderPassesLoneCRs(t *testing.T) {
	for input, want := range map[string]string{
		"a\r\nb": "a\nb", "a\rb": "a\rb", "a\r\r\nb": "a\r\nb", "a\nb": "a\nb", "a\r": "a\r",
		"": "", "\r": "\r", "\r\r": "\r\r", "\r\n": "\n",
	} {
		for from, source := range sources {
			for size := 1; size < 5; size++ {
				got, err := readBySize(wire.NewTextReader(source(strings.NewReader(input)), wire.Pass), size)
				if got != want || err != io.EOF {
					t.Errorf("%q (%s, %d octets): %q, %v; want %q", input, from, size, got, err, want)
				}
			}
		}
	}
}

func readBySize(r io.Reader, size int) (string, error) {
	var all []byte
	buf := make([]byte, size)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return string(all), err
		}
	}
}

func TestTextReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	r := wire.NewTextReader(io.MultiReader(strings.NewReader("a\r"), iotest.ErrReader(broken)), wire.Refuse)
	if got, err := io.ReadAll(r); string(got) != "a" || err != broken {
		t.Errorf("%q, %v", got, err)
	}
}

// However the message is cut into chunks, it is the same message.
func FuzzChunkReader(f *testing.F) {
	f.Add("a\r\n.\r\r\n\n\r", []byte{2, 3}, uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, input string, cuts []byte, p, size uint8) {
		policy := wire.Policy(p % 3)
		want, wantErr := io.ReadAll(wire.NewTextReader(strings.NewReader(input), policy))
		model := strings.ReplaceAll(input, "\r\n", "\n")
		if policy == wire.Pass && (string(want) != model || wantErr != nil) {
			t.Fatalf("text %q, %v; want %q", want, wantErr, model)
		}
		var sizes []int64
		left := int64(len(input))
		for _, c := range cuts {
			n := min(int64(c%16), left)
			sizes, left = append(sizes, n), left-n
		}
		sizes = append(sizes, left)
		r := wire.NewReader(&stepReader{strings.NewReader(input), int(size%9) + 1})
		got, err := readChunks(r, policy, sizes...)
		if got != string(want) || err != wantErr {
			t.Fatalf("cut at %v: %q, %v; want %q, %v", sizes, got, err, want, wantErr)
		}
	})
}

func BenchmarkChunkReader(b *testing.B) {
	input := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 1300)
	src := strings.NewReader("")
	r := wire.NewReader(src)
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		src.Reset(input)
		r.Reset(src)
		c := wire.NewChunkReader(r, wire.Refuse)
		c.Next(int64(len(input)), true)
		for {
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
	}
}
