package compile_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
)

// Databases can be files, maps, or anything with a function that takes records.
func Example() {
	text := "# who may send as whom\njoe@example.com&joe.stein@example.com\n10.0.0.1-3&\n"
	err := compile.MailFromRules(strings.NewReader(text), func(key, value []byte) error {
		fmt.Printf("%s %q\n", key, value)
		return nil
	})
	fmt.Println(err)
	// Output:
	// joe@example.com "+joe.stein@example.com"
	// 10.0.0.1 ""
	// 10.0.0.2 ""
	// 10.0.0.3 ""
	// <nil>
}

type compiler = func(io.Reader, func(key, value []byte) error) error

// compiled returns the records of a text as "key=value".
func compiled(f compiler, text string) (records []string, err error) {
	err = f(strings.NewReader(text), func(key, value []byte) error {
		records = append(records, string(key)+"="+string(value))
		return nil
	})
	return records, err
}

func TestCompile(t *testing.T) {
	for _, test := range []struct {
		name string
		f    compiler
		text string
		want string // records, or the beginning of the error
	}{
		{"newmrh", compile.MoreRcptHosts, "# c\n\nExample.COM \t\r\n.example.org", "example.com= .example.org="},
		{"newmrh", compile.MoreRcptHosts, "example.com\njoe@example.com\n", `line 2: "joe@example.com" is no domain`},
		{"recipients", compile.Recipients, "Me@MyDomain.com  \n#x\nlist-@mydomain.com", ":me@mydomain.com= :list-@mydomain.com="},
		{"recipients", compile.Recipients, "a@b.c\n\nb\n@c.d\ne@\n", "line 3: \"b\" is no address\nline 4: \"@c.d\" is no address\nline 5: \"e@\" is no address"},
		{"badmimetypes", compile.BadMIMETypes, "TVqQAAMAA DOS\n#TVqQAAMAA\nTVpQAAIAA", "TVqQAAMAA= TVpQAAIAA="},
		{"badmimetypes", compile.BadMIMETypes, "TVqQAAMA\n", `line 1: "TVqQAAMA" does not begin with 9`},
		{"badmimetypes", compile.BadMIMETypes, "a dos program\n", `line 1: "a dos program" does not begin with 9`},
		{"badloadertypes", compile.BadLoaderTypes, "Mi5kb\nMzIuZ x", "Mi5kb= MzIuZ="},
		{"badloadertypes", compile.BadLoaderTypes, "Mi5k", `line 1: "Mi5k" does not begin with 5`},

		// filter.md, 6.1
		{"mfrules", compile.MailFromRules, "Joe@example.com&Joe.Stein@Example.com", "joe@example.com=+joe.stein@example.com"},
		{"mfrules", compile.MailFromRules, "=.heaven.mil&god@heaven.mil,st.peter@heaven.mil  ", "=.heaven.mil=+god@heaven.mil+st.peter@heaven.mil"},
		{"mfrules", compile.MailFromRules, "10.&", "10.="},
		{"mfrules", compile.MailFromRules, "fe80:&user@my.local", "fe80:=+user@my.local"},
		{"mfrules", compile.MailFromRules, "=&@here.test", "==+@here.test"},
		{"mfrules", compile.MailFromRules, "mary-ann&@x.test", "mary-ann=+@x.test"},
		{"mfrules", compile.MailFromRules, "1.2.3.254-999&", "1.2.3.254= 1.2.3.255="},
		{"mfrules", compile.MailFromRules, "10.2-3.&", "10.2.= 10.3.="},
		{"mfrules", compile.MailFromRules, "1.2.3.20-10&", `line 1: "20-10" in "1.2.3.20-10" is no octet`},
		{"mfrules", compile.MailFromRules, "0-255.0-255.1.1&", `line 1: "0-255.0-255.1.1" stands for more`},
		{"mfrules", compile.MailFromRules, "joe@example.com", "line 1: \"joe@example.com\" is not key&string"},
		{"mfrules", compile.MailFromRules, "j&@x.test", "line 1: the key \"j\" has less"},
		{"mfrules", compile.MailFromRules, "joe&ab", "line 1: the string \"ab\" has less"},
		{"mfrules", compile.MailFromRules, "joe&@x.test,,@y.test", "line 1: the string \"\" has less"},
		{"mfrules", compile.MailFromRules, "joe&@x.test, @y.test", "line 1: the string \" @y.test\" begins"},
		{"mfrules", compile.MailFromRules, "joe&joe+tag@x.test", "line 1: the string \"joe+tag@x.test\" holds"},
	} {
		records, err := compiled(test.f, test.text)
		got := strings.Join(records, " ")
		if err != nil {
			got = err.Error()
			if bad, ok := errors.AsType[*filter.LineError](err); !ok || bad.Line == 0 {
				t.Errorf("%s %q: %v names no line", test.name, test.text, err)
			}
		}
		if got != test.want && (err == nil || !strings.HasPrefix(got, test.want)) {
			t.Errorf("%s %q: %q, want %q", test.name, test.text, got, test.want)
		}
	}
}

func TestLongLinesAreRefused(t *testing.T) {
	_, err := compiled(compile.MoreRcptHosts, "a.test\n"+strings.Repeat("a", 1<<20))
	if bad, ok := errors.AsType[*filter.LineError](err); !ok || bad.Line != 2 {
		t.Errorf("%v", err)
	}
}

func TestErrorOfPutEndsTheWork(t *testing.T) {
	full := errors.New("disk full")
	for _, f := range []compiler{compile.MoreRcptHosts, compile.Recipients, compile.MailFromRules} {
		n := 0
		err := f(strings.NewReader("a@b.test&a@b.test\nc.test\n"), func(_, _ []byte) error { n++; return full })
		if err == nil || n > 1 {
			t.Errorf("%d calls, %v", n, err)
		}
	}
}

func FuzzOctets(f *testing.F) {
	f.Add("1.2.3.10-20")
	f.Add("10.2-3.")
	f.Fuzz(func(t *testing.T, key string) {
		keys, err := compile.Octets(key)
		if err != nil {
			return
		}
		if len(keys) == 0 || len(keys) > 4096 {
			t.Errorf("%q: %d keys", key, len(keys))
		}
		sorted := slices.Clone(keys)
		slices.Sort(sorted)
		if len(slices.Compact(sorted)) != len(keys) {
			t.Errorf("%q: keys stand twice", key)
		}
	})
}

func BenchmarkRecipients(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "user%d@example.org\n", i)
	}
	for b.Loop() {
		err := compile.Recipients(strings.NewReader(text.String()), func(_, _ []byte) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
}
