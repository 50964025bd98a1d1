package control_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/control"
)

// change replaces a file as an editor does that writes safely: the new one has
// another inode, whatever the clock says.
func change(t *testing.T, dir, name, text string) {
	t.Helper()
	write(t, dir, name+".new", text)
	if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestReloadSwapsAWholeConfiguration(t *testing.T) {
	dir := newHome(t)
	var calls [][2]*control.Config
	w := &control.Watcher{Home: dir, Changed: func(old, new *control.Config) { calls = append(calls, [2]*control.Config{old, new}) }}
	if w.Config() != nil {
		t.Error("a configuration before the first Reload")
	}
	if err := w.Reload(); err != nil || len(calls) > 0 {
		t.Fatal(err, calls)
	}
	first := w.Config()
	change(t, dir, "control/locals", "new.example\n")
	if w.Config() != first || first.IsLocal("new.example") {
		t.Error("changed without Reload")
	}
	if err := w.Reload(); err != nil {
		t.Fatal(err)
	}
	if !w.Config().IsLocal("new.example") || len(calls) != 1 || calls[0] != [2]*control.Config{first, w.Config()} {
		t.Errorf("%v", calls)
	}
}

func TestBrokenEditKeepsTheOldConfiguration(t *testing.T) {
	for name, text := range map[string]string{
		"control/smtproutes": "#\na.example:r;0\n", "control/services": "oops\n", "control/rules.smtpd": ":permit\n",
		"ssl/localhost.key": "oops", "users/accounts": "oops\n", "users/assign": "oops", "control/me": "",
		"control/morercpthosts.cdb": "oops", "users/assign.cdb": "oops",
	} {
		t.Run(name, func(t *testing.T) {
			dir := newHome(t)
			var log bytes.Buffer
			w := &control.Watcher{Home: dir, Log: slog.New(slog.NewTextHandler(&log, nil)), Changed: func(_, _ *control.Config) { t.Error("changed") }}
			if err := w.Reload(); err != nil {
				t.Fatal(err)
			}
			first := w.Config()
			change(t, dir, name, text)
			change(t, dir, "control/locals", "new.example\n") // sound, and not taken either
			err := w.Reload()
			if err == nil || w.Config() != first {
				t.Fatalf("taken: %v", err)
			}
			if where := name + ":"; !strings.Contains(err.Error(), where) && !strings.Contains(err.Error(), "control/services:") || !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("told %v, logged:\n%s", err, log.String())
			}
		})
	}
}

func TestReloadOfABrokenHome(t *testing.T) {
	w := &control.Watcher{Home: t.TempDir()}
	if err := w.Reload(); err == nil || w.Config() != nil {
		t.Errorf("%v", err)
	}
}

// run runs f in a bubble, with a Watcher that runs there.
func run(t *testing.T, f func(dir string, w *control.Watcher)) {
	dir := newHome(t)
	synctest.Test(t, func(t *testing.T) {
		w := &control.Watcher{Home: dir, Interval: time.Second}
		if err := w.Reload(); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(time.Second / 2) // between the Watcher's looks
		f(dir, w)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestRunFollowsTheFiles(t *testing.T) {
	run(t, func(dir string, w *control.Watcher) {
		for _, domain := range []string{"a.example", "b.example"} {
			change(t, dir, "control/locals", domain+"\n")
			time.Sleep(time.Second)
			if w.Config().IsLocal(domain) {
				t.Error("taken before the files had come to rest")
			}
			time.Sleep(2 * time.Second)
			if !w.Config().IsLocal(domain) {
				t.Errorf("%s is not taken", domain)
			}
		}
	})
}

func TestRunSeesFilesComeAndGo(t *testing.T) {
	run(t, func(dir string, w *control.Watcher) {
		change(t, dir, "control/smtproutes", ":smart.example\n")
		time.Sleep(3 * time.Second)
		if len(w.Config().SMTPRoutes) != 1 {
			t.Error("a new file was not seen")
		}
		os.Remove(filepath.Join(dir, "control/smtproutes"))
		time.Sleep(3 * time.Second)
		if len(w.Config().SMTPRoutes) != 0 {
			t.Error("the file's removal was not seen")
		}
		old := w.Config()
		change(t, dir, "ssl/localhost.pem", readFile(t, dir, "ssl/localhost.pem"))
		time.Sleep(3 * time.Second)
		if w.Config() == old {
			t.Error("a new certificate was not seen")
		}
	})
}

func TestRunWaitsForTheRepair(t *testing.T) {
	run(t, func(dir string, w *control.Watcher) {
		first := w.Config()
		change(t, dir, "control/smtproutes", "a.example:r;0\n")
		time.Sleep(10 * time.Second)
		if w.Config() != first {
			t.Error("a broken configuration was taken")
		}
		change(t, dir, "control/smtproutes", "a.example:r;1\n")
		time.Sleep(3 * time.Second)
		if w.Config() == first {
			t.Error("the repair was not seen")
		}
	})
}

func TestRunRemindsOfARefusal(t *testing.T) {
	run(t, func(dir string, w *control.Watcher) {
		var log bytes.Buffer
		w.Log = slog.New(slog.NewTextHandler(&log, nil))
		change(t, dir, "control/smtproutes", "a.example:r;0\n")
		time.Sleep(10*time.Minute + 5*time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "level=ERROR"); n < 9 || n > 11 {
			t.Errorf("%d times in ten minutes", n)
		}
	})
}

func TestRunLeavesSoundAccountsToTheirFile(t *testing.T) {
	run(t, func(dir string, w *control.Watcher) {
		first := w.Config()
		if err := control.UsersOf(dir).Add("joe", "!"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if w.Config() != first {
			t.Error("a user more is no new configuration")
		}
	})
}

func TestRunIsQuietWhenNothingChanges(t *testing.T) {
	run(t, func(_ string, w *control.Watcher) {
		first := w.Config()
		time.Sleep(time.Minute)
		if w.Config() != first {
			t.Error("reloaded without need")
		}
	})
}
