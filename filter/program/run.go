package program

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	defaultGrace = 5 * time.Second
	defaultPath  = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
)

// environ returns what programs find in their environment.
func environ(env []string) []string {
	if env == nil {
		return []string{defaultPath}
	}
	return env
}

// prepare makes a command whose process group ends with ctx: SIGTERM, and
// after grace SIGKILL.
func prepare(ctx context.Context, grace time.Duration, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = cmp.Or(grace, defaultGrace)
	ownGroup(cmd)
	return cmd
}

var errTookTooLong = errors.New("it ran for too long")

// wait waits for a command that was started with prepare(ctx), and returns its
// exit code. The error says why there is none.
func wait(ctx context.Context, cmd *exec.Cmd) (code int, err error) {
	err = cmd.Wait()
	if ctx.Err() != nil {
		killGroup(cmd) // what did not heed SIGTERM
	}
	if cmd.ProcessState == nil {
		return 0, err
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Exited() && (ctx.Err() == nil || status.ExitStatus() == 0):
		return status.ExitStatus(), nil
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	}
	return 0, fmt.Errorf("it was killed by signal %d", status.Signal())
}

// find returns the path of a program. One without a slash is looked for in
// the directories of the PATH in env.
func find(program string, env []string) (string, error) {
	if program == "" {
		return "", errors.New("no program is named")
	}
	if strings.Contains(program, "/") {
		return program, nil
	}
	var path string
	for _, v := range env {
		if dirs, found := strings.CutPrefix(v, "PATH="); found {
			path = dirs
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		full := filepath.Join(dir, program)
		if !filepath.IsAbs(full) {
			continue // the present directory is nobody's choice
		}
		if found, err := exec.LookPath(full); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is not in the PATH", program)
}

// head keeps the beginning of what a program prints, for the log.
type head struct{ b []byte }

// Write takes everything, so that no program stops at a full pipe.
func (h *head) Write(p []byte) (int, error) {
	const most = 500
	h.b = append(h.b, p[:min(len(p), most-len(h.b))]...)
	return len(p), nil
}
