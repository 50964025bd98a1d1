package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// wrongs are what may become of a file under a running daemon.
var wrongs = []struct {
	name string
	make func(path string) error
}{
	{"directory", func(path string) error { return os.Mkdir(path, 0o755) }},
	{"FIFO", func(path string) error { return syscall.Mkfifo(path, 0o644) }},
	{"link to nothing", func(path string) error { return os.Symlink("nowhere", path) }},
	{"NULs", func(path string) error { return os.WriteFile(path, make([]byte, 4096), 0o644) }},
	{"64 MiB", func(path string) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(64 << 20)
	}},
}

// Whatever becomes of a file of control under a running daemon: it keeps the old
// configuration, says which file it is, takes our mail, and relays nothing.
func TestWrongFilesUnderARunningDaemon(t *testing.T) {
	d := serveInside(t, map[string]string{
		"control/services":          "smtpd smtp 127.0.0.1:0 MFDNSCHECK= HELOCHECK= BADMIMETYPE=! BADLOADERTYPE=M LOCALMFCHECK=! rules=rules.smtpd\n",
		"control/rules.smtpd":       "192.0.2.1:allow,RELAYCLIENT=\"\"\n:allow\n",
		"control/badmailfrom":       "spam@example.net\n",
		"control/morercpthosts":     "more.example\n",
		"users/recipients":          "joe@mx.example.org\njoe@more.example\n",
		"control/mailfromrules":     "192.0.2.1&@mx.example.org\n",
		"control/badmimetypes":      "TVqQAAMAA\n",
		"control/badloadertypes":    "M0hyd\n",
		"control/virtualdomains":    "v.example.org:joe\n",
		"control/concurrencyremote": "0\n",
		"users/assign":              ".\n",
	})
	for _, name := range []string{"newmrh", "recipients", "mfrules", "badmimetypes", "badloadertypes"} {
		must(t, "", name, "-home", d.dir)
	}
	d.write("control/recipients", "mx.example.org:users/recipients.cdb\nmore.example:users/recipients.cdb\n")
	d.reload()
	d.wait(`msg="configuration taken"`, 2)
	files, err := filepath.Glob(filepath.Join(d.dir, "control/*"))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	wrong := func(t *testing.T, file string, make func(path string) error) {
		d.t = t
		refused++
		path := filepath.Join(d.dir, file)
		if err := os.Rename(path, path+".aside"); err != nil {
			t.Fatal(err)
		}
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		d.reload()
		d.wait(`msg="configuration refused"`, refused)
		log := d.log.String()
		if last := log[strings.LastIndex(log, `msg="configuration refused"`):]; !strings.Contains(last, file) {
			t.Errorf("%s is not named: %s", file, last)
		}
		d.keepsWorking()
		if err := os.Rename(path+".aside", path); err != nil {
			os.Remove(path) // a directory
			err = os.Rename(path+".aside", path)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, path := range append(files, filepath.Join(d.dir, "users/recipients.cdb"), filepath.Join(d.dir, "users/assign")) {
		file, _ := filepath.Rel(d.dir, path)
		if strings.HasPrefix(file, "control/") && strings.HasSuffix(file, ".cdb") {
			continue // below
		}
		for _, w := range wrongs {
			t.Run(file+" "+w.name, func(t *testing.T) { wrong(t, file, w.make) })
		}
	}
	// Without its text the database counts.
	for _, file := range []string{"control/morercpthosts", "control/mailfromrules", "control/badmimetypes", "control/badloadertypes"} {
		if err := os.Remove(filepath.Join(d.dir, file)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(d.dir, file+".cdb"))
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1000, 2048, len(text) - 1} {
			t.Run(file+".cdb truncated", func(t *testing.T) {
				wrong(t, file+".cdb", func(path string) error { return os.WriteFile(path, text[:size], 0o644) })
			})
		}
	}
	d.t = t
	d.reload()
	d.wait(`msg="configuration taken"`, 3)
	d.keepsWorking()
}

// keepsWorking sends what is to be taken, and tries what is not.
func (d *inside) keepsWorking() {
	d.t.Helper()
	c := d.dial("smtpd")
	c.Do("EHLO friend.example.net", 250)
	c.Do("MAIL FROM:<>", 250)
	c.Do("RCPT TO:<victim@foreign.example>", 553)
	c.Do("RCPT TO:<nobody@mx.example.org>", 550)
	c.Do("RCPT TO:<joe@mx.example.org>", 250)
	c.Do("RCPT TO:<joe@more.example>", 250)
	c.Do("QUIT", 221)
}
