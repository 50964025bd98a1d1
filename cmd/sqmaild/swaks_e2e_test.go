//go:build e2e

package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSwaksAgainstServices: what control/services and a rules file say of
// proxies, XCLIENT, AUTH and TLS holds for swaks.
func TestSwaksAgainstServices(t *testing.T) {
	h := newHome(t, "joe")
	h.write("control/services", `
mx      smtp       127.0.0.1:0 UCSPITLS="" rules=rules.smtpd XCLIENTFROM="127.0.0.1"
behind  smtp       127.0.0.1:0 UCSPITLS="" rules=rules.smtpd PROXYFROM="127.0.0.0/8"
sub     submission 127.0.0.1:0 UCSPITLS="!" SMTPAUTH="!+cram"
smtpsd  smtps      127.0.0.1:0 SMTPAUTH="!+cram"
`)
	h.write("control/rules.smtpd", "192.0.2.66:deny\n192.0.2.7:allow,RELAYCLIENT=\"\"\n2001:db8::7:allow,RELAYCLIENT=\"\"\n:allow\n")
	h.write("control/concurrencyremote", "0\n") // what is relayed stays
	h.write("users/authuser", "cram@mx.example.org:secret\n")
	d := h.start()
	const (
		proxy4 = "--proxy-version 1 --proxy-family TCP4 --proxy-source-port 4711 --proxy-dest 203.0.113.1 --proxy-dest-port 25 --proxy-source "
		proxy6 = "--proxy-version 2 --proxy-family AF_INET6 --proxy-command PROXY --proxy-source-port 4711 --proxy-dest 2001:db8::1 --proxy-dest-port 25 --proxy-source "
		out    = " --to x@foreign.example"
		joe    = " --auth-user joe --auth-password "
	)
	for _, test := range []struct {
		service, args string
		exit          int // 0 sent, 21 no greeting, 23 MAIL, 24 RCPT refused, 28 AUTH, 29 TLS, 33 XCLIENT
		say           string
	}{
		{"behind", proxy4 + "192.0.2.7" + out, 0, ""},
		{"behind", proxy6 + "2001:db8::7" + out, 0, ""},
		{"behind", proxy4 + "192.0.2.7 -tls" + out, 0, "TLS started"},
		{"behind", proxy4 + "192.0.2.8" + out, 24, "553 5.7.1"},
		{"behind", proxy4 + "192.0.2.8 --to joe@mx.example.org", 0, ""},
		{"behind", proxy4 + "192.0.2.66 --to joe@mx.example.org", 21, ""},
		{"behind", "--proxy UNKNOWN" + out, 24, "553 5.7.1"},

		{"mx", "--xclient-addr 192.0.2.7" + out, 0, ""},
		{"mx", "--xclient-addr IPV6:2001:db8::7" + out, 0, ""},
		{"mx", "--xclient-addr 192.0.2.8" + out, 24, "553 5.7.1"},
		{"mx", "--xclient-addr 192.0.2.8 --xclient-login joe" + out, 0, ""},
		{"mx", "--xclient-addr 192.0.2.66 --to joe@mx.example.org", 33, ""},
		{"sub", "-tls --xclient-addr 192.0.2.7" + out, 33, ""},

		{"sub", "-tls --auth PLAIN" + joe + "secret" + out, 0, "235 2.7.0"},
		{"sub", "-tls --auth LOGIN" + joe + "secret" + out, 0, "235 2.7.0"},
		{"sub", "-tls --auth CRAM-MD5 --auth-user cram@mx.example.org --auth-password secret" + out, 0, "235 2.7.0"},
		{"sub", "-tls --auth PLAIN" + joe + "wrong" + out, 28, "535 5.7.8"},
		{"sub", "-tls" + out, 23, "530 5.7.0"},
		{"sub", "--auth PLAIN" + joe + "secret" + out, 28, ""}, // not offered before TLS
		{"smtpsd", "-tlsc --auth PLAIN" + joe + "secret" + out, 0, "235 2.7.0"},
		{"smtpsd", "-tlsc --auth CRAM-MD5 --auth-user cram@mx.example.org --auth-password secret" + out, 0, "235 2.7.0"},
		{"smtpsd", "-tlsc --tls-verify --auth PLAIN" + joe + "secret" + out, 29, ""},
	} {
		text, exit := swaks(t, d.addrs[test.service], test.args)
		if exit != test.exit || !strings.Contains(text, test.say) {
			t.Errorf("swaks %s against %s: exit %d, want %d, and %q in\n%s", test.args, test.service, exit, test.exit, test.say, text)
		}
	}
	d.stop()
}

// swaks runs swaks and returns what it printed, and its exit code.
func swaks(t *testing.T, addr, args string) (out string, exit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv := append([]string{"--server", addr, "--helo", "client.example.net", "--from", "joe@mx.example.org"}, strings.Fields(args)...)
	text, err := exec.CommandContext(ctx, "swaks", argv...).CombinedOutput()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(text), ended.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text), 0
}
