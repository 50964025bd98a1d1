package filter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

// Program is the [Mailboxes] that a program knows, by the protocol of qmail's
// checkpassword programs: it reads the address and three NULs from descriptor 3,
// and exits 0 if the mailbox exists, 111 if it cannot tell now, and with any
// other code if it does not exist. Spec: auth.md, 2.
//
// A program that cannot be started, is killed, takes too long, or exits with a
// shell's 126 and 127 (no such program) or sysexits' 75 (try again) has told
// nothing: that is an error. It finds the session in its environment: the
// variables of the connection rules, TCPREMOTEIP, TCPREMOTEHOST, HELOHOST and
// MAILFROM.
//
// A Program may be used concurrently; its fields must not change then.
type Program struct {
	// Name is the program: a path, or a name that is looked for in bin below
	// Dir and in the directories of the system.
	Name string
	Args []string

	// Dir is where it runs, and where a Name with a slash begins. "": the
	// directory of this process.
	Dir string

	// Env is what it finds in its environment besides, as "name=value". Nil:
	// a PATH of the system's directories.
	Env []string

	// Timeout is how long it may take, waiting for others included; then its
	// process group is killed. 0: 30 s.
	Timeout time.Duration

	// MaxRunning is how many may run at a time; further ones wait. 0: 20.
	MaxRunning int

	once  sync.Once
	slots chan struct{}
}

const (
	defaultProgramTime = 30 * time.Second
	defaultMaxRunning  = 20
	programPath        = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
)

// HasMailbox runs the program.
func (p *Program) HasMailbox(ctx context.Context, s *Session, to sqmail.Path) (bool, error) {
	p.once.Do(func() { p.slots = make(chan struct{}, cmp.Or(p.MaxRunning, defaultMaxRunning)) })
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.Timeout, defaultProgramTime))
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("%s: too many are running: %w", p.Name, ctx.Err())
	}
	known, err := p.run(ctx, s, to.Unquoted())
	if err != nil {
		return false, fmt.Errorf("%s: %w", p.Name, err)
	}
	return known, nil
}

// run runs the program for an address.
func (p *Program) run(ctx context.Context, s *Session, address string) (bool, error) {
	path, err := p.find()
	if err != nil {
		return false, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer r.Close()
	// An address is shorter than what a pipe holds: nobody has to read yet.
	_, err = w.WriteString(address + "\x00\x00\x00")
	if err = errors.Join(err, w.Close()); err != nil {
		return false, err
	}
	var said complaint
	cmd := exec.CommandContext(ctx, path, p.Args...)
	cmd.Dir = p.Dir
	cmd.Env = p.environ(s)
	cmd.ExtraFiles = []*os.File{r}
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	err = cmd.Run()
	if ctx.Err() != nil {
		return false, fmt.Errorf("stopped: %w", ctx.Err())
	}
	return meaning(cmd.ProcessState, err, said.buf.Bytes())
}

// meaning says what the end of a program means.
func meaning(state *os.ProcessState, err error, said []byte) (bool, error) {
	if state == nil || !state.Exited() {
		return false, cmp.Or(err, errors.New("ended without an exit code"))
	}
	switch code := state.ExitCode(); code {
	case 0:
		return true, nil
	case 111, 75, 126, 127:
		return false, fmt.Errorf("exited %d: %.200q", code, said)
	}
	return false, nil
}

// find returns the program's path.
func (p *Program) find() (string, error) {
	if strings.ContainsRune(p.Name, '/') {
		if filepath.IsAbs(p.Name) || p.Dir == "" {
			return p.Name, nil
		}
		return filepath.Join(p.Dir, p.Name), nil
	}
	dirs := filepath.SplitList(programPath)
	if p.Dir != "" {
		dirs = append([]string{filepath.Join(p.Dir, "bin")}, dirs...)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, p.Name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// environ returns the environment for a session.
func (p *Program) environ(s *Session) []string {
	env := []string{"PATH=" + programPath}
	if p.Env != nil {
		env = append([]string(nil), p.Env...)
	}
	if s == nil || s.Peer == nil {
		return env
	}
	for name, value := range s.Vars {
		env = append(env, name+"="+value)
	}
	set := func(name, value string) {
		if strings.IndexByte(value, 0) < 0 {
			env = append(env, name+"="+value)
		}
	}
	if addr := s.Peer.Remote.Addr(); addr.IsValid() {
		set("TCPREMOTEIP", addr.WithZone("").String())
	}
	if s.Peer.Name != "" {
		set("TCPREMOTEHOST", s.Peer.Name)
	}
	set("HELOHOST", s.Peer.Hello)
	if s.Envelope != nil {
		set("MAILFROM", s.Envelope.ReversePath.Unquoted())
	}
	return env
}

// complaint keeps the beginning of what a program says.
type complaint struct{ buf bytes.Buffer }

// Write takes everything, so that no program stops at a full pipe.
func (c *complaint) Write(p []byte) (int, error) {
	if room := 200 - c.buf.Len(); room > 0 {
		c.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
