//go:build e2e

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSubmitAsAnotherUser: root has made the home and given it to a user, whose
// daemon delivers what a second user has submitted while it was down, and after.
// A third one reads nothing of it. It needs root.
func TestSubmitAsAnotherUser(t *testing.T) {
	const daemon, sender, stranger = 7000, 7001, 7002
	h := newHome(t, "joe")
	filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
		return os.Lchown(path, daemon, -1) // the groups are root's
	})
	for _, dir := range []string{h.dir, filepath.Dir(h.dir), filepath.Dir(filepath.Dir(h.dir)), filepath.Dir(h.bin)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := h.start(as(daemon))
	d.stop() // it has made the drop directory its own
	drop := filepath.Join(h.dir, "queue/store/drop")
	submit := func() {
		cmd := exec.Command(h.bin, "submit", "-home", h.dir, "-from", "ann@example.net", "joe@mx.example.org")
		cmd.Stdin = strings.NewReader("Subject: from ann\n\n")
		as(sender)(cmd)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	submit()
	for _, file := range append(matching(t, drop, "*"), drop) {
		for _, uid := range []uint32{sender, stranger} {
			cmd := exec.Command("ls", drop)
			if file != drop && uid == stranger {
				cmd = exec.Command("cat", file)
			}
			as(uid)(cmd)
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("user %d: %s\n%s", uid, cmd, out)
			}
		}
	}
	d = h.start(as(daemon))
	submit()
	h.waitDrained()
	if files := matching(t, h.maildirOf("joe"), "new/*"); len(files) != 2 {
		t.Errorf("%d messages of 2 have arrived:\n%s", len(files), d.log)
	}
}

// as makes a command run as a user who is in no other group than its own.
func as(uid uint32) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
}
