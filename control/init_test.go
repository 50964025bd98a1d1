package control_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/control"
)

func TestInitMakesASoundHome(t *testing.T) {
	for _, o := range []control.InitOptions{
		{Me: "mx.example.org"},
		{Me: strings.Repeat("long.", 20) + "example.org", Host: "127.0.0.1", HighPorts: true, Postmaster: "joe"},
	} {
		dir := filepath.Join(t.TempDir(), "a", "home")
		if err := control.Init(dir, o); err != nil {
			t.Fatal(err)
		}
		if problems := control.Check(dir); len(problems) > 0 {
			t.Errorf("problems %v", problems)
		}
		c, err := control.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c.Me != o.Me || len(c.Services) != 5 || !c.IsLocal(o.Me) {
			t.Errorf("%+v", c)
		}
		if _, ok := c.Accepts(o.Me); !ok {
			t.Error("mail for the host itself is refused")
		}
		if want := map[bool]string{false: ":25", true: "127.0.0.1:2525"}[o.HighPorts]; c.Services[0].Address != want {
			t.Errorf("address %s", c.Services[0].Address)
		}
		leaf := c.Services[0].TLS.Certificates[0].Leaf
		if leaf.VerifyHostname(o.Me) != nil || leaf.VerifyHostname("127.0.0.1") != nil {
			t.Errorf("names %v %v", leaf.DNSNames, leaf.IPAddresses)
		}
		if text, _ := os.ReadFile(filepath.Join(dir, "alias/.qmail-postmaster")); o.Postmaster != "" && string(text) != "&joe\n" || o.Postmaster == "" && len(text) > 0 {
			t.Errorf("postmaster: %q", text)
		}
	}
}

func TestInitMakesSecretsSecret(t *testing.T) {
	dir := newHome(t)
	for name, mask := range map[string]fs.FileMode{"ssl/localhost.key": 0o077, "users/accounts": 0o007, "queue": 0o077} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm()&mask != 0 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestInitChangesNoHome(t *testing.T) {
	dir := newHome(t)
	write(t, dir, "control/locals", "mine.example\n")
	if err := control.Init(dir, control.InitOptions{Me: "other.example.org"}); !errors.Is(err, fs.ErrExist) {
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
		if err := control.Init(dir, control.InitOptions{Me: "mx.example.org"}); err != nil {
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
		if err := control.Init(t.TempDir(), control.InitOptions{Me: me}); err == nil {
			t.Errorf("%q is taken", me)
		}
	}
	if err := control.Init(t.TempDir(), control.InitOptions{Me: "x", Postmaster: "a\n|rm"}); err == nil {
		t.Error("a postmaster of two lines is taken")
	}
}

func TestClientUser(t *testing.T) {
	if got := control.ClientUser(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}); got != "" {
		t.Errorf("a certificate that was not verified names %q", got)
	}
	leaf := &x509.Certificate{}
	leaf.Subject.Organization = []string{"Example"}
	state := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	if got := control.ClientUser(state); got != "O=Example" {
		t.Errorf("distinguished name %q", got)
	}
	leaf.Subject.CommonName = "joe"
	if got := control.ClientUser(state); got != "joe" {
		t.Errorf("common name %q", got)
	}
	if got := control.ClientUser(nil); got != "" {
		t.Errorf("nobody is %q", got)
	}
}
