//go:build e2e

package milter_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/milter"
)

// opendkim starts opendkim, which signs the mail of 192.0.2.1 and verifies
// that of others, and returns its socket.
func opendkim(t *testing.T) (socket string) {
	t.Helper()
	path, err := exec.LookPath("opendkim")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name, format string, args ...any) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	socket = filepath.Join(dir, "socket")
	conf := put("opendkim.conf", "Mode sv\nDomain x.test\nSelector sel\nKeyFile %s\nInternalHosts %s\nTestPublicKeys %s\nSocket local:%s\n"+
		"Canonicalization simple/simple\nAuthservID mx.test\nAlwaysAddARHeader yes\nRequireSafeKeys no\n",
		put("key", "%s", private), put("internal", "192.0.2.1\n"),
		put("public", "sel._domainkey.x.test v=DKIM1; k=rsa; p=%s\n", base64.StdEncoding.EncodeToString(public)), socket)
	var out bytes.Buffer
	cmd := exec.Command(path, "-f", "-x", conf)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("opendkim said:\n%s", &out)
		}
	})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("opendkim ended: %v\n%s", err, &out)
		case <-deadline:
			t.Fatal("opendkim does not answer")
		case <-tick.C:
		}
	}
}

// What opendkim signs through us it finds good when it comes in through us:
// not an octet of header and body is lost on either way.
func TestRealMilter(t *testing.T) {
	f := &milter.Filter{Address: opendkim(t), HostName: "mx.test"}
	const text = "From: a@x.test\nTo: b@y.test\nSubject: hi\nX-Folded: a\n\tb\nDate: Fri, 20 Nov 2026 12:00:00 +0000\n" +
		"Message-ID: <1@x.test>\n\nhello \n.dot\n\n\nend\n"
	_, v, err := dialogue(t.Context(), f, newSession(), text)
	if err != nil || v.Action != sqmail.ActionTag || !strings.Contains(v.Header, "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=x.test;") {
		t.Fatalf("%+v, %v", v, err)
	}
	signature := v.Header[strings.Index(v.Header, "DKIM-Signature:"):]
	for name, test := range map[string]struct{ text, want string }{
		"as it was":   {signature + text, "dkim=pass"},
		"changed":     {signature + strings.Replace(text, "end", "END", 1), "dkim=fail"},
		"not signed":  {text, "dkim=none"},
		"other field": {signature + strings.Replace(text, "Subject: hi", "Subject: HI", 1), "dkim=fail"},
	} {
		s := newSession()
		s.Peer.Remote, s.Peer.User = netip.MustParseAddrPort("198.51.100.1:25"), ""
		_, v, err := dialogue(t.Context(), f, s, test.text)
		if err != nil || !strings.Contains(v.Header, "Authentication-Results: mx.test;") || !strings.Contains(v.Header, test.want) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}

	// opendkim removes what pretends to be its own; we cannot.
	forged := "Authentication-Results: mx.test; dkim=pass header.d=x.test\n" + text
	s := newSession()
	s.Peer.Remote, s.Peer.User = netip.MustParseAddrPort("198.51.100.1:25"), ""
	if _, v, err := dialogue(t.Context(), f, s, forged); sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("%+v, %v", v, err)
	}
	f.IgnoreChanges = true
	s = newSession()
	s.Peer.Remote, s.Peer.User = netip.MustParseAddrPort("198.51.100.1:25"), ""
	if _, v, err := dialogue(t.Context(), f, s, forged); err != nil || v.Rule != "left undone: change Authentication-Results" {
		t.Errorf("%+v, %v", v, err)
	}
}
