package control_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/control"
)

func TestAccountsAndAuthuserTogether(t *testing.T) {
	dir := newHome(t)
	write(t, dir, "users/accounts", "joe::=account\nmax::!\n")
	write(t, dir, "users/authuser", "joe:table\nmax:table\nann:=table\nboss@mx.example.org:table\n!eve\n*:?\n")
	write(t, dir, "users/assign", "=boss:root:0:0:/home/boss:::\n.\n")
	c, err := control.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	warned(t, c.Problems, "users/authuser:6: warning: the store \"?\" is not supported yet")
	tests := []struct {
		user, password string
		want           string // "Maildir", "rejected" or "deferred"
	}{
		{"joe", "account", filepath.Join(dir, "home/joe/Maildir")},
		{"joe@mx.example.org", "account", filepath.Join(dir, "home/joe/Maildir")},
		{"joe", "table", "rejected"},
		{"max", "table", "rejected"}, // locked is locked
		{"ann", "table", ""},
		{"ann", "account", "rejected"},
		{"boss@mx.example.org", "table", "/home/boss/Maildir"},
		{"eve", "x", "rejected"},
		{"who", "x", "deferred"},
	}
	for _, tt := range tests {
		id, err := c.Verifier().Verify(t.Context(), &auth.Credentials{Mechanism: "plain", User: tt.user, Password: tt.password})
		got := id.Maildir
		if errors.Is(err, auth.ErrRejected) {
			got = "rejected"
		} else if err != nil && sqmail.ClassOf(err) == sqmail.Deferral {
			got = "deferred"
		}
		if got != tt.want {
			t.Errorf("%s: %s, %v", tt.user, got, err)
		}
	}
}

func TestBrokenAuthuserIsRefused(t *testing.T) {
	refuse(t, home(map[string]string{"users/authuser": "#\njoe\n"}), "users/authuser:2:")
	refuse(t, unreadable{home(nil), "users/authuser"}, "users/authuser: cannot be read")
}
