package program

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/internal/spool"
)

// Scanner runs a program on each message, which is in a file: Program FILE
// Args…; spec: filter.md, 12. Exit code 0 lets the message pass, Infected
// refuses it with 554 5.3.2, and anything else is a deferral. A Scanner is
// used by its pointer.
type Scanner struct {
	// Program is a path, or a name that is looked for in the PATH of Env.
	Program string

	// Args stand behind the name of the file.
	Args []string

	// Infected is the exit code that refuses a message. 0 means 1.
	Infected int

	// MinSize and MaxSize bound the length of the messages that are looked at,
	// in octets, header fields that stand before the message included. 0: no
	// bound.
	MinSize, MaxSize int64

	// OnlyBase64 looks only at messages with a base64 part.
	OnlyBase64 bool

	// Timeout is how long the program may take, and how long it may wait for
	// its turn. 0: five minutes. Then its process group gets SIGTERM, and
	// after Grace, which is five seconds if 0, SIGKILL.
	Timeout, Grace time.Duration

	// Parallel is how many run at once; scanners are large. 0: ten.
	Parallel int

	// Env is what the program finds in its environment, as "name=value",
	// besides the variables of the connection rules and those of the message
	// (see [Variables]). Nil means a PATH of the system's directories.
	Env []string

	// Mode is who may read the file. 0: its owner alone, 0600. A program that
	// leaves the scanning to a daemon of another user may need more.
	Mode fs.FileMode

	// TempDir is where messages are put; it should be the program's alone.
	// "": /tmp.
	TempDir string

	// Text is added to the reply.
	Text string

	once  sync.Once
	slots chan struct{}
}

const scanTimeout = 5 * time.Minute

// Name returns "qhpsi".
func (f *Scanner) Name() string { return "qhpsi" }

// Asks names the program.
func (f *Scanner) Asks(*filter.Session) string {
	return strings.Join(append([]string{"program", f.Program}, f.Args...), " ")
}

// Body returns a scanner for a message.
func (f *Scanner) Body(ctx context.Context, s *filter.Session) (filter.Scanner, error) {
	file, err := spool.Create(f.TempDir)
	if err != nil {
		return nil, err
	}
	m := &scanning{f: f, s: s, ctx: ctx, file: file}
	if f.Mode != 0 {
		err = file.Chmod(f.Mode)
	}
	if err == nil && s.Envelope != nil {
		err = m.keep(s.Envelope.Header)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// scanning is a message on its way to the program.
type scanning struct {
	f      *Scanner
	s      *filter.Session
	ctx    context.Context
	file   *spool.File
	long   bool // longer than MaxSize
	base64 filter.Base64Detector
}

// Write adds a piece to the file.
func (m *scanning) Write(p []byte) (int, error) {
	if m.f.OnlyBase64 {
		m.base64.Write(p)
	}
	return len(p), m.keep(p)
}

func (m *scanning) keep(p []byte) error {
	m.long = m.long || m.f.MaxSize > 0 && m.file.Size()+int64(len(p)) > m.f.MaxSize
	if m.long {
		return nil
	}
	_, err := m.file.Write(p)
	return err
}

// End runs the program.
func (m *scanning) End() (sqmail.Verdict, error) {
	switch {
	case m.long:
		return sqmail.Verdict{Rule: "longer than MaxSize"}, nil
	case m.file.Size() < m.f.MinSize:
		return sqmail.Verdict{Rule: "shorter than MinSize"}, nil
	case m.f.OnlyBase64 && !m.base64.Found():
		return sqmail.Verdict{Rule: "no base64 part"}, nil
	}
	code, err := m.f.scan(m.ctx, m.file.Name(), m.environ())
	switch {
	case err != nil || code == 0:
		return sqmail.Verdict{}, err
	case code != cmp.Or(m.f.Infected, 1):
		return sqmail.Verdict{}, fmt.Errorf("%s ended with %d", m.f.Program, code)
	}
	v := sqmail.Verdict{Action: sqmail.ActionReject, Rule: m.f.Program, Input: "exit code " + strconv.Itoa(code), Reply: infected}
	if m.f.Text != "" {
		v.Reply.Text += "; " + m.f.Text
	}
	return v, nil
}

var infected = sqmail.Reply{
	Code: 554, Enhanced: sqmail.EnhancedCode{5, 3, 2},
	Text: "sorry, invalid message content (virus)",
}

// environ is the program's environment.
func (m *scanning) environ() []string {
	env := slices.Clone(environ(m.f.Env))
	for name, value := range m.s.Vars {
		env = append(env, name+"="+value)
	}
	if m.s.Envelope != nil {
		env = append(env, Variables(m.s.Envelope)...)
	}
	return env
}

// Close removes the file.
func (m *scanning) Close() { m.file.Close() }

// scan runs the program when it is its turn, and returns its exit code.
func (f *Scanner) scan(ctx context.Context, name string, env []string) (code int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(f.Timeout, scanTimeout), errTookTooLong)
	defer cancel()
	f.once.Do(func() { f.slots = make(chan struct{}, max(1, cmp.Or(f.Parallel, 10))) })
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	path, err := find(f.Program, env)
	if err != nil {
		return 0, err
	}
	var said head
	cmd := prepare(ctx, f.Grace, path, append([]string{name}, f.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &said, &said
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if code, err = wait(ctx, cmd); err != nil {
		return 0, fmt.Errorf("%s: %w (it said %q)", f.Program, err, said.b)
	}
	return code, nil
}
