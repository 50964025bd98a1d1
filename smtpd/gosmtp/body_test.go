package gosmtp

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
)

func TestLinesEndInCRLF(t *testing.T) {
	long := strings.Repeat("x", 5000) + "\n"
	for _, text := range []string{"", "\n", "a", "a\n", "a\n\nb\n", "\r\n", long, long + "\n" + long} {
		want := strings.ReplaceAll(text, "\n", "\r\n")
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "data with error": iotest.DataErrReader,
			"octets": iotest.OneByteReader, "halves": iotest.HalfReader,
		} {
			if got, err := io.ReadAll(newCRLFReader(wrap(strings.NewReader(text)))); string(got) != want || err != nil {
				t.Errorf("%s: %.20q gives %.20q, %v", name, text, got, err)
			}
		}
		if got, err := io.ReadAll(iotest.OneByteReader(newCRLFReader(strings.NewReader(text)))); string(got) != want || err != nil {
			t.Errorf("in octets: %.20q gives %.20q, %v", text, got, err)
		}
	}
}

func TestErrorsOfTheMessage(t *testing.T) {
	lost := errors.New("lost")
	tooBig := &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 552}}
	for _, tc := range []struct{ is, want error }{{lost, lost}, {tooBig, smtp.ErrDataTooLarge}} {
		r := newCRLFReader(io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(tc.is)))
		got, err := io.ReadAll(r)
		if string(got) != "a\r\n" || err != tc.want {
			t.Errorf("%q, %v", got, err)
		}
	}
}
