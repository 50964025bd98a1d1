package local_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
)

func run(t *testing.T, p *local.Programs, dotQmail string) (o sqmail.Outcome, dir string) {
	t.Helper()
	dir = home(t, map[string]string{".qmail": dotQmail})
	a := &local.Agent{Users: only(dir), Programs: p, Receiver: &sent{}}
	return deliver(t, a, message("Subject: x\n\nbody\n", "s@x.test", "u@h.test")), dir
}

// The table of spec/local.md §3.5.
func TestExitCodes(t *testing.T) {
	rejected := map[int]bool{100: true, 64: true, 65: true, 70: true, 76: true, 77: true, 78: true, 112: true}
	for _, code := range []int{0, 1, 2, 63, 64, 65, 66, 69, 70, 71, 74, 75, 76, 77, 78, 79, 98, 99, 100, 101, 110, 111, 112, 113, 126, 127, 255} {
		o, dir := run(t, &local.Programs{}, fmt.Sprintf("|exit %d\n./after\n", code))
		_, err := os.Stat(filepath.Join(dir, "after"))
		after := err == nil
		switch {
		case code == 0:
			want(t, o, sqmail.Accepted, "did 1+0+1\n")
		case code == 99:
			want(t, o, sqmail.Accepted, "did 0+0+1\n")
		case rejected[code]:
			want(t, o, sqmail.Rejection, "")
		default:
			want(t, o, sqmail.Deferral, "")
		}
		if after != (code == 0) {
			t.Errorf("%d: the next line was carried out: %v", code, after)
		}
	}
}

func TestProgramsWordStandsInTheReport(t *testing.T) {
	o, _ := run(t, &local.Programs{}, "|echo first; echo second >&2\n|echo 'Over quota. (#5.2.2)'; exit 100\n")
	want(t, o, sqmail.Rejection, "first\nsecond\nOver quota. (#5.2.2)\ndid 0+0+1\n")
	if o.Reply.Enhanced != (sqmail.EnhancedCode{5, 2, 2}) {
		t.Errorf("%v", o.Reply)
	}
	// A status that does not fit the exit code is not believed.
	o, _ = run(t, &local.Programs{}, "|printf 'no (#5.2.2)'; exit 111\n")
	want(t, o, sqmail.Deferral, "no (#5.2.2)\n")
	o, _ = run(t, &local.Programs{}, "|printf 'fine\\0hidden'\n")
	want(t, o, sqmail.Accepted, "fine")
}

func TestReportIsBounded(t *testing.T) {
	o, _ := run(t, &local.Programs{}, "|head -c 1000000 /dev/zero | tr '\\0' x\n")
	want(t, o, sqmail.Accepted, strings.Repeat("x", 3000)+"\nError report too long, sorry.\n")
}

func TestProgramsReadTheMessageFromItsStart(t *testing.T) {
	o, dir := run(t, &local.Programs{}, "|read x; cat >/dev/null\n|cat >copy; pwd >cwd; umask >umask\n")
	want(t, o, sqmail.Accepted, "did 0+0+2\n")
	if got := read(t, dir, "copy"); got != "Subject: x\n\nbody\n" {
		t.Errorf("%q", got)
	}
	if got := strings.TrimSpace(read(t, dir, "cwd")); filepath.Base(got) != "home" {
		t.Errorf("ran in %s", got)
	}
	if got := read(t, dir, "umask"); got != "0077\n" {
		t.Errorf("umask %s", got)
	}
}

func TestProgramsNeedNotReadTheMessage(t *testing.T) {
	text := strings.Repeat("line\n", 1<<18)
	dir := home(t, map[string]string{".qmail": "|true\n"})
	a := &local.Agent{Users: only(dir), Programs: &local.Programs{TempDir: dir}}
	want(t, deliver(t, a, message(text, "", "u@h.test")), sqmail.Accepted, "did 0+0+1\n")
	if left, _ := filepath.Glob(filepath.Join(dir, "sqmail-*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestCrashIsADeferral(t *testing.T) {
	o, _ := run(t, &local.Programs{}, "|kill -9 $$\n")
	want(t, o, sqmail.Deferral, "Aack, child crashed. (#4.3.0)\n")
}

func TestProgramsAreOffUnlessSwitchedOn(t *testing.T) {
	o, dir := run(t, nil, "|touch ran\n")
	want(t, o, sqmail.Deferral, "Uh-oh: .qmail has prog delivery but programs are switched off. (#4.7.0)\n")
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("it ran")
	}
}

func TestMissingShellIsADeferral(t *testing.T) {
	o, _ := run(t, &local.Programs{Shell: "/no/shell"}, "|true\n")
	want(t, o, sqmail.Deferral, "Unable to run /no/shell: no such file or directory. (#4.3.0)\n")
}

func TestProgramRunsForALimitedTime(t *testing.T) {
	for _, program := range []string{"|exec sleep 1000", "|sleep 1000; true", "|trap '' TERM; while :; do sleep 1000; done"} {
		o, _ := run(t, &local.Programs{Timeout: 50 * time.Millisecond, Grace: 10 * time.Millisecond}, program+"\n")
		want(t, o, sqmail.Deferral, "Program was stopped: it ran for too long. (#4.3.0)\n")
	}
}

func TestProgramEndsWithTheAttempt(t *testing.T) {
	for _, program := range []string{
		"|echo $$ >pid; exec sleep 1000",
		"|echo $$ >pid; sleep 1000; true",
		"|trap '' TERM; echo $$ >pid; while :; do sleep 1000; done",
	} {
		dir := home(t, map[string]string{".qmail": program + "\n"})
		pipe := filepath.Join(dir, "pid")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		a := &local.Agent{Users: only(dir), Programs: &local.Programs{Grace: 10 * time.Millisecond}}
		ctx, cancel := context.WithCancel(t.Context())
		pid := make(chan string, 1)
		go func() {
			b, _ := os.ReadFile(pipe) // waits for the program
			pid <- string(b)
			cancel()
		}()
		outcomes, err := a.Deliver(ctx, message("x\n", "", "u@h.test"))
		if err != nil || len(outcomes) != 1 {
			t.Fatalf("%v, %v", outcomes, err)
		}
		want(t, outcomes[0], sqmail.Deferral, "Delivery was interrupted. (#4.3.0)\n")
		id, err := strconv.Atoi(strings.TrimSpace(<-pid))
		if err != nil || syscall.Kill(id, 0) != syscall.ESRCH {
			t.Errorf("%s: process %d is alive, %v", program, id, err)
		}
	}
}

// A daemon that a program leaves behind does not hold the delivery up.
func TestDescendantsMayKeepTheOutputOpen(t *testing.T) {
	o, dir := run(t, &local.Programs{Grace: 100 * time.Millisecond}, "|sleep 1000 & echo $! >pid; echo hello\n")
	want(t, o, sqmail.Accepted, "hello\ndid 0+0+1\n")
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, dir, "pid")))
	if err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Errorf("the descendant %d is gone, %v", pid, err)
	}
}
