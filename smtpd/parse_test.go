package smtpd

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

func TestPathArgument(t *testing.T) {
	for _, test := range []struct {
		arg    string
		loose  bool
		path   string
		params string
		ok     bool
	}{
		{arg: "FROM:<joe@example.org>", path: "joe@example.org", ok: true},
		{arg: "from:<joe@example.org> SIZE=10", path: "joe@example.org", params: " SIZE=10", ok: true},
		{arg: "FROM:<>", path: "", ok: true},
		{arg: `FROM:<"joe smith"@example.org>`, path: `"joe smith"@example.org`, ok: true},
		{arg: `FROM:<"a>b"@example.org> X`, path: `"a>b"@example.org`, params: " X", ok: true},
		{arg: "FROM:<@a.test,@b.test:joe@example.org>", path: "joe@example.org", ok: true},
		{arg: "FROM:<joe@example.org>SIZE=3"},
		{arg: "FROM: <joe@example.org>"},
		{arg: "FROM:joe@example.org"},
		{arg: "FROM:<joe@example.org"},
		{arg: "FROM <joe@example.org>"},
		{arg: "TO:<joe@example.org>"},
		{arg: "FROM:<joe>"},
		{arg: "FROM:"},
		{arg: ""},
		{arg: "FROM: <joe@example.org>  SIZE=1", loose: true, path: "joe@example.org", params: "  SIZE=1", ok: true},
		{arg: "FROM:joe@example.org SIZE=1", loose: true, path: "joe@example.org", params: "SIZE=1", ok: true},
		{arg: "FROM:<joe>", loose: true, path: "joe", ok: true},
		{arg: `FROM:<"j>oe"> X`, loose: true, path: `"j>oe"`, params: " X", ok: true},
		{arg: "FROM:joe", loose: true, path: "joe", ok: true},
		{arg: "FROM:<joe> SIZE=1", loose: true, path: "joe", params: " SIZE=1", ok: true},
		{arg: "FROM:<joe>SIZE=1", loose: true},
		{arg: "FROM:", loose: true},
		{arg: "FROM: ", loose: true},
		{arg: "FROM:joe smith@example.org", loose: true, path: "joe", params: "smith@example.org", ok: true},
		{arg: "FROM:<joe@@example.org>", loose: true},
	} {
		path, params, err := parsePathArgument(test.arg, "FROM:", test.loose)
		if err == nil != test.ok || test.ok && (path.String() != test.path || params != test.params) {
			t.Errorf("%q, loose %v: %q %q %v", test.arg, test.loose, path, params, err)
		}
	}
}

func TestNextParam(t *testing.T) {
	for _, test := range []struct {
		in, keyword, value, rest string
		ok                       bool
	}{
		{"", "", "", "", true},
		{"   ", "", "", "", true},
		{" size=10 X", "SIZE", "10", "X", true},
		{" SMTPUTF8", "SMTPUTF8", "", "", true},
		{"  A=b=c", "A", "b=c", "", true},
		{" A=", "", "", "", false},
		{" =b", "", "", "", false},
		{" -A=b", "", "", "", false},
		{" A_B=c", "", "", "", false},
		{" A=b\x01", "", "", "", false},
	} {
		p, rest, err := nextParam(test.in)
		if err == nil != test.ok || p.keyword != test.keyword || p.value != test.value || rest != test.rest && test.ok {
			t.Errorf("%q: %+v %q %v", test.in, p, rest, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	const most = 1<<63 - 1
	for in, want := range map[string]int64{
		"0": 0, "10": 10, "4294967296": 1 << 32, "9223372036854775807": most,
		"9223372036854775808": most, "99999999999999999999": most, "00000000000000000001": 1,
		"": -1, "-1": -1, "+1": -1, "1k": -1, "000000000000000000001": -1,
	} {
		got, err := parseSize(in)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestXtext(t *testing.T) {
	for _, test := range []struct {
		in, out string
		utf8    bool
		ok      bool
	}{
		{"abc", "abc", false, true},
		{"a+2Bb+3D", "a+b=", false, true},
		{"a+20b", "a b", false, true},
		{"a+2", "", false, false},
		{"a+", "", false, false},
		{"a+2b", "", false, false}, // capitals only
		{"a+0Ab", "", false, false},
		{"a+00", "", false, false},
		{"é", "", false, false},
		{"é", "é", true, true},
		{"+C3+A9", "é", true, true},
		{"+C3", "", true, false},
	} {
		got, err := decodeXtext(test.in, test.utf8)
		if got != test.out || err == nil != test.ok {
			t.Errorf("%q: %q %v", test.in, got, err)
		}
	}
}

func TestNotify(t *testing.T) {
	for in, want := range map[string]sqmail.Notify{
		"NEVER": sqmail.NotifyNever, "never": sqmail.NotifyNever, "success": sqmail.NotifySuccess,
		"FAILURE,DELAY":         sqmail.NotifyFailure | sqmail.NotifyDelay,
		"SUCCESS,FAILURE,DELAY": sqmail.NotifySuccess | sqmail.NotifyFailure | sqmail.NotifyDelay,
		"":                      0, "NEVER,SUCCESS": 0, "SUCCESS,": 0, ",": 0, "OTHER": 0,
	} {
		if got, err := parseNotify(in); got != want || err == nil != (want != 0) {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
}

func TestOriginal(t *testing.T) {
	for _, test := range []struct {
		in, out string
		ok      bool
	}{
		{"rfc822;joe@example.org", "rfc822;joe@example.org", true},
		{"rfc822;joe+2Bx@example.org", "rfc822;joe+x@example.org", true},
		{"rfc822;", "", false},
		{"joe@example.org", "", false},
		{";joe@example.org", "", false},
		{"rfc822;" + strings.Repeat("x", 500), "", false},
		{"rfc822;a+0D+0ABcc:x", "", false},
	} {
		got, err := parseOriginal(test.in, false)
		if err == nil != test.ok || test.ok && got != test.out {
			t.Errorf("%q: %q %v", test.in, got, err)
		}
	}
}

func TestParseChunk(t *testing.T) {
	for _, test := range []struct {
		in   string
		size int64
		last bool
		ok   bool
	}{
		{"0 LAST", 0, true, true},
		{"12", 12, false, true},
		{"12 last", 12, true, true},
		{"9223372036854775807", 1<<63 - 1, false, true},
		{"9223372036854775808", 0, false, false},
		{"", 0, false, false},
		{" LAST", 0, false, false},
		{"12 FOO", 0, false, false},
		{"12  LAST", 0, false, false},
		{"+12", 0, false, false},
		{"-1", 0, false, false},
		{"0x10", 0, false, false},
		{"1_0", 0, false, false},
	} {
		size, last, ok := parseChunk(test.in)
		if ok != test.ok || ok && (size != test.size || last != test.last) {
			t.Errorf("%q: %d %v %v", test.in, size, last, ok)
		}
	}
}

func FuzzPathArgument(f *testing.F) {
	for _, s := range []string{"FROM:<joe@example.org> SIZE=1 BODY=8BITMIME", `FROM:<"a>b"> X=Y`, "FROM: joe", "FROM:<@a:b@c>"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, loose bool) {
		path, params, err := parsePathArgument(s, "FROM:", loose)
		if err != nil {
			return
		}
		if !strings.HasSuffix(s, params) {
			t.Fatalf("%q: parameters %q come from nowhere", s, params)
		}
		if path.Domain != "" {
			if again, err := sqmail.ParsePath(path.String()); err != nil || again != path {
				t.Fatalf("%q: %q does not stand on its own: %v", s, path, err)
			}
		}
		for range len(params) + 1 {
			p, rest, err := nextParam(params)
			if err != nil || p.keyword == "" {
				return
			}
			params = rest
		}
		t.Fatalf("%q: parameters without end", s)
	})
}

func FuzzXtext(f *testing.F) {
	f.Add("a+2Bb", true)
	f.Add("+C3+A9", false)
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		if text, err := decodeXtext(s, utf8); err == nil && (len(text) > len(s) || !isPrintable(text, utf8)) {
			t.Fatalf("%q: %q", s, text)
		}
	})
}
