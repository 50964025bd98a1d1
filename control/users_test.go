package control_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/auth/userfile"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery/local"
)

var _ local.Users = (*control.Users)(nil)

// newHome makes a real home.
func newHome(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := control.Init(dir, "mx.example.org", control.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestWhoControlsAnAddress(t *testing.T) {
	dir := newHome(t)
	write(t, dir, "users/accounts", "joe::!\njoe-list::!\nann:/home/ann:!\n")
	write(t, dir, "users/assign", "=boss:root:0:0:/home/boss:::\n+boss-:root:0:0:/home/boss:-:in-:\n+boss-x:never:1:1:/home/x:-:y-:\n=boss:late:1:1:/home/late:::\n.\n")
	c, err := control.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	tests := []struct {
		local string
		want  local.User
	}{
		{"joe", local.User{Name: "joe", Home: home + "/joe"}},
		{"Joe", local.User{Name: "joe", Home: home + "/joe"}},
		{"joe-Work-x", local.User{Name: "joe", Home: home + "/joe", Dash: "-", Ext: "Work-x"}},
		{"joe-", local.User{Name: "joe", Home: home + "/joe", Dash: "-", Ext: ""}},
		{"joe-list", local.User{Name: "joe-list", Home: home + "/joe-list"}},
		{"JOE-LIST-owner", local.User{Name: "joe-list", Home: home + "/joe-list", Dash: "-", Ext: "owner"}},
		{"ann", local.User{Name: "ann", Home: "/home/ann"}},
		{"boss", local.User{Name: "root", Home: "/home/boss"}},
		{"BOSS-Mail", local.User{Name: "root", Home: "/home/boss", Dash: "-", Ext: "in-Mail"}},
		{"boss-xyz", local.User{Name: "never", Home: "/home/x", Dash: "-", Ext: "y-yz"}},
		{"bob", local.User{}},
		{"jo", local.User{}},
		{"joey", local.User{}},
		{"-joe", local.User{}},
		{"", local.User{}},
		{"../joe", local.User{}},
	}
	for _, tt := range tests {
		got, err := c.Users.Lookup(t.Context(), tt.local)
		if got != tt.want || (tt.want == local.User{}) != errors.Is(err, local.ErrNoUser) {
			t.Errorf("%q: %+v, %v", tt.local, got, err)
		}
	}
	if c.Users.Alias != filepath.Join(dir, "alias") {
		t.Errorf("alias %s", c.Users.Alias)
	}
}

// The worked table of local.md, 2.1.
func TestAssignAsTheSpecHasIt(t *testing.T) {
	dir := newHome(t)
	write(t, dir, "users/assign", "=joe:joe:507:100:/home/joe:::\n+joe-:joe:507:100:/home/joe:-::\n+:alias:7790:2108:/q/alias:-::\n.\n")
	c, err := control.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]local.User{
		"Joe":         {Name: "joe", Home: "/home/joe"},
		"joe-Foo-bar": {Name: "joe", Home: "/home/joe", Dash: "-", Ext: "Foo-bar"},
		"bill":        {Name: "alias", Home: "/q/alias", Dash: "-", Ext: "bill"},
	} {
		if got, err := c.Users.Lookup(t.Context(), name); got != want || err != nil {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
}

func TestBrokenAssignIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"=joe:joe:1:1:/home/joe:::\n":        "users/assign: has no line with a dot",
		"":                                   "users/assign: has no line with a dot",
		"=joe:joe:1:1:/home/joe:\n.\n":       "users/assign:1:",
		"# comment\n.\n":                     "users/assign:1:",
		"\n.\n":                              "users/assign:1:",
		"=a:a:1:1:/a:::\n=b:b:1:1:b:::\n.\n": "users/assign:2: its home",
		"=a\x00:a:1:1:/a:::\n.\n":            "users/assign:1:",
	} {
		refuse(t, home(map[string]string{"users/assign": text}), want)
	}
}

func TestAddedUserHasMailAndCanLogIn(t *testing.T) {
	dir := newHome(t)
	c, err := control.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := userfile.Hash("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	if err := control.UsersOf(dir).Add("joe", secret); err != nil { // another process
		t.Fatal(err)
	}
	user, err := c.Users.Lookup(t.Context(), "joe")
	if err != nil || user.Home != filepath.Join(dir, "home/joe") {
		t.Errorf("%+v, %v", user, err)
	}
	for _, name := range []string{"joe", "joe@mx.example.org"} {
		id, err := c.Verifier().Verify(t.Context(), &auth.Credentials{Mechanism: "plain", User: name, Password: "open sesame"})
		if err != nil || id.Maildir != filepath.Join(user.Home, "Maildir") {
			t.Errorf("%+v, %v", id, err)
		}
	}
	for _, sub := range []string{"new", "cur", "tmp"} {
		if info, err := os.Stat(filepath.Join(user.Home, "Maildir", sub)); err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", sub, info, err)
		}
	}
	list, err := c.Users.List()
	if err != nil || len(list) != 1 || list[0].Name != "joe" {
		t.Errorf("%v, %v", list, err)
	}
	if err := c.Users.Add("joe", secret); !errors.Is(err, userfile.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if err := c.Users.Add("../joe", secret); !errors.Is(err, userfile.ErrName) {
		t.Errorf("a path: %v", err)
	}
	if err := c.Users.SetSecret("joe", "!"); err != nil {
		t.Error(err)
	}
	if _, err := c.Verifier().Verify(t.Context(), &auth.Credentials{Mechanism: "plain", User: "joe", Password: "open sesame"}); !errors.Is(err, auth.ErrRejected) {
		t.Errorf("locked: %v", err)
	}
	if err := c.Users.Remove("joe"); err != nil {
		t.Error(err)
	}
	if _, err := c.Users.Lookup(t.Context(), "joe"); !errors.Is(err, local.ErrNoUser) {
		t.Errorf("removed: %v", err)
	}
	if _, err := os.Stat(user.Home); err != nil {
		t.Errorf("the mail is gone: %v", err)
	}
}

func TestLookupOfABrokenFileIsTemporary(t *testing.T) {
	dir := newHome(t)
	write(t, dir, "users/accounts", "oops\n")
	if _, err := control.UsersOf(dir).Lookup(t.Context(), "joe"); err == nil || errors.Is(err, local.ErrNoUser) {
		t.Errorf("%v", err)
	}
}
