//go:build e2e

package e2e

import (
	"context"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// These tests run swaks against a server of the library.

// run is a session of swaks.
type run struct {
	args  string // beside server, from and to
	say   string // in what it prints
	exit  int    // swaks: 0 sent, 23 MAIL refused, 24 no recipient, 28 AUTH, 29 TLS, 33 XCLIENT
	trace string // in the Received field of the message
}

// swaks runs swaks and returns what it printed, and its exit code.
func swaks(t *testing.T, addr, args string) (out string, exit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv := append([]string{"--server", addr, "--helo", "client.example.net", "--from", "a@example.net", "--to", "b@example.org", "--timeout", "20"},
		strings.Fields(args)...)
	text, err := exec.CommandContext(ctx, "swaks", argv...).CombinedOutput()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(text), ended.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text), 0
}

// play runs sessions of swaks against one server.
func play(t *testing.T, server *smtpdtest.Server, taken *smtpdtest.Recorder, runs []run) {
	t.Helper()
	want := 0
	for _, r := range runs {
		out, exit := swaks(t, server.Addr, r.args)
		if exit != r.exit || !strings.Contains(out, r.say) {
			t.Errorf("swaks %s: exit %d, want %d, and %q in\n%s", r.args, exit, r.exit, r.say, out)
		}
		if r.exit == 0 {
			want++
		}
		all := taken.Messages()
		if len(all) != want {
			t.Fatalf("swaks %s: %d messages taken so far, want %d", r.args, len(all), want)
		}
		if r.trace != "" && !strings.Contains(string(all[want-1].Envelope.Header), r.trace) {
			t.Errorf("swaks %s: the message begins\n%swithout %q", r.args, all[want-1].Envelope.Header, r.trace)
		}
	}
}

func TestSwaksBehindAProxy(t *testing.T) {
	var taken smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) {
		s.ProxyFrom, s.Policy = loopback, smtpd.AcceptAll
	})
	const v1, v2 = "--proxy-version 1 ", "--proxy-version 2 --proxy-protocol STREAM "
	const from4 = "--proxy-source 192.0.2.7 --proxy-source-port 4711 --proxy-dest 203.0.113.1 --proxy-dest-port 25"
	const from6 = "--proxy-source 2001:db8::7 --proxy-source-port 4711 --proxy-dest 2001:db8::1 --proxy-dest-port 25"
	play(t, server, &taken, []run{
		{args: v1 + "--proxy-family TCP4 " + from4, trace: "(HELO client.example.net) (192.0.2.7)"},
		{args: v1 + "--proxy-family TCP6 " + from6, trace: "(HELO client.example.net) (2001:db8::7)"},
		{args: v2 + "--proxy-family AF_INET --proxy-command PROXY " + from4, trace: "(HELO client.example.net) (192.0.2.7)"},
		{args: v2 + "--proxy-family AF_INET6 --proxy-command PROXY " + from6, trace: "(HELO client.example.net) (2001:db8::7)"},
		{args: v1 + "--proxy-family TCP4 -tls " + from4, say: "TLS started", trace: "(192.0.2.7)\n  de/crypted with TLSv1.3"},
		{args: "--proxy UNKNOWN", trace: "(HELO client.example.net) (unknown)"},
		{args: "--proxy TCP4 --timeout 2", exit: 21},
		{args: "--timeout 2", exit: 21},
	})
}

func TestProxyHeaderOfSwaksIsNotBelievedFromEverybody(t *testing.T) {
	var taken smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &taken)
	out, exit := swaks(t, server.Addr, "--proxy-version 1 --proxy-family TCP4 --proxy-source 192.0.2.7 --proxy-source-port 1 --proxy-dest 192.0.2.1 --proxy-dest-port 25")
	// It is early talk, or an unknown command, as it comes.
	if exit == 0 || !strings.Contains(out, " 554 ") && !strings.Contains(out, " 500 ") || len(taken.Messages()) > 0 {
		t.Errorf("exit %d\n%s", exit, out)
	}
}

func TestSwaksWithXCLIENT(t *testing.T) {
	var taken smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) {
		s.XCLIENTFrom, s.Policy = loopback, smtpd.AcceptAll
	})
	play(t, server, &taken, []run{
		{args: "--xclient-addr 192.0.2.7", trace: "(HELO client.example.net) (192.0.2.7)"},
		{args: "--xclient-addr IPV6:2001:db8::7 --xclient-name h.example.net", trace: "from h.example.net (HELO client.example.net) (2001:db8::7)"},
		{args: "--xclient-name h.example.net --xclient-addr 192.0.2.7 --xclient-port 4711 --xclient-proto SMTP --xclient-helo other --xclient-destaddr 203.0.113.1 --xclient-destport 25",
			trace: "from h.example.net (HELO client.example.net) (192.0.2.7)"},
		{args: "--xclient-addr 192.0.2.7 --xclient-delim --xclient-name h.example.net", trace: "from h.example.net"},
		{args: "--xclient-addr 192.0.2.7 --xclient-name [UNAVAILABLE]", trace: "from unknown"},
		{args: "--xclient-addr 192.0.2.7 --xclient-name [TEMPUNAVAIL]", trace: "from unknown"},
		{args: "--xclient-addr 192.0.2.7 --xclient-login joe", trace: "(joe@192.0.2.7)"},
		{args: "--xclient-addr 192.0.2.7 -tls", trace: "(192.0.2.7)\n  de/crypted with TLSv1.3"},
		{args: "--xclient-before-starttls --xclient-addr 192.0.2.7 -tls", trace: "(192.0.2.7)\n  de/crypted with TLSv1.3"},
		{args: "--xclient-addr nonsense", exit: 33, say: "501 5.5.4"},
		{args: "--xclient COLOUR=red", exit: 33, say: "501 5.5.4"},
	})

	// Who may not use it is not offered it.
	other := smtpdtest.NewServer(t, nil)
	if out, exit := swaks(t, other.Addr, "--xclient-addr 192.0.2.7"); exit != 33 || strings.Contains(out, "XCLIENT ADDR") {
		t.Errorf("exit %d\n%s", exit, out)
	}
}

// joe is the user whose password is secret.
var joe = auth.VerifierFunc(func(_ context.Context, c *auth.Credentials) (auth.Identity, error) {
	if c.User == "joe" && c.Match("secret") {
		return auth.Identity{Name: "joe"}, nil
	}
	return auth.Identity{}, auth.Rejected("wrong")
})

func TestSwaksAuthenticates(t *testing.T) {
	var taken smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) {
		s.Verifier, s.Mechanisms, s.Authentication = joe, []string{"LOGIN", "PLAIN", "CRAM-MD5"}, smtpd.Required
		s.AuthFailureDelay = -1
	})
	const right, wrong = " --auth-user joe --auth-password secret", " --auth-user joe --auth-password wrong"
	play(t, server, &taken, []run{
		{args: "--auth PLAIN" + right, say: "235 2.7.0", trace: "with ESMTPA;"},
		{args: "--auth LOGIN" + right, say: "235 2.7.0", trace: "(joe@127.0.0.1)"},
		{args: "--auth CRAM-MD5" + right, say: "235 2.7.0", trace: "(joe@127.0.0.1)"},
		{args: "-tls --auth PLAIN" + right, trace: "with ESMTPSA;"},
		{args: "-tls --auth LOGIN" + right, trace: "with ESMTPSA;"},
		{args: "-tls --auth CRAM-MD5" + right, trace: "with ESMTPSA;"},
		{args: "--auth PLAIN" + wrong, exit: 28, say: "535 5.7.8"},
		{args: "--auth LOGIN" + wrong, exit: 28, say: "535 5.7.8"},
		{args: "--auth CRAM-MD5" + wrong, exit: 28, say: "535 5.7.8"},
		{args: "--auth CRAM-SHA1" + right, exit: 28},
		{args: "", exit: 23, say: "530 5.7.0 authentication required"},
	})

	// From afar passwords go over TLS alone, which CRAM-MD5 does without.
	far := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) {
		s.Verifier, s.Mechanisms, s.ProxyFrom = joe, []string{"LOGIN", "PLAIN", "CRAM-MD5"}, loopback
	})
	const proxy = "--proxy-version 1 --proxy-family TCP4 --proxy-source 192.0.2.7 --proxy-source-port 1 --proxy-dest 192.0.2.1 --proxy-dest-port 25 "
	if out, exit := swaks(t, far.Addr, proxy+"--auth PLAIN"+right); exit != 28 || strings.Contains(out, "AUTH PLAIN") {
		t.Errorf("exit %d\n%s", exit, out)
	}
	for _, args := range []string{"--auth CRAM-MD5", "-tls --auth PLAIN"} {
		if out, exit := swaks(t, far.Addr, proxy+args+right); exit != 0 {
			t.Errorf("exit %d\n%s", exit, out)
		}
	}
}

func TestSwaksUnderTLS(t *testing.T) {
	var taken smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) { s.StartTLS = smtpd.Required })
	roots := rootsOf(t, server)
	play(t, server, &taken, []run{
		{args: "-tls", say: "TLS started", trace: "with ESMTPS;"},
		{args: "-tls --tls-protocol tlsv1_2", say: "TLSv1.2", trace: "de/crypted with TLSv1.2"},
		{args: "-tls --tls-protocol tlsv1_3", say: "TLSv1.3", trace: "de/crypted with TLSv1.3"},
		{args: "-tls --tls-verify --tls-ca-path " + roots, trace: "with ESMTPS;"},
		{args: "-tls --tls-verify", exit: 29},
		{args: "-tls --tls-protocol tlsv1_1", exit: 29},
		{args: "", exit: 23, say: "530 5.7.0 STARTTLS first"},
	})
	var more smtpdtest.Recorder
	smtps := smtpdtest.NewTLSServer(t, &more)
	play(t, smtps, &more, []run{
		{args: "-tlsc", say: "TLS started", trace: "with ESMTPS;"},
		{args: "-tlsc --tls-verify --tls-ca-path " + rootsOf(t, smtps), trace: "with ESMTPS;"},
		{args: "-tlsc --tls-verify", exit: 29},
		{args: "--timeout 2", exit: 21},
	})
}

// rootsOf puts the certificate of a server in a file.
func rootsOf(t *testing.T, server *smtpdtest.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "roots.pem")
	der := server.TLSConfig.Certificates[0].Certificate[0]
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
