package program_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/program"
)

const message = "Subject: hi\n\nhello\n"

// scan shows f a message with a header field in front of it.
func scan(t *testing.T, ctx context.Context, f *program.Scanner, text string) (sqmail.Verdict, error) {
	t.Helper()
	if f.TempDir == "" {
		f.TempDir = t.TempDir()
	}
	s, err := f.Body(ctx, &filter.Session{Peer: &sqmail.Peer{}, Envelope: &sqmail.Envelope{Header: []byte("Received: x\n")}})
	if err != nil {
		return sqmail.Verdict{}, err
	}
	defer func() { s.Close(); empty(t, f.TempDir) }()
	for line := range strings.Lines(text) {
		io.WriteString(s, line)
	}
	return s.End()
}

// TestScannersSeeTheSession: a program finds in its environment who sends what
// to whom, and what the rules of the connection say.
func TestScannersSeeTheSession(t *testing.T) {
	f := &program.Scanner{
		Program: script(t, `test "$OWN|$SITE|$MAILFROM|$RCPTTO|$AUTHUSER|$HOME" = "1|a b|a@x.test|b@y.test |joe|"`),
		Env:     []string{"PATH=/usr/bin:/bin", "OWN=1"}, TempDir: t.TempDir(),
	}
	peer := &sqmail.Peer{User: "joe"}
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("a@x.test"), Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("b@y.test")}}, Peer: peer}
	s, err := f.Body(t.Context(), &filter.Session{Peer: peer, Envelope: env, Vars: map[string]string{"SITE": "a b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v, err := s.End(); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestExitCodesOfScanners(t *testing.T) {
	for _, test := range []struct {
		command  string
		infected int
		action   sqmail.Action
		defers   bool
	}{
		{command: "exit 0"},
		{command: "exit 1", action: sqmail.ActionReject},
		{command: "exit 2", defers: true},
		{command: "exit 1", infected: 7, defers: true},
		{command: "exit 7", infected: 7, action: sqmail.ActionReject},
		{command: "exit 71", defers: true},
		{command: "kill -9 $$", defers: true},
		{command: "kill -15 $$", defers: true},
		{command: "head -c 1000000 /dev/zero; exit 1", action: sqmail.ActionReject},
		{command: "rm -f $1; exit 0"},
	} {
		f := &program.Scanner{Program: script(t, "%s", test.command), Infected: test.infected}
		v, err := scan(t, t.Context(), f, message)
		if test.defers != (sqmail.ClassOf(err) == sqmail.Deferral) || v.Action != test.action {
			t.Errorf("%s: %+v, %v", test.command, v, err)
		}
		if v.Action == sqmail.ActionReject && (v.Reply.Code != 554 || v.Reply.Enhanced != sqmail.EnhancedCode{5, 3, 2}) {
			t.Errorf("%s: %v", test.command, v.Reply)
		}
	}
}

func TestScannersThatCannotBeStarted(t *testing.T) {
	for _, name := range []string{"", "/nonexistent/scanner", "sqmail-no-such-program", t.TempDir()} {
		if v, err := scan(t, t.Context(), &program.Scanner{Program: name}, message); sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("%q: %+v, %v", name, v, err)
		}
	}
	if _, err := scan(t, t.Context(), &program.Scanner{Program: "true", TempDir: "/nonexistent"}, message); err == nil {
		t.Error("there is no directory for the message, and no error")
	}
}

func TestScannersSeeTheStoredMessage(t *testing.T) {
	dir := t.TempDir()
	f := &program.Scanner{
		Program: script(t, `cat "$1" >%[1]s/copy; echo "$2,$3,$4" >%[1]s/args; env >%[1]s/env; stat -c %%a "$1" >%[1]s/mode`, dir),
		Args:    []string{"--one", "two words"},
		Mode:    0o640,
	}
	if v, err := scan(t, t.Context(), f, message); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%+v, %v", v, err)
	}
	for name, want := range map[string]string{
		"copy": "Received: x\n" + message, "args": "--one,two words,\n", "mode": "640\n",
	} {
		if got := read(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := read(t, filepath.Join(dir, "env")); strings.Contains(got, "HOME=") || !strings.Contains(got, "PATH=/usr/local/bin:") {
		t.Errorf("environment: %s", got)
	}
}

func TestScannersAreFoundInThePath(t *testing.T) {
	path := script(t, "exit 1")
	f := &program.Scanner{Program: "program", Env: []string{"PATH=:.:/nonexistent:" + filepath.Dir(path)}}
	if v, err := scan(t, t.Context(), f, message); err != nil || v.Action != sqmail.ActionReject {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestOnlySomeMessagesAreScanned(t *testing.T) {
	const base64 = "Content-Transfer-Encoding: base64\n\nTVqQAAMAAA\n"
	for _, test := range []struct {
		name    string
		f       *program.Scanner
		text    string
		scanned bool
	}{
		{name: "all", f: new(program.Scanner), text: message, scanned: true},
		{name: "empty", f: new(program.Scanner), scanned: true},
		{name: "as long as MinSize", f: &program.Scanner{MinSize: 31}, text: message, scanned: true},
		{name: "shorter", f: &program.Scanner{MinSize: 32}, text: message},
		{name: "as long as MaxSize", f: &program.Scanner{MaxSize: 31}, text: message, scanned: true},
		{name: "longer", f: &program.Scanner{MaxSize: 30}, text: message},
		{name: "a header beyond MaxSize", f: &program.Scanner{MaxSize: 5}, text: message},
		{name: "no base64 part", f: &program.Scanner{OnlyBase64: true}, text: message},
		{name: "a base64 part", f: &program.Scanner{OnlyBase64: true}, text: base64, scanned: true},
	} {
		test.f.Program = script(t, "exit 1")
		v, err := scan(t, t.Context(), test.f, test.text)
		if err != nil || (v.Action == sqmail.ActionReject) != test.scanned {
			t.Errorf("%s: %+v, %v", test.name, v, err)
		}
	}
}

// A program that does not end is ended with all that it has started.
func TestScannersAreStopped(t *testing.T) {
	stubborn := script(t, `trap '' TERM; while :; do sleep 60; done`)
	f := &program.Scanner{Program: stubborn, Timeout: 300 * time.Millisecond, Grace: 50 * time.Millisecond}
	if v, err := scan(t, t.Context(), f, message); sqmail.ClassOf(err) != sqmail.Deferral || !strings.Contains(err.Error(), "too long") {
		t.Errorf("%+v, %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f = &program.Scanner{Program: script(t, "sleep 60")}
	cancel()
	if _, err := scan(t, ctx, f, message); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestScannersWaitTheirTurn(t *testing.T) {
	dir := t.TempDir()
	f := &program.Scanner{
		Program: script(t, `mkdir %[1]s/busy || exit 9; sleep 0.05; rmdir %[1]s/busy`, dir), Parallel: 1, TempDir: t.TempDir(),
	}
	errs := make(chan error)
	for range 4 {
		go func() {
			s, err := f.Body(context.Background(), &filter.Session{})
			if err == nil {
				defer s.Close()
				_, err = s.End()
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "busy")); err == nil {
		t.Error("still busy")
	}
}
