package control_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/control"
)

func TestInitMakesASoundHome(t *testing.T) {
	for me, o := range map[string]control.InitOptions{
		"mx.example.org": {},
		strings.Repeat("long.", 20) + "example.org": {Host: "127.0.0.1", HighPorts: true, Postmaster: "joe"},
	} {
		dir := filepath.Join(t.TempDir(), "a", "home")
		if err := control.Init(dir, me, o); err != nil {
			t.Fatal(err)
		}
		if problems := control.Check(dir); len(problems) > 0 {
			t.Errorf("problems %v", problems)
		}
		c, err := control.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c.Me != me || len(c.Services) != 5 || !c.IsLocal(me) {
			t.Errorf("%+v", c)
		}
		if _, ok := c.Accepts(me); !ok {
			t.Error("mail for the host itself is refused")
		}
		if want := map[bool]string{false: ":25", true: "127.0.0.1:2525"}[o.HighPorts]; c.Services[0].Address != want {
			t.Errorf("address %s", c.Services[0].Address)
		}
		leaf := c.Services[0].TLS.Certificates[0].Leaf
		if leaf.VerifyHostname(me) != nil || leaf.VerifyHostname("127.0.0.1") != nil {
			t.Errorf("names %v %v", leaf.DNSNames, leaf.IPAddresses)
		}
		if text, _ := os.ReadFile(filepath.Join(dir, "alias/.qmail-postmaster")); o.Postmaster != "" && string(text) != "&joe\n" || o.Postmaster == "" && len(text) > 0 {
			t.Errorf("postmaster: %q", text)
		}
	}
}

func TestInitMakesSecretsSecret(t *testing.T) {
	dir := newHome(t)
	for name, mask := range map[string]fs.FileMode{"ssl/localhost.key": 0o077, "users/accounts": 0o007, "queue": 0o066} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm()&mask != 0 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestInitChangesNoHome(t *testing.T) {
	dir := newHome(t)
	write(t, dir, "control/locals", "mine.example\n")
	if err := control.Init(dir, "other.example.org", control.InitOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "control/locals")); string(text) != "mine.example\n" {
		t.Errorf("locals %q", text)
	}
}

// Whatever file was the last one that was made before the power failed, Init
// goes on, and keeps what was there.
func TestInitGoesOnAfterAnyStep(t *testing.T) {
	whole := newHome(t)
	var files []string
	filepath.WalkDir(whole, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(whole, path)
			files = append(files, name)
		}
		return err
	})
	if len(files) < 9 {
		t.Fatalf("files %v", files)
	}
	for _, only := range files {
		if only == "control/me" {
			continue
		}
		dir := t.TempDir()
		text, _ := os.ReadFile(filepath.Join(whole, only))
		os.MkdirAll(filepath.Dir(filepath.Join(dir, only)), 0o755)
		write(t, dir, only, string(text))
		if only == "ssl/localhost.pem" {
			write(t, dir, "ssl/localhost.key", readFile(t, whole, "ssl/localhost.key")) // made before
		}
		if err := control.Init(dir, "mx.example.org", control.InitOptions{}); err != nil {
			t.Fatalf("%s: %v", only, err)
		}
		if got := readFile(t, dir, only); got != string(text) {
			t.Errorf("%s has changed", only)
		}
		if _, err := control.Load(dir); err != nil {
			t.Errorf("%s: %v", only, err)
		}
	}
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestInitNeedsAName(t *testing.T) {
	for _, me := range []string{"", "a b", "-x", "x..y", "x/../y", "mx.example.org\n", strings.Repeat("x", 256)} {
		if err := control.Init(t.TempDir(), me, control.InitOptions{}); err == nil {
			t.Errorf("%q is taken", me)
		}
	}
	if err := control.Init(t.TempDir(), "x", control.InitOptions{Postmaster: "a\n|rm"}); err == nil {
		t.Error("a postmaster of two lines is taken")
	}
}
