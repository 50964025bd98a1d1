//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPostgreyBehindTheDaemon: POSTGREY has the real postgrey asked about
// strangers, who hear 450 until their time has passed, and about nobody else.
func TestPostgreyBehindTheDaemon(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(filepath.Dir(dir), 0o755) // postgrey does not run as root
	os.Chmod(dir, 0o777)
	empty := filepath.Join(dir, "none")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	background(t, nil, "postgrey", "--user=nobody", "--group=nogroup", "--dbdir="+dir, "--pidfile="+filepath.Join(dir, "pid"), "--delay=4",
		"--hostname=mx.test", "--whitelist-clients="+empty, "--whitelist-recipients="+empty, "--inet", addr, "--quiet")
	h := newHome(t, "joe")
	h.write("control/services", `in smtp 127.0.0.1:0 PROXYFROM="127.0.0.1" POSTGREY="`+strings.Replace(addr, ":", ";", 1)+`" REPLY_GREYLISTED="come again" rules=rules.in`+"\n")
	h.write("control/rules.in", "192.0.2.7:allow,POSTGREY=\"-\"\n192.0.2.8:allow,RELAYCLIENT=\"\"\n:allow\n")
	d := h.start()
	try := func(from string) (string, int) {
		return swaks(t, d.addrs["in"], "--proxy-version 1 --proxy-family TCP4 --proxy-source-port 4711 --proxy-dest 203.0.113.1 --proxy-dest-port 25 --proxy-source "+
			from+" --to joe@mx.example.org")
	}
	for _, from := range []string{"192.0.2.7", "192.0.2.8"} {
		if out, exit := try(from); exit != 0 {
			t.Errorf("%s is asked about: exit %d\n%s", from, exit, out)
		}
	}
	if out, exit := try("198.51.100.1"); exit != 24 || !strings.Contains(out, "450 4.7.1 greylisted, please try again later; come again") {
		t.Errorf("a stranger: exit %d\n%s", exit, out)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		out, exit := try("198.51.100.1")
		if exit == 0 {
			break
		}
		if tries == 30 {
			t.Fatalf("still not let in:\n%s", out)
		}
		<-tick.C
	}
	d.stop()
}
