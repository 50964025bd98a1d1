package userfile

import (
	"errors"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Table {
	t.Helper()
	table, err := Parse(strings.NewReader(text), "users/accounts", "/var/qmail")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestParse(t *testing.T) {
	table := parse(t, "# the staff\n\njoe::$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\r\n"+
		"ann:/home/ann/:=a:b = c \n \t\nmax:mail/max:!")
	accounts := table.Accounts()
	if len(accounts) != 3 {
		t.Fatalf("%d accounts", len(accounts))
	}
	tests := []struct {
		name, maildir string
		line          int
		locked        bool
	}{
		{"joe", "/var/qmail/home/joe/Maildir", 3, false},
		{"ann", "/home/ann/Maildir", 4, false},
		{"max", "/var/qmail/mail/max/Maildir", 6, true},
	}
	for i, tt := range tests {
		a, found := table.Lookup(strings.ToUpper(tt.name))
		if !found || a != accounts[i] || a.Name != tt.name || a.Maildir() != tt.maildir || a.Line != tt.line || a.Locked() != tt.locked {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
	if got := accounts[1].secret.clear; got != "a:b = c " {
		t.Errorf("clear password %q", got)
	}
	if !accounts[1].Challenged() || accounts[0].Challenged() || accounts[2].Challenged() {
		t.Error("Challenged is for passwords in the file")
	}
	if _, found := table.Lookup(strings.Repeat("x", 1<<20)); found {
		t.Error("who is that?")
	}
}

func TestParseNamesFileAndLineOfEveryError(t *testing.T) {
	tests := map[string]string{
		"no colon":          "joe",
		"one colon":         "joe:x",
		"no name":           "::=x",
		"upper case":        "Joe::=x",
		"a path":            "../joe::=x",
		"a dot file":        ".joe::=x",
		"an option":         "-joe::=x",
		"blank in front":    " joe::=x",
		"home leads out":    "joe:../../etc:=x",
		"clear password":    "joe::secret",
		"NUL":               "joe::=a\x00b",
		"twice":             "joe::=x\njoe::=y",
		"too long a line":   "joe::=" + strings.Repeat("x", maxLine),
		"address":           "joe@example.org::=x",
		"colon in the hash": "joe:home:x:$6$a$b",
	}
	for name, line := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(strings.NewReader("# comment\n"+line+"\nann::=x\n"), "users/accounts", "/")
			var pe *ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("err %v", err)
			}
			want := 2 + strings.Count(line, "\n")
			if pe.File != "users/accounts" || pe.Line != want || !strings.HasPrefix(err.Error(), "users/accounts:") {
				t.Errorf("%v: line %d, want %d", err, pe.Line, want)
			}
		})
	}
}

func TestParseTellsOfManyErrorsButNotOfAll(t *testing.T) {
	_, err := Parse(strings.NewReader(strings.Repeat("bad\n", 1000)), "f", "/")
	if n := strings.Count(err.Error(), "\n") + 1; n != maxErrors {
		t.Errorf("%d errors", n)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

func TestParseIsBounded(t *testing.T) {
	if _, err := Parse(endless{}, "f", "/"); err == nil {
		t.Error("an endless file was read")
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"joe": true, "j": true, "joe.public+x=y_z-1": true, "0": true, strings.Repeat("x", 64): true,
		"": false, ".": false, "..": false, "a/b": false, "a:b": false, "Joe": false, "jöe": false, "a b": false, strings.Repeat("x", 65): false} {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("joe::=secret\n# x\nann:/home/ann:!\n")
	f.Add("max:mail/max:$6$saltstring$b4SOQO.YI\r\n")
	f.Add("joe")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Parse(strings.NewReader(text), "f", "/root")
		if err != nil {
			return
		}
		for _, a := range table.Accounts() {
			found, ok := table.Lookup(a.Name)
			if !ok || found != a || !ValidName(a.Name) || !strings.HasPrefix(a.Home, "/") {
				t.Fatalf("account %+v", a)
			}
		}
	})
}
