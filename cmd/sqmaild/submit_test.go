package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A home takes submissions from the moment that it is made, and a daemon that
// starts later delivers them; one that runs takes them at once.
func TestSubmitWhetherTheDaemonRunsOrNot(t *testing.T) {
	h := newHome(t, "joe")
	h.run("Subject: before\n\nx\n", "submit", "-home", h.dir, "-from", "ann@example.net", "joe@mx.example.org")
	h.start()
	h.run("Subject: while\n\nx\n", "submit", "-home", h.dir, "-from", "", "joe@mx.example.org")
	h.waitDrained()
	var all string
	for _, file := range matching(t, h.maildirOf("joe"), "new/*") {
		text, _ := os.ReadFile(file)
		all += string(text)
	}
	for _, want := range []string{
		"Return-Path: <ann@example.net>\n", "Return-Path: <>\n", "Received: (sqmaild ", "Subject: before\n", "Subject: while\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
}

// Nobody but the daemon's user and group can read or list what is submitted,
// and everybody can get to the drop directory, whatever the umask.
func TestEveryUserReachesTheDropDirectory(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	home := stoppedHome(t, "mx.example.org")
	for name, want := range map[string]os.FileMode{
		"queue": 0o711, "queue/store": 0o711, "queue/store/drop": 0o733 | os.ModeSticky | os.ModeSetgid,
		"queue/run": 0o700, "queue/scan": 0o700, "queue/store/segments": 0o700, "queue/store/bodies": 0o700,
	} {
		info, err := os.Stat(filepath.Join(home, name))
		if err != nil || info.Mode()&^os.ModeDir != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	must(t, "Subject: x\n\n", "submit", "-home", home, "-from", "", "joe@mx.example.org")
	for _, file := range matching(t, home, "queue/store/drop/*") {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

func TestSubmitRefusesWhatCannotBeSent(t *testing.T) {
	home := stoppedHome(t, "mx.example.org")
	empty := t.TempDir()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-home", home}, "arguments are missing"},
		{[]string{"-home", home, ""}, `"" is no address`},
		{[]string{"-home", home, "joe"}, `"joe" is no address`},
		{[]string{"-home", home, "a@b.test\r\nX: y"}, "is no address"},
		{[]string{"-home", home, "-from", "a b@c.test", "joe@mx.example.org"}, "invalid value"},
		{[]string{"-home", empty, "-from", "", "joe@mx.example.org"}, "has no queue yet"},
		{[]string{"-home", empty, "joe@mx.example.org"}, "-from is needed"},
		{[]string{"-home", empty + "/nowhere", "joe@mx.example.org"}, "does not exist"},
	} {
		_, stderr, code := try(t, "Subject: x\n\n", append([]string{"submit"}, test.args...)...)
		if code != 100 || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit %d, want 100 and %q\n%s", test.args, code, test.want, stderr)
		}
	}
	if left := matching(t, home, "queue/store/drop/*"); len(left) > 0 {
		t.Errorf("left in the queue: %v", left)
	}
}

// waitDrained waits until what was submitted has been delivered.
func (h *home) waitDrained() {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); len(matching(h.t, h.dir, "queue/store/drop/*")) > 0; {
		if time.Now().After(deadline) {
			h.t.Fatal("what was submitted is not taken in")
		}
		<-time.After(20 * time.Millisecond)
	}
	h.waitEmpty()
}

func matching(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
