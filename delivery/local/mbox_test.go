package local_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
)

var date = regexp.MustCompile(` [A-Z][a-z]{2} [A-Z][a-z]{2} [0-9]{2} [0-9:]{8} [0-9]{4}\n`)

// The example of spec/local.md §3.7, byte for byte but for the date.
func TestMboxFormat(t *testing.T) {
	dir := home(t, map[string]string{".qmail-l": "./Mailbox\n"})
	o := deliver(t, &local.Agent{Users: only(dir)}, message("x\nFrom a\n>From b\n>>From c\nno nl", "", "u-l@host.dom.org"))
	want(t, o, sqmail.Accepted, "did 1+0+0\n")
	const mbox = `From MAILER-DAEMON DATE
Return-Path: <>
Delivered-To: u-l@host.dom.org
x
>From a
>>From b
>>>From c
no nl

`
	if got := date.ReplaceAllString(read(t, dir, "Mailbox"), " DATE\n"); got != mbox {
		t.Errorf("got\n%s", got)
	}
	if info, _ := os.Stat(filepath.Join(dir, "Mailbox")); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if o.Where != filepath.Join(dir, "Mailbox") {
		t.Errorf("where: %s", o.Where)
	}
}

func TestFromIsQuotedOnlyAtTheStartOfALine(t *testing.T) {
	long := strings.Repeat("y", 64<<10)
	for text, stored := range map[string]string{
		"":                        "",
		"From\n":                  "From\n",
		"From: a\n":               "From: a\n",
		" From a\n":               " From a\n",
		">>>From a":               ">>>>From a\n",
		long + "From a\nFrom b\n": long + "From a\n>From b\n",
		"a\r\nFrom b\r\n":         "a\r\n>From b\r\n",
		"\n\n":                    "\n\n",
		"\x00\xff":                "\x00\xff\n",
	} {
		dir := home(t, map[string]string{".qmail": "./mbox\n"})
		deliver(t, &local.Agent{Users: only(dir)}, message(text, "s@x.test", "u@h.test"))
		_, got, _ := strings.Cut(read(t, dir, "mbox"), "Delivered-To: u@h.test\n")
		if got != stored+"\n" {
			t.Errorf("%.30q is stored as %.30q", text, got)
		}
	}
}

// What a crash left of a message must not swallow the next one.
func TestMboxIsRepairedBeforeItGrows(t *testing.T) {
	for before, after := range map[string]string{
		"": "", "From a\nx\n\n": "From a\nx\n\n", "From a\nx\n": "From a\nx\n\n", "From a\nx": "From a\nx\n\n", "\n": "\n\n", "x": "x\n\n",
	} {
		dir := home(t, map[string]string{".qmail": "./mbox\n", "mbox": before})
		deliver(t, &local.Agent{Users: only(dir)}, message("x\n", "s@x.test", "u@h.test"))
		if got := read(t, dir, "mbox"); !strings.HasPrefix(got, after+"From s@x.test ") {
			t.Errorf("%q became %q", before, got)
		}
	}
}

func TestMboxIsLocked(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "./mbox\n", "mbox": "old\n\n"})
	f, err := os.Open(filepath.Join(dir, "mbox"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	a := &local.Agent{Users: only(dir), LockTimeout: 20 * time.Millisecond}
	want(t, deliver(t, a, message("x\n", "", "u@h.test")), sqmail.Deferral, "File has been locked for 30 seconds straight. (#4.3.0)\n")
	if got := read(t, dir, "mbox"); got != "old\n\n" {
		t.Errorf("%q", got)
	}

	patient := &local.Agent{Users: only(dir)}
	var running sync.WaitGroup
	running.Go(func() { want(t, deliver(t, patient, message("x\n", "", "u@h.test")), sqmail.Accepted, "did 1+0+0\n") })
	f.Close()
	running.Wait()
}

func TestConcurrentMboxDeliveriesDoNotMix(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "./mbox\n"})
	a := &local.Agent{Users: only(dir)}
	body := strings.Repeat("some line\n", 20000) // more than is written at once
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() { deliver(t, a, message(body, "s@x.test", "u@h.test")) })
	}
	running.Wait()
	mails := strings.Split(read(t, dir, "mbox"), "Delivered-To: u@h.test\n")
	for n, m := range mails[1:] {
		if !strings.HasPrefix(m, body+"\n") {
			t.Errorf("message %d is broken", n)
		}
	}
	if len(mails) != 9 {
		t.Errorf("%d messages", len(mails)-1)
	}
}

func TestMboxMustBeAFileThatCanBeWritten(t *testing.T) {
	dir := home(t, map[string]string{
		".qmail-none": "./no/mbox\n", ".qmail-dir": "./Maildir\n", ".qmail-fifo": "./fifo\n", ".qmail-null": "/dev/null\n", ".qmail-full": "/dev/full\n",
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for ext, text := range map[string]string{
		"none": "Unable to open ./no/mbox: no such file or directory. (#4.2.1)\n",
		"dir":  "Unable to open ./Maildir: is a directory. (#4.2.1)\n",
		"fifo": "Unable to open ./fifo: not a regular file. (#4.2.1)\n",
		"null": "Unable to open /dev/null: not a regular file. (#4.2.1)\n",
		"full": "Unable to open /dev/full: not a regular file. (#4.2.1)\n",
	} {
		o := deliver(t, &local.Agent{Users: only(dir)}, message("x\n", "", "u-"+ext+"@h.test"))
		want(t, o, sqmail.Deferral, text)
	}
}
