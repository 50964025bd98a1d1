package wire_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/internal/wire"
)

func TestNetstring(t *testing.T) {
	for _, tc := range []struct {
		rule, input, want string
		err               error
	}{
		{"text", "5:hello,", "hello", nil},
		{"empty", "0:,", "", nil},
		{"any octets", "4:\x00\r\n,,", "\x00\r\n,", nil},
		{"the limit", "20:01234567890123456789,", "01234567890123456789", nil},
		{"beyond the limit", "21:012345678901234567890,", "", wire.ErrNetstringTooLong},
		{"far beyond", "99999999999999999999999999:", "", wire.ErrNetstringTooLong},
		{"end of input", "", "", io.EOF},
		{"end within the length", "5", "", io.ErrUnexpectedEOF},
		{"end within the content", "5:hel", "", io.ErrUnexpectedEOF},
		{"end before the comma", "5:hello", "", io.ErrUnexpectedEOF},
		{"no comma", "5:hello;", "", wire.ErrNetstring},
		{"too long for its comma", "4:hello,", "", wire.ErrNetstring},
		{"leading zero", "05:hello,", "", wire.ErrNetstring},
		{"two zeros", "00:,", "", wire.ErrNetstring},
		{"no digits", ":,", "", wire.ErrNetstring},
		{"a sign", "+5:hello,", "", wire.ErrNetstring},
		{"a letter", "5x:hello,", "", wire.ErrNetstring},
		{"a blank", " 5:hello,", "", wire.ErrNetstring},
	} {
		for from, source := range sources {
			got, err := readNetstring(source(strings.NewReader(tc.input)))
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%s (%s): %q, %v; want %q, %v", tc.rule, from, got, err, tc.want, tc.err)
			}
		}
	}
}

func readNetstring(src io.Reader) (string, error) {
	n, err := wire.NewReader(src).Netstring(20)
	if err != nil {
		return "", err
	}
	b, err := n.Bytes()
	return string(b), err
}

// recipients is the third netstring of QMTP: netstrings within one.
func recipients(input string) (got []string, err error) {
	outer, err := wire.NewReader(strings.NewReader(input)).Netstring(1000)
	if err != nil {
		return nil, err
	}
	for {
		inner, err := outer.Netstring(100)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		b, err := inner.Bytes()
		if err != nil {
			return got, err
		}
		got = append(got, string(b))
	}
}

func TestNetstringsWithinOne(t *testing.T) {
	for _, tc := range []struct {
		rule, input, want string
		err               error
	}{
		{"two", "34:13:b@example.com,13:c@example.net,,", "b@example.com c@example.net", nil},
		{"none", "0:,", "", nil},
		{"one empty", "3:0:,,", "", nil},
		{"the inner one ends outside", "5:9:abc,,xxxxxxxxx", "", wire.ErrNetstring},
		{"only its comma is outside", "5:3:abc,,", "", wire.ErrNetstring},
		{"its length goes on outside", "2:12:,", "", wire.ErrNetstring},
		{"rubbish at the end", "7:3:abc,x,", "abc", wire.ErrNetstring},
		{"the outer comma is missing", "6:3:abc,;", "abc", wire.ErrNetstring},
		{"end of input", "6:3:abc,", "abc", io.ErrUnexpectedEOF},
		{"end of input before the inner one", "6:", "", io.ErrUnexpectedEOF},
	} {
		got, err := recipients(tc.input)
		if strings.Join(got, " ") != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q, %v; want %q, %v", tc.rule, got, err, tc.want, tc.err)
		}
	}
}

func TestNetstringIsSkipped(t *testing.T) {
	r := wire.NewReader(strings.NewReader("5:hello,3:abc,2:xy;"))
	for _, want := range []error{nil, nil, wire.ErrNetstring} {
		n, err := r.Netstring(10)
		if err != nil {
			t.Fatal(err)
		}
		n.Read(make([]byte, 1))
		if err := n.Skip(); err != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if _, err := r.Netstring(10); err != wire.ErrNetstring {
		t.Errorf("after a malformed one: %v", err)
	}
}

// A length is a promise only: memory follows what has come.
func TestNetstringTakesMemoryAsItComes(t *testing.T) {
	allocated := testing.AllocsPerRun(5, func() {
		n, err := wire.NewReader(strings.NewReader("999999999999:x")).Netstring(1 << 50)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := n.Bytes(); err != io.ErrUnexpectedEOF || b != nil {
			t.Errorf("%d octets, %v", len(b), err)
		}
	})
	if allocated > 10 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestAppendNetstring(t *testing.T) {
	b := wire.AppendNetstring([]byte("x"), "")
	b = wire.AppendNetstring(b, []byte("hello"))
	if string(b) != "x0:,5:hello," {
		t.Errorf("%q", b)
	}
}

func FuzzNetstring(f *testing.F) {
	f.Add("5:hello,")
	f.Add("34:13:b@example.com,13:c@example.net,,")
	f.Add("7:3:abc,x,")
	f.Fuzz(func(t *testing.T, input string) {
		if got, err := recipients(input); err == nil {
			var inner, all []byte
			for _, s := range got {
				inner = wire.AppendNetstring(inner, s)
			}
			all = wire.AppendNetstring(nil, inner)
			if !strings.HasPrefix(input, string(all)) {
				t.Errorf("%q was read as %q", input, got)
			}
		}
		readNetstring(strings.NewReader(input))
	})
}
