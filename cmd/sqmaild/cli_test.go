package main

import (
	"encoding/json"
	"fmt"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHelpIsThereForEveryCommand(t *testing.T) {
	groups := map[string]bool{}
	for _, c := range commands {
		words := strings.Fields(c.name)
		if len(words) > 1 {
			groups[words[0]] = true
		}
		for _, flag := range []string{"-help", "--help", "-h"} {
			stdout, stderr, code := try(t, "", append(slices.Clone(words), flag)...)
			if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "usage: sqmaild "+c.name+" ") || !strings.Contains(stdout, c.short) {
				t.Errorf("%s %s: exit %d\n%s%s", c.name, flag, code, stdout, stderr)
			}
		}
	}
	for _, words := range [][]string{{"help"}, {"-help"}, {"--help"}, {"-h"}} {
		stdout, stderr, code := try(t, "", words...)
		if code != 0 || stderr != "" {
			t.Errorf("%v: exit %d\n%s", words, code, stderr)
		}
		for _, c := range commands {
			if !strings.Contains(stdout, "  "+c.name+" ") {
				t.Errorf("%v says nothing of %s", words, c.name)
			}
		}
	}
	for group := range groups {
		if stdout, stderr, code := try(t, "", group, "-help"); code != 0 || stderr != "" || !strings.Contains(stdout, "  "+group+" ") {
			t.Errorf("%s -help: exit %d\n%s%s", group, code, stdout, stderr)
		}
	}
}

func TestWrongCommandLinesExit100(t *testing.T) {
	home := stoppedHome(t, "mx.example.org")
	for _, test := range []struct{ args, want string }{
		{"", "usage: sqmaild COMMAND"},
		{"bogus", `no command "bogus"`},
		{"queue", "queue list"},
		{"queue bogus", `no command "queue bogus"`},
		{"queue bogus", "queue list"},
		{"serve -hoem x", "flag provided but not defined"},
		{"serve extra -home " + home, `too many arguments: "extra"`},
		{"serve -log xml -home " + home, "-log xml: it is text or json"},
		{"serve -classic " + home + "/nothing/there -home " + home, "-classic: open "},
		{"serve -home " + home + "/nowhere", "does not exist; sqmaild init makes a home"},
		{"serve -home " + home + "/control/me", "is not a directory"},
		{"queue verify -home " + home + "/control", "is no home of a sqmaild"},
		{"init -home " + home + "/new", "-me is missing"},
		{"init -me a.b -home " + home, "is a home already"},
		{"init -me a..b -home " + home + "/new", "is no host name"},
		{"queue show -home " + home, "arguments are missing"},
		{"queue show abc -home " + home, `not a message number: "abc"`},
		{"queue show 0 -home " + home, "not a message number"},
		{"queue show 1 -home " + home, "no such message"},
		{"queue cat 1 -home " + home, "no such message"},
		{"queue remove 1 -home " + home, "no such message"},
		{"queue remove -home " + home, "name messages by their numbers, or choose them with a flag"},
		{"queue remove 1 -all -home " + home, "name messages by their numbers, or choose them with a flag"},
		{"queue export -home " + home, "name messages by their numbers, or choose them with a flag"},
		{"queue import -home " + home + " " + home + "/nothing", "no such file"},
		{"queue import -home " + home + " " + home + "/control/me", "not all messages could be imported"},
		{"queue import-qmail -home " + home, "arguments are missing"},
		{"user add -home " + home, "arguments are missing"},
		{"user add joe -home " + home, "no password on standard input"},
		{"user remove joe -home " + home, "no such user"},
	} {
		stdout, stderr, code := try(t, "", strings.Fields(test.args)...)
		if code != 100 || !strings.Contains(stderr, test.want) {
			t.Errorf("sqmaild %s: exit %d, want 100 and %q\n%s%s", test.args, code, test.want, stdout, stderr)
		}
		if strings.Contains(stderr, "goroutine") {
			t.Errorf("sqmaild %s:\n%s", test.args, stderr)
		}
	}
}

func TestFlagsMayStandBehindArguments(t *testing.T) {
	home := stoppedHome(t, "mx.example.org")
	must(t, "secret", "user", "add", "joe", "-home", home)
	must(t, "secret", "user", "passwd", "-home", home, "joe", "-clear")
	if _, stderr, code := try(t, "", "queue", "show", "--", "-1", "-home", home); code != 100 || !strings.Contains(stderr, "too many arguments") {
		t.Errorf("behind --: exit %d: %s", code, stderr)
	}
}

// What is wrong with a configuration is told with file and line, by check as
// by serve, and never with a secret.
func TestErrorsNameFileAndLine(t *testing.T) {
	for _, test := range []struct{ file, text, want string }{
		{"control/me", "not a name\n", "control/me:1: "},
		{"control/services", "# comment\nsmtpd smtp\n", "control/services:2: "},
		{"control/services", "smtpd smtp 127.0.0.1:0\njunk line here\n", `control/services:2: protocol "line"`},
		{"control/services", "smtpd smtp 127.0.0.1:0 SMTPAUTH=\"!yes\"\n", "control/services:1: "},
		{"control/services", "smtpd smtp 127.0.0.1:0 rules=rules.nowhere\n", "control/services:1: "},
		{"control/services", "smtpd smtps 127.0.0.1:0 CERTFILE=ssl/nowhere.pem\n", "control/services:1: ssl/nowhere.pem does not exist"},
		{"control/rules.smtpd", "127.:allow\n10.0.0:allow\n", "control/rules.smtpd:2: "},
		{"control/smtproutes", "a.test:relay.test\nb.test:relay.test;99999|user|sEcReT\n", "control/smtproutes:2: "},
		{"users/accounts", "joe:home/joe:sEcReT\njoe:home/joe:x\n", "users/accounts:"},
		{"users/assign", "=joe:joe:1:1:/home/joe:::\njunk\n.\n", "users/assign:2: "},
	} {
		home := stoppedHome(t, "mx.example.org")
		if err := os.WriteFile(filepath.Join(home, test.file), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := try(t, "", "check", "-home", home)
		if code != 100 || !strings.Contains(stdout, test.want) {
			t.Errorf("check with %s %q: exit %d, want %q\n%s%s", test.file, test.text, code, test.want, stdout, stderr)
		}
		_, log, code := try(t, "", "serve", "-home", home)
		if code != 100 || !strings.Contains(log, strings.TrimSuffix(test.want, " ")) {
			t.Errorf("serve with %s %q: exit %d, want %q\n%s", test.file, test.text, code, test.want, log)
		}
		if strings.Contains(stdout+stderr+log, "sEcReT") {
			t.Errorf("%s: the secret is shown:\n%s%s%s", test.file, stdout, stderr, log)
		}
		type problem struct {
			File  string
			Fatal bool
		}
		var problems []problem
		out, _, _ := try(t, "", "check", "-json", "-home", home)
		err := json.Unmarshal([]byte(out), &problems)
		if err != nil || !slices.Contains(problems, problem{test.file, true}) {
			t.Errorf("check -json: %v\n%s", err, out)
		}
	}
}

func TestUserCommands(t *testing.T) {
	home := stoppedHome(t, "mx.example.org")
	must(t, "secret\n", "user", "add", "-home", home, "joe")
	must(t, "secret\r\nrest", "user", "add", "-home", home, "-clear", "ann")
	if _, stderr, code := try(t, "x", "user", "add", "-home", home, "joe"); code != 100 || !strings.Contains(stderr, "user exists") {
		t.Errorf("twice: exit %d: %s", code, stderr)
	}
	if _, stderr, code := try(t, "x", "user", "add", "-home", home, "../joe"); code != 100 || !strings.Contains(stderr, "a name has") {
		t.Errorf("a name that leads elsewhere: exit %d: %s", code, stderr)
	}
	accounts, err := os.ReadFile(filepath.Join(home, "users", "accounts"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(accounts)) {
		if strings.HasPrefix(line, "joe:") && strings.Contains(line, "secret") {
			t.Errorf("the password is in the file: %s", line)
		}
		if strings.HasPrefix(line, "ann:") && !strings.Contains(line, "secret") {
			t.Errorf("-clear: the password is not in the file: %s", line)
		}
	}
	var list []struct{ Name, Maildir string }
	if err := json.Unmarshal([]byte(must(t, "", "user", "list", "-json", "-home", home)), &list); err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	must(t, "other", "user", "passwd", "-home", home, "joe")
	must(t, "", "user", "remove", "-home", home, "joe")
	if out := must(t, "", "user", "list", "-home", home); strings.Contains(out, "joe") || !strings.Contains(out, "ann") {
		t.Error(out)
	}
	if _, err := os.Stat(filepath.Join(list[0].Maildir, "new")); err != nil {
		t.Errorf("the mail of a removed user is gone: %v", err)
	}
}

// Queue commands do the same through a running daemon as on its files.
func TestQueueCommands(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			h := newHome(t)
			h.write("control/concurrencyremote", "0\n")
			h.write("control/concurrencylocal", "0\n")
			h.write("control/virtualdomains", "v.example.org:new\n")
			h.run("", "queue", "import-qmail", "-home", h.dir, oldQmail(t, 6))
			if running {
				defer h.start().stop()
			}
			queue := func(args ...string) string {
				t.Helper()
				return h.run("", append([]string{"queue"}, append(args, "-home", h.dir)...)...)
			}
			ids := h.queued()
			if len(ids) != 6 {
				t.Fatalf("%d messages, want 6", len(ids))
			}
			for _, step := range []struct {
				args []string
				want string
			}{
				{[]string{"list"}, "<sue@mx.example.org>"},
				{[]string{"list", "-to", "JOE@v"}, "joe@v.example.org"},
				{[]string{"list", "-from", "nobody"}, ""},
				{[]string{"show", ids[0]}, "no such user here"},
				{[]string{"show", ids[0], "-json"}, `"journal":[`},
				{[]string{"cat", ids[0]}, "Subject: number 1000\n"},
				{[]string{"hold", ids[0], ids[1]}, "2 messages\n"},
				{[]string{"stats"}, `"held": 2`},
				{[]string{"release", "-all"}, "6 messages\n"},
				{[]string{"stats"}, `"held": 0`},
				{[]string{"retry", "-from", "sue@"}, "6 messages\n"},
				{[]string{"remove", "-to", "joe@v.example.org"}, "6 messages\n"},
				{[]string{"list"}, ""},
				{[]string{"remove", "-all"}, "0 messages\n"},
			} {
				out := queue(step.args...)
				if !strings.Contains(out, step.want) || step.want == "" && out != "" {
					t.Errorf("queue %v: want %q\n%s", step.args, step.want, out)
				}
			}
		})
	}
}

func TestOneDaemonPerHome(t *testing.T) {
	h := newHome(t)
	d := h.start()
	out, code := h.try("", "serve", "-home", h.dir)
	if code != 111 || !strings.Contains(out, fmt.Sprintf("in use by process %d", d.cmd.Process.Pid)) {
		t.Errorf("the second daemon: exit %d\n%s", code, out)
	}
	h.run("", "queue", "stats", "-home", h.dir) // the first one's socket is there still
	d.stop()
}

func TestPortInUseIsTold(t *testing.T) {
	first := newHome(t)
	d := first.start()
	h := newHome(t)
	h.write("control/services", "# two lines\nsmtpd smtp "+d.addrs["smtpd"]+"\n")
	if out, code := h.try("", "serve", "-home", h.dir); code != 111 || !strings.Contains(out, "control/services:2: ") || !strings.Contains(out, "in use") {
		t.Errorf("exit %d\n%s", code, out)
	}
	d.stop()
}

// eventually waits for what a daemon does by and by.
func eventually(t *testing.T, d *running, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute; log:\n%s", what, d.log)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (d *running) reload() { d.cmd.Process.Signal(syscall.SIGHUP) }

// A broken edit does not change anything; the repaired one does.
func TestReloadKeepsWhatWorks(t *testing.T) {
	h := newHome(t, "joe")
	d := h.start()
	old, err := os.ReadFile(filepath.Join(h.dir, "control/services"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("control/services", string(old)+"junk line here\n")
	h.write("control/badmailfrom", "bad@example.net\n")
	d.reload()
	eventually(t, d, "refusal", func() bool {
		return strings.Contains(d.log.String(), "configuration refused") && strings.Contains(d.log.String(), "control/services:5: ")
	})
	if err := trySend(d.addrs["smtpd"], "bad@example.net", "joe@mx.example.org"); err != nil {
		t.Errorf("a half of the broken configuration is in force: %v", err)
	}
	h.write("control/services", string(old))
	d.reload()
	eventually(t, d, "the repaired configuration", func() bool {
		return trySend(d.addrs["smtpd"], "bad@example.net", "joe@mx.example.org") != nil
	})
	h.waitEmpty()
	d.stop()
}

// Settings of bounces hold for the next one.
func TestBounceSettingsAreFollowed(t *testing.T) {
	h := newHome(t, "joe")
	d := h.start()
	h.write("control/bouncefrom", "postman\n")
	d.reload()
	eventually(t, d, "a bounce by the new name", func() bool {
		if err := trySend(d.addrs["smtpd"], "joe@mx.example.org", "nobody-here@mx.example.org"); err != nil {
			t.Fatal(err)
		}
		h.waitEmpty()
		files, _ := filepath.Glob(filepath.Join(h.maildirOf("joe"), "new", "*"))
		return slices.ContainsFunc(files, func(name string) bool {
			text, _ := os.ReadFile(name)
			return strings.Contains(string(text), "\nFrom: postman@mx.example.org\n")
		})
	})
	d.stop()
}

// trySend sends a message over SMTP.
func trySend(addr, from, to string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, "Subject: x\r\n\r\nbody\r\n")
	return w.Close()
}

// Whatever has become of rcpthosts, strangers do not relay.
func TestNoRelayWhateverBecomesOfRcpthosts(t *testing.T) {
	const foreign, ours = "victim@foreign.example", "joe@mx.example.org"
	for _, test := range []struct {
		name   string
		make   func(path string) error
		starts bool // the daemon starts with it
		takes  bool // what is ours
	}{
		{"as init makes it", func(string) error { return nil }, true, true},
		{"missing", os.Remove, true, true},
		{"empty", func(path string) error { return os.WriteFile(path, nil, 0o644) }, true, false},
		{"only comments", func(path string) error { return os.WriteFile(path, []byte("# none\n\n"), 0o644) }, true, false},
		{"binary junk", func(path string) error { return os.WriteFile(path, []byte{0, 1, 2, 0xff, '\n'}, 0o644) }, false, false},
		{"a directory", func(path string) error { os.Remove(path); return os.Mkdir(path, 0o755) }, false, false},
		{"a dangling link", func(path string) error { os.Remove(path); return os.Symlink("nowhere", path) }, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHome(t, "joe")
			path := filepath.Join(h.dir, "control/rcpthosts")
			running := h.start() // and while it is running
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			running.reload()
			eventually(t, running, "a decision", func() bool {
				log := running.log.String()
				return strings.Count(log, "configuration taken") > 1 || strings.Contains(log, "configuration refused")
			})
			if err := trySend(running.addrs["smtpd"], "a@example.net", foreign); err == nil || !strings.HasPrefix(err.Error(), "553") {
				t.Errorf("a running daemon: the stranger hears %v, want 553", err)
			}
			running.stop()
			if !test.starts {
				if out, code := h.try("", "serve", "-home", h.dir); code != 100 || !strings.Contains(out, "control/rcpthosts:") || !strings.Contains(out, "cannot be read") {
					t.Errorf("exit %d\n%s", code, out)
				}
				return
			}
			d := h.start()
			if err := trySend(d.addrs["smtpd"], "a@example.net", foreign); err == nil || !strings.HasPrefix(err.Error(), "553") {
				t.Errorf("the stranger hears %v, want 553", err)
			}
			if err := trySend(d.addrs["smtpd"], "a@example.net", ours); (err == nil) != test.takes {
				t.Errorf("mail for us: %v", err)
			}
			h.waitEmpty()
			d.stop()
		})
	}
}

// A home may have a path that no socket's address has room for.
func TestVeryLongHome(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 15)+"home")
	must(t, "", "init", "-home", dir, "-me", "mx.example.org")
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, dir: dir, bin: bin}
	h.write("control/services", "smtpd smtp 127.0.0.1:0\n")
	h.write("control/concurrencyremote", "0\n")
	h.write("control/virtualdomains", "v.example.org:new\n")
	h.write("control/concurrencylocal", "0\n")
	d := h.start()
	h.run("", "queue", "import-qmail", "-home", h.dir, oldQmail(t, 3))
	if n := len(h.queued()); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	d.stop()
}

// The second signal does not wait for a session that is still in the midst of
// something.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	h := newHome(t, "joe")
	d := h.start()
	c, err := smtp.Dial(d.addrs["smtpd"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Mail("a@example.net")
	c.Rcpt("joe@mx.example.org")
	if _, err := c.Data(); err != nil {
		t.Fatal(err)
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	for ended := false; !ended; { // until the first one has been heard, others go nowhere
		select {
		case <-d.gone:
			ended = true
		case <-time.After(50 * time.Millisecond):
			d.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	if status := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended otherwise: %v", d.cmd.ProcessState)
	}
}

// A removed user ends what is running, and cannot come again; mail goes to
// nobody else's maildir.
func TestRemovedUserCannotLogIn(t *testing.T) {
	h := newHome(t, "joe", "ann")
	d := h.start()
	if err := login(d, "joe"); err != nil {
		t.Fatal(err)
	}
	h.run("", "user", "remove", "-home", h.dir, "joe")
	if err := login(d, "joe"); err == nil {
		t.Error("joe logged in although he was removed")
	}
	if err := login(d, "ann"); err != nil {
		t.Errorf("ann: %v", err)
	}
	d.stop()
}

// login logs in over POP3.
func login(d *running, user string) error {
	text, err := pop3Login(d.addrs["pop3d"], user)
	if err == nil && !strings.HasPrefix(text, "+OK") {
		err = fmt.Errorf("%s", text)
	}
	return err
}

// pop3Login returns the reply to the password.
func pop3Login(addr, user string) (string, error) {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.ReadLine(); err != nil {
		return "", err
	}
	for _, line := range []string{"USER " + user, "PASS secret"} {
		if err := c.PrintfLine("%s", line); err != nil {
			return "", err
		}
		reply, err := c.ReadLine()
		if err != nil || strings.HasPrefix(line, "PASS") {
			return reply, err
		}
	}
	return "", nil
}
