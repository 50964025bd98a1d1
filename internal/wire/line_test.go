package wire_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sqmail/sqmail/internal/wire"
)

// lines reads all lines; an error that a session survives stands for its line.
func lines(r *wire.Reader, limit int) (got []string, err error) {
	for {
		line, err := r.ReadLine(limit)
		switch {
		case err == nil:
			got = append(got, string(line))
		case errors.Is(err, wire.ErrLineTooLong), errors.Is(err, wire.ErrBareCR), errors.Is(err, wire.ErrNUL):
			got = append(got, err.Error())
		default:
			return got, err
		}
	}
}

func TestReadLine(t *testing.T) {
	const tooLong, bareCR, nul = "wire: line too long", "wire: bare CR", "wire: NUL in a command"
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		rule, input string
		want        []string
		err         error
	}{
		{"CRLF ends a line", "EHLO a\r\nQUIT\r\n", []string{"EHLO a", "QUIT"}, io.EOF},
		{"a line may be empty", "\r\n\r\n", []string{"", ""}, io.EOF},
		{"nothing is lost at the end", "QUIT", nil, io.ErrUnexpectedEOF},
		{"no line ends in CR", "QUIT\r", nil, io.ErrUnexpectedEOF},
		{"the limit fits", x(1000) + "\r\nQ\r\n", []string{x(1000), "Q"}, io.EOF},
		{"one more is too long", x(1001) + "\r\nQ\r\n", []string{tooLong, "Q"}, io.EOF},
		{"far too long, and the session goes on", x(100_000) + "\r\nQ\r\n", []string{tooLong, "Q"}, io.EOF},
		{"too long without end", x(100_000), nil, io.ErrUnexpectedEOF},
		{"bare LF ends the session", "A\r\nB\nC\r\n", []string{"A"}, wire.ErrBareLF},
		{"bare LF first", "\nC\r\n", nil, wire.ErrBareLF},
		{"bare LF in a line that is too long", x(5000) + "\nC\r\n", nil, wire.ErrBareLF},
		{"bare CR", "A\rB\r\nC\r\n", []string{bareCR, "C"}, io.EOF},
		{"CR CR LF", "A\r\r\nC\r\n", []string{bareCR, "C"}, io.EOF},
		{"NUL", "A\x00B\r\nC\r\n", []string{nul, "C"}, io.EOF},
		{"8-bit", "\xff\xc3\xa4\r\n", []string{"\xff\xc3\xa4"}, io.EOF},
	} {
		for name, source := range sources {
			got, err := lines(wire.NewReader(source(strings.NewReader(tc.input))), 1000)
			if !errors.Is(err, tc.err) || strings.Join(got, "|") != strings.Join(tc.want, "|") {
				t.Errorf("%s (%s): %.80q, %v; want %.80q, %v", tc.rule, name, got, err, tc.want, tc.err)
			}
		}
	}
}

var sources = map[string]func(io.Reader) io.Reader{
	"whole":        func(r io.Reader) io.Reader { return r },
	"octets":       iotest.OneByteReader,
	"halves":       iotest.HalfReader,
	"data and EOF": iotest.DataErrReader,
}

// TestStartOfBadLine: whoever refuses a line can tell what it was meant to be.
func TestStartOfBadLine(t *testing.T) {
	for _, input := range []string{
		"BDAT 6\x00LAST\r\n", "BDAT 6\rLAST\r\n", "BDAT 6" + strings.Repeat("x", 1000) + "\r\n", "BDAT 6" + strings.Repeat("x", 100_000) + "\r\n",
	} {
		for name, source := range sources {
			r := wire.NewReader(source(strings.NewReader(input)))
			start, err := r.ReadLine(1000)
			if err == nil || len(start) > 8 || !strings.HasPrefix(string(start), "BDAT 6") {
				t.Errorf("%.20q (%s): %q, %v", input, name, start, err)
			}
		}
	}
}

func TestLongestLimit(t *testing.T) {
	long := strings.Repeat("x", wire.MaxLine)
	r := wire.NewReader(strings.NewReader(long + "\r\nx" + long + "\r\nQ\r\n"))
	got, err := lines(r, 1<<30)
	if len(got) != 3 || got[0] != long || got[2] != "Q" || err != io.EOF {
		t.Errorf("%d lines, %v", len(got), err)
	}
}

func TestErrorsAreFinal(t *testing.T) {
	broken := errors.New("broken")
	r := wire.NewReader(io.MultiReader(strings.NewReader("A\r\nB"), iotest.ErrReader(broken), strings.NewReader("C\r\n")))
	if line, err := r.ReadLine(10); string(line) != "A" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	for range 2 {
		if line, err := r.ReadLine(10); err != broken {
			t.Errorf("%q, %v", line, err)
		}
	}
}

func TestBufferedTellsWhatWasPipelined(t *testing.T) {
	r := wire.NewReader(strings.NewReader("STARTTLS\r\nMAIL FROM:<a@b.test>\r\n"))
	if n := r.Buffered(); n != 0 {
		t.Errorf("%d octets before the first read", n)
	}
	r.ReadLine(100)
	if n := r.Buffered(); n != len("MAIL FROM:<a@b.test>\r\n") {
		t.Errorf("%d octets behind STARTTLS", n)
	}
	r.Reset(strings.NewReader("NOOP\r\n"))
	if line, err := r.ReadLine(100); string(line) != "NOOP" {
		t.Errorf("after Reset: %q, %v", line, err)
	}
}

func TestWaitTakesNothingAndMayTimeOut(t *testing.T) {
	r := wire.NewReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("AB\r\n"))))
	if err := r.Wait(); err != nil || r.Buffered() != 1 {
		t.Errorf("%d octets, %v", r.Buffered(), err)
	}
	r.ReadByte()
	if err := r.Wait(); err != iotest.ErrTimeout {
		t.Errorf("err = %v", err)
	}
	if line, err := r.ReadLine(10); string(line) != "B" {
		t.Errorf("after the time-out: %q, %v", line, err)
	}
}

func TestDiscard(t *testing.T) {
	r := wire.NewReader(strings.NewReader(strings.Repeat("x", 100_000) + "NEXT\r\n"))
	if err := r.Discard(100_000); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadLine(10); string(line) != "NEXT" {
		t.Errorf("%q, %v", line, err)
	}
	if err := r.Discard(1); err != io.ErrUnexpectedEOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestReadPassesOctetsOn(t *testing.T) {
	text := strings.Repeat("\r\n\n.\x00", 30_000)
	for name, source := range sources {
		r := wire.NewReader(source(strings.NewReader("A\r\n" + text)))
		r.ReadLine(10)
		got, err := io.ReadAll(r)
		if string(got) != text || err != nil {
			t.Errorf("%s: %d octets of %d, %v", name, len(got), len(text), err)
		}
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add("EHLO a\r\nMAIL\nFROM\r\n", uint8(20))
	f.Add("aaaaaaaaaaaaaaaaaaaa\r\n\r\r\n\x00\r\n", uint8(8))
	f.Fuzz(func(t *testing.T, input string, limit uint8) {
		whole, err := lines(wire.NewReader(strings.NewReader(input)), int(limit))
		octets, err2 := lines(wire.NewReader(iotest.OneByteReader(strings.NewReader(input))), int(limit))
		if strings.Join(whole, "\n") != strings.Join(octets, "\n") || err != err2 {
			t.Errorf("whole %q, %v; by octets %q, %v", whole, err, octets, err2)
		}
		for _, line := range whole {
			if strings.HasPrefix(line, "wire: ") {
				continue
			}
			if len(line) > int(limit) || strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("got %q", line)
			}
		}
	})
}
