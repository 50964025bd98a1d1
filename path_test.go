package sqmail_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sqmail/sqmail"
)

func TestParsePathTakesMailboxes(t *testing.T) {
	for _, tc := range []struct {
		rule, in, local, domain string
	}{
		{"null path", "", "", ""},
		{"postmaster needs no domain", "postmaster", "postmaster", ""},
		{"postmaster in any case", "PostMaster", "PostMaster", ""},
		{"dot-string", "joe.doe@example.com", "joe.doe", "example.com"},
		{"case is kept", "Joe@Example.COM", "Joe", "Example.COM"},
		{"every atext character", "!#$%&'*+-/=?^_`{|}~@a.test", "!#$%&'*+-/=?^_`{|}~", "a.test"},
		{"quotes are kept", `"joe smith"@example.com`, `"joe smith"`, "example.com"},
		{"needless quotes are kept", `"joe"@example.com`, `"joe"`, "example.com"},
		{"empty quoted string", `""@example.com`, `""`, "example.com"},
		{"at sign and bracket in quotes", `"a@b>c"@example.com`, `"a@b>c"`, "example.com"},
		{"backslash pairs are kept", `"a\"b\\c\ d"@example.com`, `"a\"b\\c\ d"`, "example.com"},
		{"verp", "list-return-1-joe=a.test@b.test", "list-return-1-joe=a.test", "b.test"},
		{"srs", "SRS0=HHH=TT=a.test=joe@b.test", "SRS0=HHH=TT=a.test=joe", "b.test"},
		{"domain of one label", "joe@localhost", "joe", "localhost"},
		{"domain of digits", "joe@123.test", "joe", "123.test"},
		{"underscore in a domain", "joe@a_b.test", "joe", "a_b.test"},
		{"IPv4 literal", "joe@[127.0.0.1]", "joe", "[127.0.0.1]"},
		{"IPv6 literal", "joe@[IPv6:2001:db8::1]", "joe", "[IPv6:2001:db8::1]"},
		{"IPv6 tag in any case", "joe@[ipv6:::1]", "joe", "[ipv6:::1]"},
		{"IPv6v4 literal", "joe@[IPv6:::ffff:192.0.2.1]", "joe", "[IPv6:::ffff:192.0.2.1]"},
		{"general literal", "joe@[x400:c=de]", "joe", "[x400:c=de]"},
		{"UTF-8 local part", "jörg@example.com", "jörg", "example.com"},
		{"UTF-8 in quotes", `"jörg ö"@example.com`, `"jörg ö"`, "example.com"},
		{"UTF-8 domain", "用户@例え.テスト", "用户", "例え.テスト"},
		{"long local part", strings.Repeat("a", 640) + "@a.test", strings.Repeat("a", 640), "a.test"},
		{"longest label", "a@" + strings.Repeat("b", 63) + ".test", "a", strings.Repeat("b", 63) + ".test"},
		{"longest path", strings.Repeat("a", 899-7) + "@a.test", strings.Repeat("a", 899-7), "a.test"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			p, err := sqmail.ParsePath(tc.in)
			want := sqmail.Path{Local: tc.local, Domain: tc.domain}
			if err != nil || p != want {
				t.Fatalf("ParsePath(%q) = %+v, %v; want %+v", tc.in, p, err, want)
			}
			if p.String() != tc.in {
				t.Errorf("String() = %q, want the input %q", p.String(), tc.in)
			}
		})
	}
}

func TestParsePathRefuses(t *testing.T) {
	for _, tc := range []struct {
		rule, in string
		want     error
	}{
		{"local part alone", "joe", sqmail.ErrPathNoDomain},
		{"quoted local part alone", `"joe"`, sqmail.ErrPathNoDomain},
		{"no local part", "@example.com", sqmail.ErrPathSyntax},
		{"no domain behind the at", "joe@", sqmail.ErrPathSyntax},
		{"postmaster with an empty domain", "postmaster@", sqmail.ErrPathSyntax},
		{"only an at", "@", sqmail.ErrPathSyntax},
		{"two ats", "a@b@example.com", sqmail.ErrPathSyntax},
		{"source route", "@a.test:joe@b.test", sqmail.ErrPathSyntax},
		{"brackets", "<joe@example.com>", sqmail.ErrPathSyntax},
		{"dot first", ".joe@example.com", sqmail.ErrPathSyntax},
		{"dot last", "joe.@example.com", sqmail.ErrPathSyntax},
		{"two dots", "joe..doe@example.com", sqmail.ErrPathSyntax},
		{"blank", "joe doe@example.com", sqmail.ErrPathSyntax},
		{"blank before", " joe@example.com", sqmail.ErrPathSyntax},
		{"blank behind", "joe@example.com ", sqmail.ErrPathSyntax},
		{"backslash outside quotes", `a\>b@example.com`, sqmail.ErrPathSyntax},
		{"quotes not closed", `"joe@example.com`, sqmail.ErrPathSyntax},
		{"quotes closed by a pair", `"joe\"@example.com`, sqmail.ErrPathSyntax},
		{"quotes in the middle", `a"b"@example.com`, sqmail.ErrPathSyntax},
		{"text behind quotes", `"a"b@example.com`, sqmail.ErrPathSyntax},
		{"newline in quotes", "\"a\nb\"@example.com", sqmail.ErrPathSyntax},
		{"newline in a pair", "\"a\\\nb\"@example.com", sqmail.ErrPathSyntax},
		{"tab in quotes", "\"a\tb\"@example.com", sqmail.ErrPathSyntax},
		{"NUL", "a\x00b@example.com", sqmail.ErrPathSyntax},
		{"DEL in quotes", "\"a\x7fb\"@example.com", sqmail.ErrPathSyntax},
		{"not UTF-8", "j\xf6rg@example.com", sqmail.ErrPathSyntax},
		{"domain with two dots", "joe@a..test", sqmail.ErrPathSyntax},
		{"domain with a dot at the end", "joe@a.test.", sqmail.ErrPathSyntax},
		{"domain with a dot first", "joe@.a.test", sqmail.ErrPathSyntax},
		{"hyphen first in a label", "joe@-a.test", sqmail.ErrPathSyntax},
		{"hyphen last in a label", "joe@a-.test", sqmail.ErrPathSyntax},
		{"newline in the domain", "joe@a.test\n", sqmail.ErrPathSyntax},
		{"label of 64 octets", "joe@" + strings.Repeat("a", 64) + ".test", sqmail.ErrPathSyntax},
		{"empty literal", "joe@[]", sqmail.ErrPathSyntax},
		{"half a literal", "joe@[", sqmail.ErrPathSyntax},
		{"literal not closed", "joe@[127.0.0.1", sqmail.ErrPathSyntax},
		{"literal of an impossible address", "joe@[127.0.0.256]", sqmail.ErrPathSyntax},
		{"IPv6 without its tag", "joe@[::1]", sqmail.ErrPathSyntax},
		{"IPv4 behind the IPv6 tag", "joe@[IPv6:127.0.0.1]", sqmail.ErrPathSyntax},
		{"IPv6 with a zone", "joe@[IPv6:fe80::1%eth0]", sqmail.ErrPathSyntax},
		{"bracket in a literal", "joe@[x:a]b]", sqmail.ErrPathSyntax},
		{"literal's tag with a hyphen last", "joe@[x-:a]", sqmail.ErrPathSyntax},
		{"domain of 256 octets", "joe@" + strings.Repeat("a.", 126) + "test", sqmail.ErrPathTooLong},
		{"path of 900 octets", strings.Repeat("a", 900-7) + "@a.test", sqmail.ErrPathTooLong},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if p, err := sqmail.ParsePath(tc.in); !errors.Is(err, tc.want) {
				t.Fatalf("ParsePath(%q) = %+v, %v; want %v", tc.in, p, err, tc.want)
			}
		})
	}
}

func TestParseAnglePath(t *testing.T) {
	for _, tc := range []struct {
		rule, in, path, rest string
		want                 error
	}{
		{rule: "parameters are left", in: "<joe@example.com> SIZE=10", path: "joe@example.com", rest: " SIZE=10"},
		{rule: "null path", in: "<>", path: ""},
		{rule: "postmaster", in: "<Postmaster>", path: "Postmaster"},
		{rule: "source route is dropped", in: "<@a,@b:joe@example.com>", path: "joe@example.com"},
		{rule: "quotes are kept", in: `<"joe smith"@example.com>`, path: `"joe smith"@example.com`},
		{rule: "bracket in quotes", in: `<"a>b"@example.com>x`, path: `"a>b"@example.com`, rest: "x"},
		{rule: "quote in a pair", in: `<"a\">b"@example.com>`, path: `"a\">b"@example.com`},
		{rule: "literal", in: "<joe@[127.0.0.1]>", path: "joe@[127.0.0.1]"},
		{rule: "nothing", in: "", want: sqmail.ErrPathSyntax},
		{rule: "no brackets", in: "joe@example.com", want: sqmail.ErrPathSyntax},
		{rule: "blank before the bracket", in: " <joe@example.com>", want: sqmail.ErrPathSyntax},
		{rule: "blank inside", in: "< joe@example.com>", want: sqmail.ErrPathSyntax},
		{rule: "no closing bracket", in: "<joe@example.com", want: sqmail.ErrPathSyntax},
		{rule: "closing bracket only in quotes", in: `<"joe>"@example.com`, want: sqmail.ErrPathSyntax},
		{rule: "backslash outside quotes", in: `<a\>b@example.com>`, want: sqmail.ErrPathSyntax},
		{rule: "source route alone", in: "<@a,@b>", want: sqmail.ErrPathSyntax},
		{rule: "source route to nowhere", in: "<@a:>", want: sqmail.ErrPathSyntax},
		{rule: "source route without at", in: "<@a,b:joe@example.com>", want: sqmail.ErrPathSyntax},
		{rule: "source route with a bad domain", in: "<@a..b:joe@example.com>", want: sqmail.ErrPathSyntax},
		{rule: "no domain", in: "<joe>", want: sqmail.ErrPathNoDomain},
		{rule: "too long", in: "<" + strings.Repeat("a", 900) + "@a.test>", want: sqmail.ErrPathTooLong},
		{rule: "source route too long", in: "<" + strings.Repeat("@a,", 400) + "@a:joe@a.test>", want: sqmail.ErrPathSyntax},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			p, rest, err := sqmail.ParseAnglePath(tc.in)
			if tc.want != nil {
				if !errors.Is(err, tc.want) {
					t.Fatalf("ParseAnglePath(%q) error = %v, want %v", tc.in, err, tc.want)
				}
				return
			}
			if err != nil || p.String() != tc.path || rest != tc.rest {
				t.Fatalf("ParseAnglePath(%q) = %q, %q, %v", tc.in, p, rest, err)
			}
		})
	}
}

// The left column is what qmail's envelopes hold, the right one is how the
// address stands on the wire and in a header field.
func TestPathOfQuotes(t *testing.T) {
	for _, tc := range []struct{ unquoted, written string }{
		{"", ""},
		{"joe", "joe"},
		{"joe@example.com", "joe@example.com"},
		{"jörg@example.com", "jörg@example.com"},
		{"joe smith@example.com", `"joe smith"@example.com`},
		{`a b"c@x.y`, `"a b\"c"@x.y`},
		{`a\b@x.y`, `"a\\b"@x.y`},
		{"@l.org", `""@l.org`},
		{"a@b@x.y", `"a@b"@x.y`},
		{".a@x.y", `".a"@x.y`},
		{"a.@x.y", `"a."@x.y`},
		{"a..b@x.y", `"a..b"@x.y`},
		{"a(b)@x.y", `"a(b)"@x.y`},
		{"a\nb@x.y", "\"a\\\nb\"@x.y"},
		{"a\rb@x.y", "\"a\\\rb\"@x.y"},
		{"a\tb@x.y", "\"a\tb\"@x.y"},
		{"j\xf6rg@x.y", "\"j\xf6rg\"@x.y"},
		{"#@[]", "#@[]"},
		{`"quoted"@x.y`, `"\"quoted\""@x.y`},
		{"@", `""`},
		{"a@b@", `"a@b"`},
	} {
		p := sqmail.PathOf(tc.unquoted)
		if p.String() != tc.written {
			t.Errorf("PathOf(%q) = %q, want %q", tc.unquoted, p, tc.written)
		}
		if got := p.Unquoted(); got != tc.unquoted {
			t.Errorf("PathOf(%q).Unquoted() = %q", tc.unquoted, got)
		}
	}
}

func TestPathEqual(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"joe@example.com", "joe@EXAMPLE.com", true},
		{"joe@example.com", "Joe@example.com", false},
		{`"joe"@example.com`, "joe@example.com", true},
		{`"jo\e"@example.com`, "joe@example.com", true},
		{"postmaster@a.test", "POSTMASTER@a.test", true},
		{"postmaster", "Postmaster", true},
		{"postmaster", "postmaster@a.test", false},
		{"", "", true},
		{"", "joe@example.com", false},
		{"JÖRG@example.com", "jörg@example.com", false},
	} {
		a, b := mustPath(t, tc.a), mustPath(t, tc.b)
		if a.Equal(b) != tc.want || b.Equal(a) != tc.want {
			t.Errorf("%q equal to %q: want %v", a, b, tc.want)
		}
	}
}

func TestPathAsksForUTF8OnlyInLocalPart(t *testing.T) {
	for in, want := range map[string]bool{
		"joe@example.com": false, "joe@例え.テスト": false, "jörg@example.com": true, `"ö"@a.test`: true, "": false,
	} {
		if p := mustPath(t, in); p.NeedsUTF8() != want {
			t.Errorf("NeedsUTF8 of %q: want %v", in, want)
		}
	}
}

func TestPathIsNull(t *testing.T) {
	if !(sqmail.Path{}).IsNull() || sqmail.PathOf("@").IsNull() || sqmail.PathOf("joe").IsNull() {
		t.Error("only the path without local part and domain is null")
	}
}

// What a queue reads back is what it was given, byte for byte, though JSON
// knows no strings that are not UTF-8.
func TestPathSurvivesJSON(t *testing.T) {
	paths := []sqmail.Path{
		{},
		mustPath(t, "Postmaster"),
		mustPath(t, `"jo\e"@example.com`),
		mustPath(t, `"a@b"@example.com`),
		mustPath(t, "jörg@例え.テスト"),
		mustPath(t, `"a<b&c"@[IPv6:::1]`),
	}
	for _, address := range []string{
		"joe", "@", "a@b@", "j\xf6rg@a.test", "joe@a\xff.test", "joe@not a domain", "a\x00\r\n\t\x7fb@a.test",
		`a\"b@a.test`, "#@[]", "\u2028@a.test", "\ufffd\xff@a.test", strings.Repeat("é", 900) + "@a.test",
	} {
		paths = append(paths, sqmail.PathOf(address))
	}
	for _, p := range paths {
		if got := throughJSON(t, p); got != p {
			t.Errorf("%+v came back as %+v", p, got)
		}
	}
}

func TestPathReadsWhatAHandWroteIntoAQueue(t *testing.T) {
	for text, want := range map[string]sqmail.Path{
		"joe smith@a.test":   {Local: `"joe smith"`, Domain: "a.test"},
		`\broken`:            {Local: `"\\broken"`},
		`"not closed@a.test`: {Local: `"\"not closed"`, Domain: "a.test"},
		`"a"b@c.test`:        {Local: `"\"a\"b"`, Domain: "c.test"},
	} {
		var p sqmail.Path
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want {
			t.Errorf("UnmarshalText(%q) = %+v, %v; want %+v", text, p, err, want)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{
		"", "postmaster", "joe@example.com", `"a\"b"@[IPv6:::1]`, "a@b@c", "\"a\\\nb\"@c", "j\xf6@x", "@", "x@", `"`, `\"x"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkParsed(t, s)
		checkUnquoted(t, s)
		checkAngle(t, s)
	})
}

// checkParsed: what is parsed prints as it was written, and reads back.
func checkParsed(t *testing.T, s string) {
	p, err := sqmail.ParsePath(s)
	if err != nil {
		return
	}
	if p.String() != s || !utf8.ValidString(s) || len(s) > sqmail.MaxPath {
		t.Fatalf("ParsePath(%q) = %+v", s, p)
	}
	if got := throughJSON(t, p); got != p {
		t.Fatalf("%+v came back from JSON as %+v", p, got)
	}
	if q := sqmail.PathOf(p.Unquoted()); !q.Equal(p) || q.IsNull() != p.IsNull() {
		t.Fatalf("PathOf(%q) = %+v is not equal to %+v", p.Unquoted(), q, p)
	}
}

// checkUnquoted: any string is an address in an envelope, and stays the same.
func checkUnquoted(t *testing.T, s string) {
	p := sqmail.PathOf(s)
	want := s
	if local, found := strings.CutSuffix(s, "@"); found && local != "" && !strings.Contains(local, "@") {
		want = local
	}
	if got := p.Unquoted(); got != want {
		t.Fatalf("PathOf(%q) = %+v, Unquoted %q", s, p, got)
	}
	if got := throughJSON(t, p); got != p {
		t.Fatalf("%+v came back from JSON as %+v", p, got)
	}
	if q, err := sqmail.ParsePath(p.String()); err == nil && q != p {
		t.Fatalf("%+v is written %q and read as %+v", p, p, q)
	}
}

// checkAngle: brackets end where the path ends.
func checkAngle(t *testing.T, s string) {
	want, wantErr := sqmail.ParsePath(s)
	p, rest, err := sqmail.ParseAnglePath("<" + s + "> rest")
	if wantErr == nil && (err != nil || p != want || rest != " rest") {
		t.Fatalf("ParseAnglePath(<%q>) = %+v, %q, %v", s, p, rest, err)
	}
}

func throughJSON(t *testing.T, p sqmail.Path) (back sqmail.Path) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// mustPath is ParsePath for paths that are right.
func mustPath(t *testing.T, s string) sqmail.Path {
	t.Helper()
	p, err := sqmail.ParsePath(s)
	if err != nil {
		t.Fatalf("ParsePath(%q): %v", s, err)
	}
	return p
}
