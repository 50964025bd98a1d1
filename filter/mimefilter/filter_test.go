package mimefilter_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/mimefilter"
)

// patterns makes patterns of a list in which blanks separate the rules.
func patterns(list string) *filter.Patterns {
	var rules []filter.Rule
	for i, text := range strings.Fields(list) {
		rules = append(rules, filter.Rule{Text: text, File: "control/badnames", Line: i + 1})
	}
	return mimefilter.NewPatterns(rules)
}

// look shows f a message, in pieces of n octets.
func look(t testing.TB, f *mimefilter.Filter, text string, n int) (sqmail.Verdict, error) {
	t.Helper()
	s, err := f.Body(t.Context(), &filter.Session{Peer: &sqmail.Peer{}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for len(text) > 0 {
		piece := text[:min(n, len(text))]
		if _, err := io.WriteString(s, piece); err != nil {
			t.Fatal(err)
		}
		text = text[len(piece):]
	}
	return s.End()
}

// parts returns what f.Part is asked, one line for each part.
func parts(t *testing.T, text string) []string {
	t.Helper()
	var got []string
	f := &mimefilter.Filter{Part: func(_ context.Context, p *mimefilter.Part) (sqmail.Verdict, error) {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d/%d %s %s", p.Number, p.Depth, p.Type, strings.Join(p.Names, "|"))))
		return sqmail.Verdict{}, nil
	}}
	if v, err := look(t, f, text, 1<<20); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%+v, %v", v, err)
	}
	return got
}

// encode64 returns text in base64, in lines of 60.
func encode64(text string) string {
	var b strings.Builder
	for all := base64.StdEncoding.EncodeToString([]byte(text)); len(all) > 0; {
		n := min(60, len(all))
		b.WriteString(all[:n] + "\n")
		all = all[n:]
	}
	return b.String()
}

func TestStructure(t *testing.T) {
	const mixed = "Content-Type: multipart/mixed; boundary=b\n\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", []string{"1/0 text/plain"}},
		{"a text", "Subject: x\n\nhello\n--b\n", []string{"1/0 text/plain"}},
		{"no end of the header", "content-TYPE : Text/HTML;charset=x", []string{"1/0 text/html"}},
		{
			"two parts", mixed + "preamble\n--b\n\nhello\n--b\nContent-Type: image/png;\n name=a.png\n\nx\n--b--\nepilogue\n",
			[]string{"1/0 multipart/mixed", "2/1 text/plain", "3/1 image/png a.png"},
		},
		{
			"CRLF", strings.ReplaceAll(mixed+"--b\nContent-Type: image/png\n\nx\n--b--\n", "\n", "\r\n"),
			[]string{"1/0 multipart/mixed", "2/1 image/png"},
		},
		{
			"nested", mixed + "--b\nContent-Type: multipart/alternative; boundary=\"in ner\"\n\n--in ner\n\n--in ner--\n--b\n\nlast\n--b--\n",
			[]string{"1/0 multipart/mixed", "2/1 multipart/alternative", "3/2 text/plain", "4/1 text/plain"},
		},
		{
			"the outer delimiter ends the inner multipart", mixed + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n--b\n\n--c\n",
			[]string{"1/0 multipart/mixed", "2/1 multipart/mixed", "3/2 text/plain", "4/1 text/plain"},
		},
		{
			"the longest boundary is meant", mixed + "--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\n--b\n\n",
			[]string{"1/0 multipart/mixed", "2/1 multipart/mixed", "3/2 text/plain", "4/1 text/plain"},
		},
		{
			"a message in a message", "Content-Type: message/rfc822\n\nContent-Type: image/png; name=x.png\n\n",
			[]string{"1/0 message/rfc822", "2/1 image/png x.png"},
		},
		{
			"one in base64", mixed + "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" +
				encode64(mixed+"--b\nContent-Type: image/png; name=x.png\n\nx\n--b--\n") + "--b\nContent-Type: image/gif\n\n",
			[]string{"1/0 multipart/mixed", "2/1 message/rfc822", "3/2 multipart/mixed", "4/3 image/png x.png", "5/1 image/gif"},
		},
		{
			"one without padding and with junk", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" +
				strings.TrimRight(strings.ReplaceAll(encode64("Content-Type: image/png;\n\tname=x"), "\n", "!\n"), "=!\n"),
			[]string{"1/0 message/rfc822", "2/1 image/png x"},
		},
		{
			"one in quoted-printable", "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n" +
				"Content-Type: image/p=\nng; name=3D=\nx=2Epng\n\n",
			[]string{"1/0 message/rfc822", "2/1 image/png x.png"},
		},
		{
			"one in one", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" +
				encode64("Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\n"+encode64("Content-Type: image/png\r\n\r\n")),
			[]string{"1/0 message/rfc822", "2/1 message/global", "3/2 image/png"},
		},
		{
			"one that ends within a line", mixed + "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" +
				encode64("Content-Type: image/png") + "--b--\n",
			[]string{"1/0 multipart/mixed", "2/1 message/rfc822", "3/2 image/png"},
		},
		{
			"a digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nContent-Type: image/png\n\n--b\nContent-Type: text/html\n\nx\n",
			[]string{"1/0 multipart/digest", "2/1 message/rfc822", "3/2 image/png", "4/1 text/html"},
		},
		{
			"a header without a body", mixed + "--b\nContent-Type: image/png\n--b\nContent-Type: image/gif\n--b--\n",
			[]string{"1/0 multipart/mixed", "2/1 image/png", "3/1 image/gif"},
		},
		{
			"parts behind the end", mixed + "--b--\n--b\nContent-Type: image/png\n\n",
			[]string{"1/0 multipart/mixed", "2/1 image/png"},
		},
		{"a multipart without boundary", "Content-Type: multipart/mixed\n\n--b\n\n", []string{"1/0 multipart/mixed"}},
		{
			"two types", "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\n",
			[]string{"1/0 text/plain", "2/1 image/png"},
		},
		{
			"uuencoded, or not", "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\nbegin 644 x\n",
			[]string{"1/0 text/plain", "2/1 application/x-uuencode x"},
		},
		{
			"uuencoded", "Subject: x\n\nbegin 644 Evil.EXE\n#86%A\n`\nend\nbegin again\nbegin 999 x\nbegin 644 \n",
			[]string{"1/0 text/plain", "2/1 application/x-uuencode evil.exe"},
		},
	} {
		if got := parts(t, test.text); !slices.Equal(got, test.want) {
			t.Errorf("%s:\n%q, want\n%q", test.name, got, test.want)
		}
	}
}

// All readings of a name count.
func TestNames(t *testing.T) {
	f := &mimefilter.Filter{Names: patterns("*.exe")}
	for _, field := range []string{
		`Content-Type: application/octet-stream; name=evil.exe`,
		`Content-Type: application/octet-stream; name="evil.exe"`,
		`Content-Type: application/octet-stream; NAME = "EVIL.EXE"`,
		`content-disposition:attachment;filename=evil.exe`,
		`Content-Disposition: attachment; filename="c:\\temp\\evil.exe"`,
		`Content-Disposition: attachment; filename="c:\temp\evil.exe"`,
		`Content-Disposition: attachment; filename="../../evil.exe"`,
		`Content-Disposition: attachment; filename="evil.exe . "`,
		`Content-Disposition: attachment; filename="ev\il.\exe"`,
		`Content-Disposition: attachment; filename="evil.exe`,
		`Content-Disposition: attachment; filename=evil.exe (a comment)`,
		`Content-Disposition: attachment; filename=evil.exe(a comment)`,
		`Content-Disposition: attachment; (a comment; "x") filename=evil.exe`,
		`Content-Disposition: attachment; (unterminated; filename=evil.exe`,
		`Content-Disposition: attachment; x="y; filename=evil.exe`,
		`Content-Disposition: attachment; size=10 filename=evil.exe`,
		`Content-Disposition: attachment; filename=fine.txt; filename=evil.exe`,
		`Content-Disposition: attachment; filename=evil.exe; filename=fine.txt`,
		`Content-Disposition: attachment; filename="my evil.exe"`,
		`Content-Disposition: attachment; filename=my evil.exe`,
		`Content-Disposition: filename=evil.exe`,
		`Content-Disposition: attachment; filename*=utf-8''evil%2Eexe`,
		`Content-Disposition: attachment; filename*=evil%2Eexe`,
		`Content-Disposition: attachment; filename*=iso-8859-1'en'%E9vil%2Eexe; filename=fine.txt`,
		`Content-Disposition: attachment; filename*0="ev"; filename*1="il.exe"`,
		`Content-Disposition: attachment; filename*1="il.exe"; filename*0="ev"`,
		`Content-Disposition: attachment; filename*0*=utf-8''ev%69; filename*1*=l%2E; filename*2=exe`,
		`Content-Disposition: attachment; filename*0=ev; filename*1=il.txt; filename*1=il.exe`,
		`Content-Disposition: attachment; filename="=?utf-8?Q?evil=2Eexe?="`,
		`Content-Disposition: attachment; filename==?utf-8?B?ZXZpbC5leGU=?=`,
		`Content-Disposition: attachment; filename="=?x-unknown?Q?evil=2Eexe?="`,
		`Content-Disposition: attachment; filename="=?utf-8?Q?evil?= =?utf-8?Q?=2Eexe?="`,
		`Content-Disposition: attachment; filename="evil%2eexe"`,
		"Content-Disposition: attachment; filename=\"evil.exe\x00.txt\"",
		"Content-Disposition: attachment; filename=\"evil.\x07exe\"",
		"Content-Disposition: attachment;\n\tfilename=evil.exe",
		"Content-Disposition\t: attachment; filename=evil.exe",
		"Content-Disposition: attachment; filename=\"txt.\u202eevil.exe\"",
		"Content-Disposition: inline\nContent-Disposition: attachment; filename=evil.exe",

		// What lenient mail programs take.
		`Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbC5leGU?="`,      // no padding
		`Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbC!5l.eGU=?="`,   // not of the alphabet
		`Content-Disposition: attachment; filename="=?utf-8?b?ZXZpbA==LmV4ZQ==?="`, // padding in the middle
		`Content-Disposition: attachment; filename="=?utf-8*en?q?evil=2=2Eexe?="`,  // a sign that is none
		`Content-Disposition: attachment; filename="=?utf-16le?B?ZQB2AGkAbAAuAGUAeABlAA==?="`,
		`Content-Disposition: attachment; filename="=?utf-8?Q?evil.e?= 	 =?utf-8?Q?xe?="`,
		`Content-Disposition: attachment; filename="=?=?=?utf-8?x?y?= =?utf-8?Q?evil.exe?="`,
		`Content-Disposition: attachment; filename="evil.exe/"`,
		`Content-Disposition: attachment; filename=(a (comm\)ent))"evil.exe"`,
		`Content-Disposition: attachment; filename= (a comment) (another) evil.exe`,
		"Content-Disposition" + strings.Repeat(" ", 100) + ": attachment; filename=evil.exe",
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			v, err := look(t, f, "Subject: x\n"+field+"\n\nbody\n", n)
			if err != nil || v.Reply.Code != 554 || v.Rule != "*.exe" || v.File != "control/badnames" || v.Line != 1 {
				t.Errorf("%q: %+v, %v", field, v, err)
			}
		}
	}
	for _, field := range []string{
		`Subject: filename=evil.exe`,
		`Content-Disposition: attachment; filename=evil.exe.txt`,
		`Content-Disposition: attachment; filename="exe"`,
		"Content-Disposition: attachment; filename=\"evil.\n exe\"",
		`Content-Description: evil.exe`,
		`X-Content-Disposition: attachment; filename=evil.exe`,
		`Content-Disposition: attachment; xfilename=evil.exe`,
	} {
		if v, err := look(t, f, field+"\n\nfilename=evil.exe\n", 9); err != nil || v.Action != sqmail.ActionPass {
			t.Errorf("%q: %+v, %v", field, v, err)
		}
	}
}

func TestTypes(t *testing.T) {
	f := &mimefilter.Filter{Types: patterns("multipart/encrypted application/X-*"), Text: "ask the postmaster"}
	for text, rule := range map[string]string{
		"Content-Type: multipart/encrypted; boundary=b\n\n":                                                 "multipart/encrypted",
		"Content-Type: Application/X-Foo\n\n":                                                               "application/x-*",
		"Content-Type: text/plain\nContent-Type: application/x-foo(comment)\n\n":                            "application/x-*",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/x-foo;name=x\n\n--b--": "application/x-*",
		"Subject: x\n\nbegin 644 file\n":                                                                    "application/x-*",
		"Content-Type: (a comment) application/x-foo\n\n":                                                   "application/x-*",
		"Content-Type: \"application/x-foo\"; charset=utf-8\n\n":                                            "application/x-*",
		"Content-Type: text/application/x-foo\n\n":                                                          "",
		"Subject: Content-Type: application/x-foo\n":                                                        "",
	} {
		v, err := look(t, f, text, 5)
		if err != nil || v.Rule != rule || (rule != "") != (v.Reply.Text == "sorry, invalid message content (attachment); ask the postmaster") {
			t.Errorf("%q: %+v, %v", text, v, err)
		}
	}
}

func TestWhatHasTooManyReadingsIsRefused(t *testing.T) {
	for text, rule := range map[string]string{
		"Content-Type: multipart/mixed; boundary=a; boundary=b\n\n":                                            "two boundaries",
		"Content-Type: multipart/mixed; boundary=a\nContent-Type: multipart/mixed; boundary=b\n\n":             "two boundaries",
		"Content-Type: multipart/mixed; boundary=a\nContent-Type: multipart/mixed; boundary=\"a\"\n\n":         "",
		"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\n": "two encodings of a message",
		"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: 8BIT\n\n":   "",
		"Content-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\n":      "",
		"Content-Type: multipart/mixed; boundary=\"\"\n\n":                                                     "empty boundary",
		"Content-Type: multipart/mixed; boundary=(a comment)b\n\n":                                             "two boundaries",
		"Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 257) + "\n\n":                         "boundary too long",
		"Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 256) + "\n\n":                         "",
		"Content-Type: text/plain; name=" + strings.Repeat("x", 513) + "\n\n":                                  "name of an attachment too long",
		"Content-Type: text/plain; name=" + strings.Repeat("x", 512) + "\n\n":                                  "",
		"Content-Type: text/plain" + strings.Repeat("; a=b", 200) + "\n\n":                                     "",
		"Content-Type: text/plain" + strings.Repeat("; a=b", 201) + "\n\n":                                     "too many parameters",
		"Content-Disposition: attachment" + strings.Repeat(" a=b", 201) + "\n\n":                               "too many parameters",
		"Content-Type: text/plain" + several("; name=%d") + "\n\n":                                             "too many names of an attachment",
		"Content-Type: multipart/mixed; boundary=\"a b\"; boundary=a\n\n--a b\nContent-Type: x/y\n\n--a":       "",
	} {
		v, err := look(t, new(mimefilter.Filter), text, 100)
		if err != nil || v.Rule != rule || (rule != "") != (v.Reply.Code == 554 && v.Reply.Enhanced == sqmail.EnhancedCode{5, 6, 0}) {
			t.Errorf("%.60q: %+v, %v", text, v, err)
		}
	}
}

func several(format string) string {
	var b strings.Builder
	for i := range 33 {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestVerdictsOfParts(t *testing.T) {
	const text = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n\n--b--\n"
	asked := 0
	answer := func(v sqmail.Verdict, err error) *mimefilter.Filter {
		asked = 0
		return &mimefilter.Filter{Part: func(context.Context, *mimefilter.Part) (sqmail.Verdict, error) {
			asked++
			return v, err
		}}
	}
	if v, err := look(t, answer(sqmail.Verdict{Action: sqmail.ActionTag, Header: "X: y\n"}, nil), text, 9); err != nil || v.Header != "X: y\nX: y\nX: y\n" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := look(t, answer(sqmail.Verdict{Action: sqmail.ActionReject, Rule: "mine"}, nil), text, 9); err != nil || v.Rule != "mine" || asked != 1 {
		t.Errorf("%+v, %v, asked %d times", v, err, asked)
	}
	if v, err := look(t, answer(sqmail.Verdict{}, errors.New("disk on fire")), text, 9); err == nil || asked != 1 {
		t.Errorf("%+v, %v, asked %d times", v, err, asked)
	}
}

func TestRelayClientsArePassed(t *testing.T) {
	s, err := (&mimefilter.Filter{Strangers: true}).Body(t.Context(), &filter.Session{Peer: &sqmail.Peer{User: "joe"}})
	if s != nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
}

// What a well-behaved writer writes is read as it was meant.
func TestMessagesOfTheStandardLibrary(t *testing.T) {
	var b bytes.Buffer
	outer := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\r\n\r\n", outer.Boundary())
	inner := multipart.NewWriter(nil)
	w, _ := outer.CreatePart(textproto.MIMEHeader{"Content-Type": {"multipart/alternative; boundary=" + inner.Boundary()}})
	in := multipart.NewWriter(w)
	in.SetBoundary(inner.Boundary())
	for _, kind := range []string{"text/plain", "text/html"} {
		p, _ := in.CreatePart(textproto.MIMEHeader{"Content-Type": {kind}})
		io.WriteString(p, "hello\r\n")
	}
	in.Close()
	p, _ := outer.CreatePart(textproto.MIMEHeader{
		"Content-Type": {"image/png"}, "Content-Disposition": {`attachment; filename="x.png"`}, "Content-Transfer-Encoding": {"base64"},
	})
	io.WriteString(p, base64.StdEncoding.EncodeToString(make([]byte, 1000)))
	outer.Close()
	want := []string{"1/0 multipart/mixed", "2/1 multipart/alternative", "3/2 text/plain", "4/2 text/html", "5/1 image/png x.png"}
	if got := parts(t, b.String()); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
