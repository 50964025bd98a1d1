//go:build e2e

package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runDaemon runs a foreign daemon until the test ends or stop is called, and
// waits until its socket answers.
func runDaemon(t *testing.T, socket, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	out := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() }
	t.Cleanup(stop)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return stop
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v\n%s", name, err, out)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// TestRealScannersBehindTheDaemon: clamd and spamd as CLAMD and SPAMD name them.
func TestRealScannersBehindTheDaemon(t *testing.T) {
	const virus, spam = "SQMAIL-TEST-OF-A-VIRUS", "SQMAIL-TEST-OF-SPAM"
	dir, err := os.MkdirTemp("/tmp", "sqmail-e2e-") // where they find their way when they have given up being root
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	put := func(name, format string, args ...any) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, path := range []string{dir, filepath.Join(dir, "db")} {
		os.Mkdir(path, 0o755)
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	put("db/own.ndb", "Sqmail.Test.Own:0:*:%s\n", hex.EncodeToString([]byte(virus)))
	clamdSocket, spamdSocket := filepath.Join(dir, "clamd"), filepath.Join(dir, "spamd")
	conf := put("clamd.conf", "LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nTemporaryDirectory %s\n", clamdSocket, filepath.Join(dir, "db"), dir)
	put("own.pre", "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	put("local.cf", "body SQMAIL_TEST /%s/\nscore SQMAIL_TEST 12.5\nrequired_score 5\nuse_bayes 0\nskip_rbl_checks 1\n", spam)
	stopClamd := runDaemon(t, clamdSocket, "clamd", "--config-file="+conf)
	runDaemon(t, spamdSocket, "spamd", "--local", "--nouser-config", "--max-children=1", "--socketpath="+spamdSocket, "--socketmode=0666",
		"--username=nobody", "--configpath="+dir, "--siteconfigpath="+dir, "--helper-home-dir="+dir, "--syslog=stderr", "--pidfile="+filepath.Join(dir, "pid"))

	h := newHome(t, "joe")
	h.write("control/services", fmt.Sprintf(`
strict smtp 127.0.0.1:0 CLAMD="unix:%[1]s timeout=60" SPAMD="unix:%[2]s rejectat=10" REPLY_CONTENT="ask us"
lax    smtp 127.0.0.1:0 CLAMD="unix:%[1]s pass" SPAMD="unix:%[2]s"
`, clamdSocket, spamdSocket))
	d := h.start()
	message := func(words string) string { return "From: a@x.example\nSubject: hello\n\n" + words + "\n" }
	expect := func(service, words, want string) {
		t.Helper()
		if got := sendBody(t, d.addrs[service], message(words)); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s, %s: %q, want %q", service, words, got, want)
		}
	}
	expect("strict", "nothing bad", "")
	expect("strict", virus, "554 5.3.2 sorry, invalid message content (virus); ask us")
	expect("strict", spam, "554 5.3.2 sorry, invalid message content (spam); ask us")
	expect("lax", virus, "554 5.3.2")
	expect("lax", spam, "")
	stopClamd()
	expect("strict", "nobody looks", "451 4.3.0")
	expect("lax", virus, "") // nobody looks
	h.waitEmpty()
	all := allFiles(t, filepath.Join(h.maildirOf("joe"), "new"))
	if strings.Count(all, "X-Spam-Status: No, score=") != 2 || strings.Count(all, "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=12.5") != 1 {
		t.Errorf("in the Maildir:\n%s", all)
	}
	if !strings.Contains(d.log.String(), "passes unseen") {
		t.Errorf("the log does not tell:\n%s", d.log)
	}
	d.stop()
}
