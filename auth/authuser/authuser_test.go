package authuser_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/auth/authuser"
)

func parse(t *testing.T, text string) *authuser.Table {
	t.Helper()
	table, err := authuser.Parse(strings.NewReader(text), "users/authuser")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// asked is a store that says by its error that it was asked.
func asked(name string) auth.Verifier {
	return auth.VerifierFunc(func(context.Context, *auth.Credentials) (auth.Identity, error) {
		return auth.Identity{}, errors.New(name + " decides")
	})
}

// The worked table of auth.md, 4.2; the last row as its REQ has it.
func TestWorkedTable(t *testing.T) {
	v := &authuser.Verifier{
		Table:  parse(t, "!evil@a.org:\n!@b.org:\njoe:pw1\njoe@a.org:pw2\n@a.org:&\n@:+\n*:?\n"),
		Stores: map[string]auth.Verifier{"&": asked("vchkpw"), "+": asked("checkvpw"), "?": asked("system")},
	}
	tests := []struct{ user, password, want string }{
		{"evil@a.org", "x", "rejected"},
		{"EVIL@A.org", "x", "rejected"},
		{"x@b.org", "x", "rejected"},
		{"joe", "pw1", "accepted"},
		{"joe", "pw2", "rejected"},
		{"JOE@A.ORG", "pw2", "accepted"},
		{"sue@a.org", "x", "vchkpw decides"},
		{"sue@c.org", "x", "checkvpw decides"},
		{"sue", "x", "system decides"},
	}
	for _, tt := range tests {
		_, err := v.Verify(t.Context(), &auth.Credentials{Mechanism: "plain", User: tt.user, Password: tt.password})
		got := "accepted"
		if errors.Is(err, auth.ErrRejected) {
			got = "rejected"
		} else if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.user, tt.password, got, tt.want)
		}
	}
}

func TestValues(t *testing.T) {
	const secretMD5, secretSHA1 = "5ebe2294ecd0e0f08eab7690d2a6ee69", "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"
	const secretSHA256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
	tests := []struct {
		value, password string
		want            bool
	}{
		{"secret", "secret", true},
		{"secret", "Secret", false},
		{"secret  \t", "secret", true},
		{"a:b c", "a:b c", true},
		{"=secret", "secret", true},
		{"==secret", "=secret", true},
		{"=?", "?", true},
		{"=%" + secretMD5, "%" + secretMD5, true},
		{"%" + secretMD5, "secret", true},
		{"%" + strings.ToUpper(secretMD5), "secret", true},
		{"%" + secretMD5, secretMD5, false},
		{"%" + secretMD5, "%" + secretMD5, false},
		{"%" + secretSHA1, "secret", true},
		{"%" + secretSHA256, "secret", true},
		{"%" + secretSHA256, "", false},
	}
	for _, tt := range tests {
		v := &authuser.Verifier{Table: parse(t, "joe:"+tt.value+"\n")}
		id, err := v.Verify(t.Context(), &auth.Credentials{Mechanism: "login", User: "joe", Password: tt.password})
		if (err == nil) != tt.want || err != nil && !errors.Is(err, auth.ErrRejected) || err == nil && id.Name != "joe" {
			t.Errorf("%s, %s: %+v, %v", tt.value, tt.password, id, err)
		}
	}
}

func TestResponsesNeedThePasswordItself(t *testing.T) {
	v := &authuser.Verifier{Table: parse(t, "mrose:tanstaaf\nmax:%5ebe2294ecd0e0f08eab7690d2a6ee69\n")}
	c := &auth.Credentials{Mechanism: "apop", User: "mrose", Challenge: "<1896.697170952@dbc.mtview.ca.us>", Response: "c4c9334bac560ecc979e58001b3e22fb"}
	if _, err := v.Verify(t.Context(), c); err != nil {
		t.Error(err)
	}
	c.Response = "tanstaaf"
	if _, err := v.Verify(t.Context(), c); !errors.Is(err, auth.ErrRejected) {
		t.Errorf("the password in place of the response: %v", err)
	}
	c.User = "max"
	if _, err := v.Verify(t.Context(), c); !errors.Is(err, auth.ErrRejected) {
		t.Errorf("a response for a hash: %v", err)
	}
}

func TestWithoutStoreOrTable(t *testing.T) {
	c := &auth.Credentials{Mechanism: "plain", User: "joe", Password: "x"}
	v := &authuser.Verifier{Table: parse(t, "*:!\n")}
	if _, err := v.Verify(t.Context(), c); err == nil || sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("a store that is not there: %v", err)
	}
	if _, err := (&authuser.Verifier{}).Verify(t.Context(), c); !errors.Is(err, auth.ErrRejected) {
		t.Errorf("no table: %v", err)
	}
}

func TestLookupOrder(t *testing.T) {
	table := parse(t, "# comment\n\n*:?\n@:+\n@a.org:&\njoe@a.org:pw\njoe:pw\njoe:pw2\n!sue\n!@evil.org \t\r\n")
	for user, want := range map[string]int{
		"joe@a.org": 6, "JOE": 8, "ann@a.org": 5, "ann@b.org": 4, "ann": 3, "sue": 9, "sue@a.org": 5, "x@EVIL.org": 10, "a@b@a.org": 5, "": 3, "@": 4,
	} {
		if rule := table.Lookup(user); rule == nil || rule.Line != want {
			t.Errorf("%q: %+v, want line %d", user, rule, want)
		}
	}
	if rule := parse(t, "joe:pw\n").Lookup("ann"); rule != nil {
		t.Errorf("%+v", rule)
	}
}

func TestParseNamesFileAndLine(t *testing.T) {
	for _, line := range []string{"joe", "joe:", "joe:x", ":secret", "!", "joe:%abc", "joe:%5ebe2294ecd0e0f08eab7690d2a6ee6z", "joe:a\x00b"} {
		_, err := authuser.Parse(strings.NewReader("#\n"+line+"\n"), "users/authuser")
		if err == nil || !strings.HasPrefix(err.Error(), "users/authuser:2: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("!evil@a.org:\njoe:pw1\n@:+\n*:?\n", "joe")
	f.Add("joe:%5ebe2294ecd0e0f08eab7690d2a6ee69\n!x", "x")
	f.Fuzz(func(t *testing.T, text, user string) {
		table, err := authuser.Parse(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		if rule := table.Lookup(user); rule != nil && rule.Line < 1 {
			t.Fatalf("%+v", rule)
		}
		v := &authuser.Verifier{Table: table}
		if _, err := v.Verify(t.Context(), &auth.Credentials{Mechanism: "plain", User: user}); err == nil {
			t.Fatal("no password is a password")
		}
	})
}

func Example() {
	table, err := authuser.Parse(strings.NewReader("joe:%5ebe2294ecd0e0f08eab7690d2a6ee69\n!@spam.example\n"), "users/authuser")
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier := &authuser.Verifier{Table: table}
	for _, user := range []string{"joe", "ann", "x@spam.example"} {
		id, err := verifier.Verify(context.Background(), &auth.Credentials{Mechanism: "plain", User: user, Password: "secret"})
		fmt.Printf("%q %v\n", id.Name, err)
	}
	// Output:
	// "joe" <nil>
	// "" auth: rejected: no rule for such a user
	// "" auth: rejected: the rule in line 2 denies
}
