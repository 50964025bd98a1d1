package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/control"
)

// Wherever quickstart was cut off, it goes on when it is called again.
func TestQuickstartGoesOn(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "home")
	want, err := quickHome(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, lost := range map[string][]string{
		"whole":                  nil,
		"before the demo user":   {"users/accounts.demo", "home/demo"},
		"before control/me":      {"control/me", "users/accounts.demo", "home/demo"},
		"before the services":    {"control/me", "control/services", "users/accounts", "home/demo"},
		"before the certificate": {"control", "users", "home", "ssl", "alias", "queue"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			for _, file := range lost {
				if file == "users/accounts.demo" {
					err = control.UsersOf(dir).Remove(quickUser)
				} else {
					err = os.RemoveAll(filepath.Join(dir, file))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			password, err := quickHome(dir)
			if err != nil || password != want {
				t.Fatalf("%q, %v", password, err)
			}
			c, err := control.Load(dir)
			if err != nil || len(c.Services) != 5 || !strings.HasSuffix(c.Services[0].Address, ":2525") {
				t.Fatalf("%v, %v", c, err)
			}
			if users, err := c.Users.List(); err != nil || len(users) != 1 {
				t.Errorf("users %v, %v", users, err)
			}
			if again, err := quickHome(dir); err != nil || again != want {
				t.Errorf("%q, %v", again, err)
			}
		})
	}
}

// A home of somebody else is left alone.
func TestQuickstartLeavesOtherHomesAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	must(t, "", "init", "-home", dir, "-me", "mx.example.org")
	if _, err := quickHome(dir); !isPermanent(err) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "demo-password")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
