//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// startPostfix starts an instance of Postfix of its own: an smtpd that offers
// STARTTLS and passes each session on to the server at sink. It returns its
// address.
func startPostfix(t *testing.T, sink string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sqmail-postfix") // Postfix wants short and open paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	for _, sub := range []string{"etc", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, nil, "chown", "postfix", filepath.Join(dir, "data"))
	tool(t, nil, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=foreign.example",
		"-keyout", filepath.Join(dir, "etc/key.pem"), "-out", filepath.Join(dir, "etc/cert.pem"))
	addr := freeAddr(t)
	write(t, filepath.Join(dir, "etc/main.cf"), fmt.Sprintf(mainCF, dir, sink))
	write(t, filepath.Join(dir, "etc/master.cf"), fmt.Sprintf(masterCF, addr))
	tool(t, nil, "postfix", "-c", filepath.Join(dir, "etc"), "start")
	t.Cleanup(func() { exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "stop").Run() })
	log := &lockedBuffer{}
	waitFor(t, addr, log)
	return addr
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const mainCF = `
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.foreign.example
mydestination = foreign.example
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = %[1]s/etc/cert.pem
smtpd_tls_key_file = %[1]s/etc/key.pem
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_proxy_filter = %[2]s
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
alias_maps =
alias_database =
`

const masterCF = `
%s inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
`
