package userfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/auth/userfile"
)

const accounts = `joe::$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy
ann:/home/ann:=open sesame
max::!=open sesame
eve::
`

func password(user, secret string) *auth.Credentials {
	return &auth.Credentials{Mechanism: auth.MechanismPlain, User: user, Password: secret}
}

func TestVerify(t *testing.T) {
	v := &userfile.Verifier{File: newFile(t, accounts), IsLocal: func(domain string) bool { return strings.EqualFold(domain, "mx.example.org") }}
	const apopChallenge, apopResponse = "<1896.697170952@dbc.mtview.ca.us>", "c4c9334bac560ecc979e58001b3e22fb"
	tests := []struct {
		name string
		c    *auth.Credentials
		want string // the Maildir; "" is rejected
	}{
		{"hash", password("joe", "open sesame"), "/var/qmail/home/joe/Maildir"},
		{"case of the name", password("Joe", "open sesame"), "/var/qmail/home/joe/Maildir"},
		{"our domain", password("joe@MX.example.org", "open sesame"), "/var/qmail/home/joe/Maildir"},
		{"clear", password("ann", "open sesame"), "/home/ann/Maildir"},
		{"foreign domain", password("joe@example.net", "open sesame"), ""},
		{"wrong password", password("joe", "open"), ""},
		{"wrong clear password", password("ann", "open"), ""},
		{"no password", password("joe", ""), ""},
		{"hash as password", password("joe", "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"), ""},
		{"long password", password("joe", strings.Repeat("x", 4096)), ""},
		{"unknown user", password("bob", "open sesame"), ""},
		{"locked", password("max", "open sesame"), ""},
		{"no secret", password("eve", "open sesame"), ""},
		{"no secret, no password", password("eve", ""), ""},
		{"response for a hash", &auth.Credentials{Mechanism: auth.MechanismAPOP, User: "joe", Challenge: apopChallenge, Response: apopResponse}, ""},
		{"wrong response", &auth.Credentials{Mechanism: auth.MechanismAPOP, User: "ann", Challenge: apopChallenge, Response: apopResponse}, ""},
		{"response of nobody", &auth.Credentials{Mechanism: auth.MechanismAPOP, User: "bob", Challenge: apopChallenge, Response: apopResponse}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := v.Verify(t.Context(), tt.c)
			if id.Maildir != tt.want || (tt.want == "") != errors.Is(err, auth.ErrRejected) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

func TestVerifyAPOP(t *testing.T) {
	v := &userfile.Verifier{File: newFile(t, "mrose::=tanstaaf\n")}
	id, err := v.Verify(t.Context(), &auth.Credentials{Mechanism: auth.MechanismAPOP, User: "mrose",
		Challenge: "<1896.697170952@dbc.mtview.ca.us>", Response: "c4c9334bac560ecc979e58001b3e22fb"})
	if err != nil || id.Name != "mrose" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestVerifyWithoutUsers(t *testing.T) {
	v := &userfile.Verifier{File: newFile(t, "")}
	if _, err := v.Verify(t.Context(), password("joe", "x")); !errors.Is(err, auth.ErrRejected) {
		t.Error(err)
	}
}

func TestVerifyWithoutAFileIsTemporary(t *testing.T) {
	_, err := new(userfile.Verifier).Verify(t.Context(), &auth.Credentials{User: "joe", Password: "x"})
	if err == nil || errors.Is(err, auth.ErrRejected) {
		t.Error(err)
	}
}

func TestVerifyOfABrokenFileIsTemporary(t *testing.T) {
	v := &userfile.Verifier{File: newFile(t, "oops\n")}
	_, err := v.Verify(t.Context(), password("joe", "x"))
	if err == nil || sqmail.ClassOf(err) != sqmail.Deferral {
		t.Error(err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	v := &userfile.Verifier{File: newFile(t, accounts)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Verify(ctx, password("joe", "open sesame"))
	if !errors.Is(err, context.Canceled) || sqmail.ClassOf(err) != sqmail.Deferral {
		t.Error(err)
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "userfile")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	users := &userfile.File{Path: dir + "/accounts", Root: "/var/qmail"}
	secret, err := userfile.Hash("open sesame")
	if err == nil {
		err = users.Add("joe", "", secret)
	}
	if err != nil {
		fmt.Println(err)
		return
	}

	verifier := &userfile.Verifier{File: users}
	for _, password := range []string{"guess", "open sesame"} {
		id, err := verifier.Verify(context.Background(), &auth.Credentials{Mechanism: "plain", User: "joe", Password: password})
		fmt.Println(id.Maildir, err)
	}
	// Output:
	//  auth: rejected: wrong password
	// /var/qmail/home/joe/Maildir <nil>
}
