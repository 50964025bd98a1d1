//go:build e2e

package scan_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/scan"
)

// bad is what our own rules for the daemons look for.
const bad = "SQMAIL-TEST-OF-BAD-CONTENT"

const (
	goodMessage = "From: a@x.test\nTo: b@y.test\nSubject: hello\nDate: Fri, 20 Nov 2026 12:00:00 +0000\nMessage-ID: <1@x.test>\n\nhello\n"
	badMessage  = goodMessage + bad + "\n"
)

// start runs a daemon until the test ends, and waits until address answers.
func start(t *testing.T, address string, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
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
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s said:\n%.4000s", program, &out)
		}
	})
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(2 * time.Minute); ; {
		conn, err := net.Dial(network, address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v", program, err)
		case <-deadline:
			t.Fatalf("%s does not answer: %v", program, err)
		case <-tick.C:
		}
	}
}

func put(t *testing.T, path, format string, args ...any) string {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddress returns an address of the loopback interface that is free.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// shared returns a temporary directory that daemons find their way into when
// they have given up being root.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sqmail-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRealClamd(t *testing.T) {
	dir := shared(t)
	db, socket, tcp := filepath.Join(dir, "db"), filepath.Join(dir, "socket"), freeAddress(t)
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(db, "own.ndb"), "Sqmail.Test.Own:0:*:%s\n", hex.EncodeToString([]byte(bad)))
	host, port, _ := net.SplitHostPort(tcp)
	conf := put(t, filepath.Join(dir, "clamd.conf"),
		"LocalSocket %s\nTCPAddr %s\nTCPSocket %s\nDatabaseDirectory %s\nForeground yes\nStreamMaxLength 1M\nTemporaryDirectory %s\n",
		socket, host, port, db, dir)
	start(t, socket, "clamd", "--config-file="+conf)
	for _, address := range []string{socket, tcp} {
		f := &scan.Clamd{Address: address}
		if v, err := ask(t, f, goodMessage); err != nil || v.Action != sqmail.ActionPass {
			t.Errorf("%+v, %v", v, err)
		}
		if v, err := ask(t, f, badMessage); err != nil || v.Action != sqmail.ActionReject || !strings.HasPrefix(v.Rule, "Sqmail.Test.Own") {
			t.Errorf("%+v, %v", v, err)
		}
		long := goodMessage + strings.Repeat("0123456789abcde\n", 1<<17)
		if v, err := ask(t, f, long); sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("longer than clamd takes: %+v, %v", v, err)
		}
		f.MaxSize = 1 << 20
		if v, err := ask(t, f, long); err != nil || v.Action != sqmail.ActionPass {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

func TestRealSpamd(t *testing.T) {
	dir := shared(t)
	put(t, filepath.Join(dir, "own.pre"), "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	put(t, filepath.Join(dir, "local.cf"), "body SQMAIL_TEST /%s/\nscore SQMAIL_TEST 12.5\nrequired_score 5\nuse_bayes 0\nskip_rbl_checks 1\n", bad)
	socket := filepath.Join(dir, "socket")
	start(t, socket, "spamd", "--local", "--nouser-config", "--max-children=1", "--socketpath="+socket, "--socketmode=0666",
		"--username=nobody", "--configpath="+dir, "--siteconfigpath="+dir, "--helper-home-dir="+dir, "--syslog=stderr", "--pidfile="+filepath.Join(dir, "pid"))
	f := &scan.Spamd{Address: socket}
	if v, err := ask(t, f, goodMessage); err != nil || v.Action != sqmail.ActionTag || !strings.HasPrefix(v.Header, "X-Spam-Status: No, score=") {
		t.Errorf("%+v, %v", v, err)
	}
	v, err := ask(t, f, badMessage)
	if err != nil || !strings.HasPrefix(v.Header, "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=12.5 required=5.0\n") || !strings.Contains(v.Header, "SQMAIL_TEST") {
		t.Errorf("%+v, %v", v, err)
	}
	f.RejectAt = 12
	if v, err := ask(t, f, badMessage); err != nil || v.Action != sqmail.ActionReject {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestRealRspamd(t *testing.T) {
	dir := shared(t)
	address := freeAddress(t)
	lua := put(t, filepath.Join(dir, "rspamd.lua"), `
rspamd_config:register_symbol({
  name = 'SQMAIL_TEST', type = 'normal', score = 20.0,
  callback = function(task)
    return string.find(tostring(task:get_content()), '%s', 1, true) ~= nil
      and task:get_helo() == 'client.test' and tostring(task:get_from_ip()) == '192.0.2.1' and #task:get_recipients('smtp') == 2
  end
})
rspamd_config:register_symbol({
  name = 'SQMAIL_HEADER', type = 'postfilter', flags = 'empty',
  callback = function(task) task:set_milter_reply({add_headers = {['X-From-Rspamd'] = 'yes'}}) end
})
`, bad)
	conf := put(t, filepath.Join(dir, "rspamd.conf"), `
lua = "%[1]s";
options { pidfile = "%[2]s/pid"; filters = ""; control_socket = "%[2]s/control mode=0600"; tempdir = "%[2]s"; }
logging { type = "console"; level = "info"; }
actions { reject = 15; add_header = 6; }
worker "normal" { bind_socket = "%[3]s"; count = 1; }
`, lua, dir, address)
	start(t, address, "rspamd", "-f", "-i", "-c", conf, "--var=DBDIR="+dir, "--var=RUNDIR="+dir)
	f := &scan.Rspamd{Address: address}
	v, err := ask(t, f, goodMessage)
	if err != nil || v.Action != sqmail.ActionTag || !strings.Contains(v.Header, "X-Spam-Status: No") || !strings.Contains(v.Header, "X-From-Rspamd: yes\n") {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = ask(t, f, badMessage)
	if err != nil || v.Action != sqmail.ActionReject || !strings.Contains(v.Input, "SQMAIL_TEST") {
		t.Errorf("%+v, %v", v, err)
	}
}
