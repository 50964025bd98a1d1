package local

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/sqmail/sqmail"
)

// Programs says how the programs that dot-qmail files name are run. The zero
// Programs is ready.
type Programs struct {
	// Shell runs the command: Shell -c command. "" means /bin/sh.
	Shell string

	// Env is what programs find in their environment besides the variables
	// of the delivery, as "name=value". Nil means a PATH of the system's
	// directories, and nothing else.
	Env []string

	// Timeout is how long a program may run: 0 means one hour. Then its
	// process group gets SIGTERM, and after Grace SIGKILL.
	Timeout time.Duration

	// Grace is how long a program may go on after SIGTERM, and how long its
	// descendants may keep its output open when it has ended. 0 means five
	// seconds.
	Grace time.Duration

	// TempDir is where the message is put for programs to read. "" means
	// /tmp.
	TempDir string
}

const (
	defaultTimeout = time.Hour
	defaultGrace   = 5 * time.Second
	defaultPath    = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
)

// toProgram runs a command with the message as its input.
func (j *job) toProgram(ctx context.Context, command string) error {
	p := j.agent.Programs
	if err := j.rewind(p.TempDir); err != nil {
		return err
	}
	timeout := cmp.Or(p.Timeout, defaultTimeout)
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	shell := cmp.Or(p.Shell, "/bin/sh")
	cmd := exec.CommandContext(limited, shell, "-c", "umask 077\n"+command)
	cmd.Dir = j.plan.User.Home
	cmd.Env = j.environ(p.env())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = j.content, &j.output, &j.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = cmp.Or(p.Grace, defaultGrace)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return fail(err, "Unable to run %s: %s. (#4.3.0)", shell, reason(err))
	}
	err := cmd.Wait()
	if limited.Err() != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not heed SIGTERM
	}
	if cmd.ProcessState == nil {
		return fail(err, "Unable to run %s: %s. (#4.3.0)", shell, reason(err))
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	done := status.Exited() && status.ExitStatus() == 0
	switch {
	case ctx.Err() != nil && !done:
		return fail(ctx.Err(), "Delivery was interrupted. (#4.3.0)")
	case limited.Err() != nil && !done:
		return fail(limited.Err(), "Program was stopped: it ran for too long. (#4.3.0)")
	}
	return j.verdict(ctx, status, command)
}

func (p *Programs) env() []string {
	if p.Env == nil {
		return []string{defaultPath}
	}
	return p.Env
}

// The exit codes that mean more than "try again later".
const (
	exitEnough    = 99
	exitPermanent = 100
)

// permanent holds the exit codes that bounce, those of sysexits.h among them.
var permanent = map[int]bool{
	exitPermanent: true, 64: true, 65: true, 70: true, 76: true, 77: true, 78: true, 112: true,
}

// verdict is what a program's end means for the message.
func (j *job) verdict(ctx context.Context, status syscall.WaitStatus, command string) error {
	code := status.ExitStatus()
	switch {
	case !status.Exited():
		return fail(fmt.Errorf("killed by signal %d", status.Signal()), "Aack, child crashed. (#4.3.0)")
	case code == 0:
		return nil
	case code == exitEnough:
		return errEnough
	case code == 1:
		// Often a mistake in a script, which will keep the mail for a week.
		j.agent.log().WarnContext(ctx, "program exited 1: mail will be tried again", "message", j.message.ID, "command", command)
	}
	f := &failure{class: sqmail.Deferral, err: fmt.Errorf("program exited %d", code)}
	f.status = sqmail.EnhancedCode{4, 3, 0}
	if permanent[code] {
		f.class, f.status[0] = sqmail.Rejection, 5
	}
	if told := statusOf(j.output.String()); told[0] == f.status[0] {
		f.status = told
	}
	return f
}

// rewind puts the message at the start of a file that has no name, for the
// program to read and to seek in. Programs of one delivery share it.
func (j *job) rewind(dir string) error {
	if j.content == nil {
		f, err := os.CreateTemp(cmp.Or(dir, "/tmp"), "sqmail-local-")
		if err == nil {
			j.content = f
			err = os.Remove(f.Name())
		}
		if err == nil {
			_, err = io.Copy(f, j.body())
		}
		if err != nil {
			return fail(err, "Unable to read message: %s. (#4.3.0)", reason(err))
		}
	}
	if _, err := j.content.Seek(0, io.SeekStart); err != nil {
		return fail(err, "Unable to rewind message. (#4.3.0)")
	}
	return nil
}

// output keeps the beginning of what programs print.
type output struct{ buf bytes.Buffer }

// Write takes everything, so that no program stops at a full pipe.
func (o *output) Write(p []byte) (int, error) {
	if room := maxReport + 1 - o.buf.Len(); room > 0 {
		o.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String returns what was printed, with its last line ended.
func (o *output) String() string {
	s := o.buf.String()
	if s != "" && s[len(s)-1] != '\n' {
		s += "\n"
	}
	return s
}
