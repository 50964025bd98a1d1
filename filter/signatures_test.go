package filter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// scan runs a message through a body filter, in pieces of n octets.
func scan(t testing.TB, f filter.BodyFilter, s *filter.Session, message string, n int) (sqmail.Verdict, error) {
	t.Helper()
	sc, err := f.Body(t.Context(), s)
	if sc == nil || err != nil {
		return sqmail.Verdict{}, err
	}
	defer sc.Close()
	for len(message) > 0 {
		k := min(n, len(message))
		if _, err := sc.Write([]byte(message[:k])); err != nil {
			return sqmail.Verdict{}, err
		}
		message = message[k:]
	}
	return sc.End()
}

const base64Header = "Content-Transfer-Encoding: base64"

func TestBadMIMEType(t *testing.T) {
	exe := filter.KeysOf("TVqQAAMAA")
	for _, test := range []struct {
		lines  []string
		blanks bool
		bad    bool
	}{
		// filter.md, 10
		{lines: []string{base64Header, "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding: 7bit", "", "TVqQAAMAAAAEAAAA"}},
		{lines: []string{"CONTENT-TRANSFER-ENCODING: BASE64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{base64Header, "X-Other: 1", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{base64Header, "--boundary", "", "TVqQAAMAAAAEAAAA"}},
		{lines: []string{base64Header, "", "tvqqaamaaAAA"}},
		{lines: []string{base64Header, "", "SGVsbG8g", "TVqQAAMAAAAEAAAA"}},
		{lines: []string{base64Header, "", "SGVs bG8gd29ybGQ="}, blanks: true, bad: true},
		{lines: []string{base64Header, "", "SGVs bG8gd29ybGQ="}},

		// REQ: white space and folding in the field, empty lines before the body.
		{lines: []string{"Content-Transfer-Encoding:base64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding:\t  base64  ", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding:", " base64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding: base64 (sic)", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{base64Header, "", "", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{base64Header, "", "TVqQAAMAA"}, bad: true},
		{lines: []string{base64Header, "", "TVqQ"}},

		// What those who decode it do not care about.
		{lines: []string{"Content-Transfer-Encoding : base64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding: (sic) base64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding: \"base64\";", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding:", " (a", " comment)", "\tbase64", "X-Other: 1", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding:" + strings.Repeat(" ", 2000) + "base64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding" + strings.Repeat(" ", 2000) + ":base64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding:" + strings.Repeat("\n ", 2000) + "base64", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{"Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: 7bit", "", "TVqQAAMAAAAEAAAA"}, bad: true},
		{lines: []string{base64Header, "", "TVqQ", "AAMAAAAEAAAA"}, bad: true},
		{lines: []string{base64Header, "", "T", "V", "q", "Q", "A", "A", "M", "A", "A"}, bad: true},
		{lines: []string{base64Header, "", "!TVq QA\tAM*A=A"}, bad: true},
		{lines: []string{base64Header, "", "TVqQ", "", "AAMAAAAEAAAA"}},
		{lines: []string{"Content-Transfer-Encodings: base64", "", "TVqQAAMAAAAEAAAA"}},
		{lines: []string{"Content-Transfer-Encoding: base64x", "", "TVqQAAMAAAAEAAAA"}},
		{lines: []string{"Content-Transfer-Encoding: 7bit", " ", "base64", "", "TVqQAAMAAAAEAAAA"}},
		{lines: []string{base64Header, "", strings.Repeat("A", 5000) + " x"}, blanks: true, bad: true},
		{lines: []string{base64Header, "", "AAAA", "--b", "text with blanks"}, blanks: true},
	} {
		f := &filter.BadMIMEType{Types: exe, Blanks: test.blanks}
		message := strings.Join(test.lines, "\n") + "\n"
		for _, n := range []int{1, 7, 1 << 20} {
			v, err := scan(t, f, &filter.Session{Peer: &sqmail.Peer{}}, message, n)
			if bad := v.Action == sqmail.ActionReject; bad != test.bad || err != nil {
				t.Errorf("%q in pieces of %d: %v, %v", test.lines, n, v.Action, err)
			}
			if test.bad && v.Reply.Code != 554 {
				t.Errorf("%q: %v", test.lines, v.Reply)
			}
		}
	}
}

func TestBadLoaderType(t *testing.T) {
	f := &filter.BadLoaderType{Types: filter.KeysOf("Mi5kb"), First: 'M'}
	long := strings.Repeat("A", 1022)
	for _, test := range []struct {
		lines []string
		bad   bool
	}{
		// filter.md, 11
		{[]string{base64Header, "", "AAAAMi5kbGwA"}, true},
		{[]string{base64Header, "", "AAAAmi5kb"}, false},
		{[]string{"Subject: x", "", "AAAAMi5kbGwA"}, false},

		{[]string{base64Header, "", "AAAA", "BBBBMi5kb"}, true},
		{[]string{base64Header, "", "AAAAMi5", "kbAAAA"}, false}, // split over a line end
		{[]string{base64Header, "", long + "Mi5kb"}, true},       // across the end of the line's memory
		{[]string{base64Header, "", long + long + "Mi5kb"}, true},
		{[]string{base64Header, "", "AAAA", "-", "Mi5kb"}, false},
	} {
		message := strings.Join(test.lines, "\n") + "\n"
		for _, n := range []int{1, 3, 1023, 1 << 20} {
			v, err := scan(t, f, &filter.Session{Peer: &sqmail.Peer{}}, message, n)
			if bad := v.Action == sqmail.ActionReject; bad != test.bad || err != nil {
				t.Errorf("%.60q in pieces of %d: %v, %v", test.lines, n, v.Action, err)
			}
		}
	}
}

func TestSignaturesOfStrangersAlone(t *testing.T) {
	relay := &filter.Session{Peer: &sqmail.Peer{User: "joe"}}
	message := base64Header + "\n\nTVqQAAMAAAAEMi5kb\n"
	for _, f := range []filter.BodyFilter{
		&filter.BadMIMEType{Types: filter.KeysOf("TVqQAAMAA"), Strangers: true},
		&filter.BadLoaderType{Types: filter.KeysOf("Mi5kb"), First: 'M', Strangers: true},
	} {
		if v, err := scan(t, f, relay, message, 100); v.Action != sqmail.ActionPass || err != nil {
			t.Errorf("%s: %v, %v", f.Name(), v, err)
		}
		if v, err := scan(t, f, &filter.Session{Peer: &sqmail.Peer{}}, message, 100); v.Action != sqmail.ActionReject || err != nil {
			t.Errorf("%s: %v, %v", f.Name(), v, err)
		}
	}
}

// TestSignaturesForgetEachMessage: what stands at the end of one message says
// nothing of the next one.
func TestSignaturesForgetEachMessage(t *testing.T) {
	s := &filter.Session{Peer: &sqmail.Peer{}}
	for _, f := range []filter.BodyFilter{
		&filter.BadMIMEType{Types: filter.KeysOf("TVqQAAMAA"), Blanks: true},
		&filter.BadLoaderType{Types: filter.KeysOf("Mi5kb"), First: 'M'},
	} {
		for i, message := range []string{base64Header + "\n\nTVqQAAMAAAAEMi5kb\n", "TVqQAAMAA\nMi5kb a b\n", base64Header + "\n", "\nTVqQAAMAAAAE Mi5kb\n"} {
			v, err := scan(t, f, s, message, 100)
			if bad := v.Action == sqmail.ActionReject; bad != (i == 0) || err != nil {
				t.Errorf("%s: message %d: %+v, %v", f.Name(), i, v, err)
			}
		}
	}
}

// brokenDB is a database that cannot be read.
type brokenDB struct{}

func (brokenDB) Get([]byte) ([]byte, bool, error) { return nil, true, errors.New("damaged") }

func TestDamagedDatabaseIsADeferral(t *testing.T) {
	f := &filter.BadMIMEType{Types: brokenDB{}}
	for _, end := range []string{"\n", ""} { // without a line end it is looked up at the end of the message
		v, err := scan(t, f, &filter.Session{Peer: &sqmail.Peer{}}, base64Header+"\n\nTVqQAAMAAAAE"+end, 100)
		if sqmail.ClassOf(err) != sqmail.Deferral || err == nil {
			t.Errorf("a hit in a damaged database is no hit: %+v, %v", v, err)
		}
	}
}

// FuzzSignatures checks that the verdict does not depend on how the message is
// cut into pieces.
func FuzzSignatures(f *testing.F) {
	f.Add(base64Header+"\n\nTVqQAAMAAAAEMi5kb\n", 3)
	f.Fuzz(func(t *testing.T, message string, n int) {
		if n < 1 {
			return
		}
		s := &filter.Session{Peer: &sqmail.Peer{}}
		for _, g := range []filter.BodyFilter{
			&filter.BadMIMEType{Types: filter.KeysOf("TVqQAAMAA", "AAAAAAAAA"), Blanks: true},
			&filter.BadLoaderType{Types: filter.KeysOf("Mi5kb", "MMMMM"), First: 'M'},
		} {
			whole, _ := scan(t, g, s, message, 1<<20)
			cut, _ := scan(t, g, s, message, n)
			if whole.Action != cut.Action {
				t.Errorf("%s: %q: %v whole, %v in pieces of %d", g.Name(), message, whole.Action, cut.Action, n)
			}
		}
	})
}

func BenchmarkSignatures(b *testing.B) {
	message := base64Header + "\n\n" + strings.Repeat(strings.Repeat("TWFu", 19)+"\n", 1300)
	s := &filter.Session{Peer: &sqmail.Peer{}}
	f := &filter.BadLoaderType{Types: filter.KeysOf("Mi5kb"), First: 'M'}
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		scan(b, f, s, message, 32<<10)
	}
}

func TestLastLineCountsWithoutItsLineEnd(t *testing.T) {
	s := &filter.Session{Peer: &sqmail.Peer{}}
	message := base64Header + "\n\nTVqQAAMAA"
	v, err := scan(t, &filter.BadMIMEType{Types: filter.KeysOf("TVqQAAMAA")}, s, message, 5)
	if v.Action != sqmail.ActionReject || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = scan(t, &filter.BadLoaderType{Types: filter.KeysOf("QAAMA"), First: 'Q'}, s, message, 5)
	if v.Action != sqmail.ActionReject || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

// A field may be folded without end; what is kept of it, and the work for each
// line, has one.
func BenchmarkFoldedEncodingField(b *testing.B) {
	message := "Content-Transfer-Encoding:\n" + strings.Repeat(" \n", 1<<19)
	f := &filter.BadMIMEType{Types: filter.Keys{}}
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if _, err := scan(b, f, &filter.Session{Peer: &sqmail.Peer{}}, message, 1<<15); err != nil {
			b.Fatal(err)
		}
	}
}
