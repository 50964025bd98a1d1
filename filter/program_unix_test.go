//go:build unix

package filter_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// script writes a program.
func script(t *testing.T, dir, text string) string {
	t.Helper()
	name := filepath.Join(dir, "pam")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestProgram(t *testing.T) {
	for _, test := range []struct {
		text  string
		known bool
		fails string
	}{
		{text: "exit 0", known: true},
		{text: "exit 1"},
		{text: "exit 2"},
		{text: "exit 42"},
		{text: "echo no server >&2; exit 111", fails: "no server"},
		{text: "exit 75", fails: "exited 75"},
		{text: "exec /no/such/program 2>/dev/null", fails: "exited 127"},
		{text: "kill -9 $$", fails: "killed"},
		{text: `test "$(tr '\000' '|' <&3)" = "b@example.com|||"`, known: true},
		{text: `test "$1 $2" = "one two"`, known: true},
		{text: `test "$TCPREMOTEIP $TCPREMOTEHOST $HELOHOST $MAILFROM" = "192.0.2.7 h.test hello a@b.test"`, known: true},
		{text: `test "$SITE" = "a b"`, known: true},
		{text: `test "$PWD" = "$(cd "$(dirname "$0")" && pwd)"`, known: true},
	} {
		dir := t.TempDir()
		script(t, dir, test.text)
		p := &filter.Program{Name: "./pam", Args: []string{"one", "two"}, Dir: dir}
		s := &filter.Session{
			Vars:     map[string]string{"SITE": "a b", "TCPREMOTEIP": "not this"},
			Peer:     &sqmail.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:25"), Name: "h.test", Hello: "hello"},
			Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("a@b.test")},
		}
		known, err := p.HasMailbox(t.Context(), s, sqmail.PathOf("b@example.com"))
		if known != test.known || (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %v, %v", test.text, known, err)
		}
	}
}

func TestProgramIsFoundInBin(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	script(t, filepath.Join(dir, "bin"), "exit 0")
	for _, name := range []string{"pam", "bin/pam", "true"} {
		p := &filter.Program{Name: name, Dir: dir}
		if known, err := p.HasMailbox(t.Context(), stranger(), sqmail.PathOf("b@example.com")); !known || err != nil {
			t.Errorf("%s: %v, %v", name, known, err)
		}
	}
}

func TestProgramThatTakesTooLongTellsNothing(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "sleep 1000")
	p := &filter.Program{Name: "./pam", Dir: dir, Timeout: time.Millisecond}
	if known, err := p.HasMailbox(t.Context(), stranger(), sqmail.PathOf("b@example.com")); known || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", known, err)
	}
}

func TestProgramIsKilledWithItsChildren(t *testing.T) {
	dir := t.TempDir()
	alive := filepath.Join(dir, "alive")
	if err := syscall.Mkfifo(alive, 0o600); err != nil {
		t.Fatal(err)
	}
	script(t, dir, "exec 4>alive; sleep 1000 & wait")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		r, err := os.Open(alive) // which waits for the program to open it
		cancel()
		if err == nil {
			_, err = io.ReadAll(r) // until nobody has it open
		}
		ended <- err
	}()
	p := &filter.Program{Name: "./pam", Dir: dir}
	if known, err := p.HasMailbox(ctx, stranger(), sqmail.PathOf("b@example.com")); known || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", known, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestProgramsAreBounded(t *testing.T) {
	dir := t.TempDir()
	// The second of two at a time would find the directory of the first.
	script(t, dir, "mkdir lock || exit 1; rmdir lock")
	p := &filter.Program{Name: "./pam", Dir: dir, MaxRunning: 1}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if known, err := p.HasMailbox(t.Context(), stranger(), sqmail.PathOf("b@example.com")); !known || err != nil {
				t.Errorf("two at a time: %v, %v", known, err)
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if known, err := p.HasMailbox(ctx, stranger(), sqmail.PathOf("b@example.com")); known || err == nil {
		t.Errorf("the session is over: %v, %v", known, err)
	}
}
