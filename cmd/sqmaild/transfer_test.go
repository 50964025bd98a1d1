package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// try runs a command in this process.
func try(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a daemon that should not have started
	defer cancel()
	code = run(ctx, stdio{strings.NewReader(stdin), &out, &err}, args)
	return out.String(), err.String(), code
}

// must runs a command in this process, which must succeed.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, code := try(t, stdin, args...)
	if code != 0 {
		t.Fatalf("sqmaild %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// stoppedHome is a home whose daemon does not run.
func stoppedHome(t *testing.T, me string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	must(t, "", "init", "-home", dir, "-me", me)
	return dir
}

// oldQmail makes a qmail home whose queue has n messages: each has a
// recipient who has it, one who failed, and one to do, of which every third is
// local.
func oldQmail(t *testing.T, n int) (queue string) {
	t.Helper()
	home := t.TempDir()
	queue = filepath.Join(home, "queue")
	born := time.Now().Add(-time.Hour)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, born, born); err != nil {
			t.Fatal(err)
		}
	}
	write("control/locals", "mx.example.org\n")
	write("control/virtualdomains", "v.example.org:old\n")
	write("queue/lock/sendmutex", "")
	for id := 1000; id < 1000+n; id++ {
		at := func(kind string) string {
			return filepath.Join("queue", kind, strconv.Itoa(id%23), strconv.Itoa(id))
		}
		write(at("mess"), fmt.Sprintf("Received: (qmail %d invoked by uid 0); 20 Nov 2026 12:25:29 -0000\nSubject: number %d\n\nbody\n", id, id))
		write(at("info"), "Fsue@mx.example.org\x00")
		if id%3 == 0 {
			write(at("local"), "Told-joe@v.example.org\x00Dbob@mx.example.org\x00")
		} else {
			write(at("remote"), "Tjoe@v.example.org\x00Dbob@foreign.example\x00")
		}
		write(filepath.Join("queue", "bounce", strconv.Itoa(id)), "<gone@foreign.example>:\nno such user here\n\n")
	}
	return queue
}

func TestImportOfAQmailQueue(t *testing.T) {
	old := oldQmail(t, 9)
	before := treeOf(t, old)
	home := stoppedHome(t, "mx.example.org")
	_, stderr, code := try(t, "", "queue", "import-qmail", "-home", home, old)
	if code != 100 || strings.Count(stderr, "this home does not deliver that domain") != 3 {
		t.Fatalf("local recipients that the home sends elsewhere: exit %d\n%s", code, stderr)
	}
	if err := os.WriteFile(filepath.Join(home, "control", "virtualdomains"), []byte("v.example.org:new\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "", "queue", "import-qmail", "-n", "-home", home, old); !strings.Contains(out, "9 messages to import") {
		t.Errorf("-n: %s", out)
	}
	if out := must(t, "", "queue", "import-qmail", "-home", home, old); !strings.Contains(out, "3 messages imported, 6 known from before") {
		t.Errorf("the second run: %s", out)
	}
	if out := must(t, "", "queue", "import-qmail", "-home", home, old); !strings.Contains(out, "0 messages imported, 9 known") {
		t.Errorf("the third run: %s", out)
	}
	if treeOf(t, old) != before {
		t.Error("the old queue has changed")
	}
	list := must(t, "", "queue", "list", "-home", home)
	for text, n := range map[string]int{"\tpending    joe@v.example.org": 9, "\tfailed     gone@foreign.example": 9, "\tdelivered  bob@": 9, "held": 0} {
		if got := strings.Count(list, text); got != n {
			t.Errorf("%q stands %d times in the list, want %d:\n%s", text, got, n, list)
		}
	}
}

// A message that is finished but for a bounce that cannot be read is not
// dropped without a word.
func TestImportTellsOfABounceThatCannotBeRead(t *testing.T) {
	old := oldQmail(t, 1)
	for name, text := range map[string]string{"bounce/1000": "junk\n", "remote/11/1000": "Dbob@foreign.example\x00"} {
		if err := os.WriteFile(filepath.Join(old, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr, code := try(t, "", "queue", "import-qmail", "-home", stoppedHome(t, "mx.example.org"), old)
	if code != 100 || !strings.Contains(stderr, "bounce/1000: it does not say who failed") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

// The daemon delivers what is imported while it runs: who has it does not get
// it again, who is to get it gets it by the new home's virtualdomains, and the
// sender hears of the failure that qmail saw.
func TestImportIntoARunningHomeIsDelivered(t *testing.T) {
	old := oldQmail(t, 3)
	h := newHome(t, "sue", "bob", "new")
	h.write("control/virtualdomains", "v.example.org:new\n")
	h.write("home/new/.qmail-joe", "./Maildir/\n")
	d := h.start()
	h.run("", "queue", "import-qmail", "-home", h.dir, old)
	h.waitEmpty()
	for user, want := range map[string]int{"new": 3, "sue": 3, "bob": 0} {
		files, _ := filepath.Glob(filepath.Join(h.maildirOf(user), "new", "*"))
		if len(files) != want {
			t.Errorf("%d messages for %s, want %d\n%s", len(files), user, want, d.log)
		}
		for _, file := range files {
			text, _ := os.ReadFile(file)
			if user == "sue" && !strings.Contains(string(text), "<gone@foreign.example>:\nno such user here\n\n---") {
				t.Errorf("the bounce:\n%s", text)
			}
		}
	}
	d.stop()
}

func (h *home) maildirOf(user string) string {
	h.t.Helper()
	for line := range strings.Lines(h.run("", "user", "list", "-home", h.dir)) {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == user {
			return words[1]
		}
	}
	h.t.Fatalf("user list does not know %s", user)
	return ""
}

func TestImportRefusesWhileQmailRuns(t *testing.T) {
	old := oldQmail(t, 1)
	home := stoppedHome(t, "mx.example.org")
	lock, err := os.Open(filepath.Join(old, "lock", "sendmutex"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := try(t, "", "queue", "import-qmail", "-home", home, old)
	if code != 111 || !strings.Contains(stderr, "qmail-send is running") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, stderr, code := try(t, "", "queue", "import-qmail", "-home", home, t.TempDir()); code != 100 || !strings.Contains(stderr, "not the queue directory") {
		t.Errorf("a directory that is no queue: exit %d: %s", code, stderr)
	}
}

func TestExportAndImportMoveMessages(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			from, to := newHome(t), newHome(t)
			for _, h := range []*home{from, to} {
				h.write("control/concurrencyremote", "0\n")
				h.write("control/concurrencylocal", "0\n")
			}
			// Both homes deliver nothing, so that nothing leaves meanwhile.
			from.write("control/virtualdomains", "v.example.org:new\n")
			to.write("control/virtualdomains", "v.example.org:new\n")
			from.run("", "queue", "import-qmail", "-home", from.dir, oldQmail(t, 20))
			if running {
				defer from.start().stop()
				defer to.start().stop()
			}
			file := filepath.Join(t.TempDir(), "export")
			out := from.run("", "queue", "export", "-home", from.dir, "-all", "-hold", "-o", file)
			if !strings.Contains(out, "20 messages exported") {
				t.Error(out)
			}
			if out, code := from.try("", "queue", "export", "-home", from.dir, "-all", "-o", file); code != 100 || !strings.Contains(out, "exist") {
				t.Errorf("a file that exists: exit %d: %s", code, out)
			}
			for i, want := range []string{"20 messages imported\n", "0 messages imported, 20 known from before\n"} {
				if out := to.run("", "queue", "import", "-home", to.dir, file); out != want {
					t.Errorf("import %d: %q, want %q", i, out, want)
				}
			}
			if out := to.run("", "queue", "verify", "-home", to.dir); !strings.HasPrefix(out, "20 messages, ") || !strings.Contains(out, " 0 damaged") {
				t.Error(out)
			}
			if list := to.run("", "queue", "list", "-home", to.dir); strings.Count(list, "  held\n") != 20 || strings.Count(list, "\tfailed") != 20 {
				t.Errorf("what was held stays held, and what failed failed:\n%s", list)
			}
			if out := to.run("", "queue", "release", "-home", to.dir, "-all"); out != "20 messages\n" {
				t.Error(out)
			}
			stream, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if out := to.run(string(stream), "queue", "import", "-again", "-home", to.dir, "-"); out != "20 messages imported\n" {
				t.Errorf("-again from standard input: %q", out)
			}
			for _, id := range to.queued()[20:] {
				if to.run("", "queue", "cat", "-home", to.dir, id) == "" {
					t.Errorf("message %s is empty", id)
				}
			}
			if out, code := to.try(string(stream[:len(stream)/2]), "queue", "import", "-home", to.dir); code != 100 || !strings.Contains(out, "a part of it is missing") {
				t.Errorf("half an export: exit %d: %s", code, out)
			}
		})
	}
}

// Damage is found, said, and is the exit code.
func TestVerifyFindsDamage(t *testing.T) {
	home := stoppedHome(t, "mx.example.org")
	old := oldQmail(t, 5)
	os.WriteFile(filepath.Join(home, "control", "virtualdomains"), []byte("v.example.org:new\n"), 0o644)
	must(t, "", "queue", "import-qmail", "-home", home, old)
	if out := must(t, "", "queue", "verify", "-home", home, "-json"); !strings.Contains(out, `"messages":5`) || !strings.Contains(out, `"damaged":[]`) {
		t.Error(out)
	}
	changed := 0
	filepath.WalkDir(filepath.Join(home, "queue", "store", "segments"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if at := bytes.Index(text, []byte("Subject: number 1002")); at >= 0 {
			text[at] ^= 1
			changed++
			return os.WriteFile(path, text, 0o600)
		}
		return err
	})
	if changed == 0 {
		t.Fatal("the message is not where it was looked for")
	}
	stdout, stderr, code := try(t, "", "queue", "verify", "-home", home)
	if code != 100 || !strings.Contains(stdout+stderr, "damage") || !strings.Contains(stdout, "4 messages") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	_, stderr, code = try(t, "", "queue", "export", "-home", home, "-all")
	if code != 100 || !strings.Contains(stderr, "4 messages exported") {
		t.Errorf("export of the others: exit %d\n%s", code, stderr)
	}
}

// treeOf tells one state of a directory from another.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&all, path, info.Size(), info.ModTime(), info.Mode())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// A number that is no message's any more does not keep the others from being
// dealt with: the command says so, and fails.
func TestOneMissingMessageDoesNotStopACommand(t *testing.T) {
	home := stoppedHome(t, "mx.example.org")
	os.WriteFile(filepath.Join(home, "control", "virtualdomains"), []byte("v.example.org:new\n"), 0o644)
	must(t, "", "queue", "import-qmail", "-home", home, oldQmail(t, 2))
	stdout, stderr, code := try(t, "", "queue", "remove", "-home", home, "77", "1", "88", "2")
	if code != 100 || stdout != "2 messages\n" || !strings.Contains(stderr, "message 77: ") || !strings.Contains(stderr, "message 88: ") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if list := must(t, "", "queue", "list", "-home", home); list != "" {
		t.Errorf("still queued:\n%s", list)
	}
}

// What root does to a stopped queue must not lock its owner out.
func TestRootLeavesNothingOfItsOwnInTheQueue(t *testing.T) {
	home := stoppedHome(t, "mx.example.org")
	owner := os.Geteuid()
	if owner == 0 { // else everything is one's own anyway
		owner = 65534
		if err := os.Chown(filepath.Join(home, "queue"), owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(home, "control", "virtualdomains"), []byte("v.example.org:new\n"), 0o644)
	must(t, "", "queue", "import-qmail", "-home", home, oldQmail(t, 3))
	must(t, "", "queue", "hold", "-home", home, "-all")
	files := 0
	err := filepath.WalkDir(filepath.Join(home, "queue"), func(path string, _ fs.DirEntry, err error) error {
		files++
		if uid, _, ok := ownerOf(path); ok && uid != owner {
			t.Errorf("%s belongs to %d, not to %d", path, uid, owner)
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}
