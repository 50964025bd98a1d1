package program

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/internal/spool"
)

// Queue hands messages to a program that speaks the protocol of qmail-queue:
// the message on descriptor 0, the envelope on descriptor 1, and an exit code
// for an answer; spec: filter.md, 13, and queue.md, 1. It is a
// sqmail.Receiver, and is used by its pointer.
//
// A message is the Receiver's when the program ends with 0, and not before.
// The protocol has no place for the parameters of the envelope: NOTIFY, ENVID,
// SMTPUTF8 and the like are lost, and so is the trace of verdicts.
type Queue struct {
	// Program is a path; if it does not begin with "/", below Dir.
	Program string

	// Args are the program's arguments.
	Args []string

	// Dir is the directory in which the program runs, the home of qmail. "":
	// /var/qmail.
	Dir string

	// Env is what the program finds in its environment, besides the
	// variables of the message (see [Variables]). Nil means a PATH of the
	// system's directories.
	Env []string

	// Timeout is how long the program may take from when the message is
	// complete. 0: five minutes; a client waits for ten (RFC 5321,
	// 4.5.3.2.6). Then its process group gets SIGTERM, and after Grace, which
	// is five seconds if 0, SIGKILL.
	Timeout, Grace time.Duration

	// TempDir is where messages are put by until they are complete. "": /tmp.
	TempDir string

	// Running has a place for each program that may run at a time: it is made
	// with that capacity and nothing in it, and Queues may share it. A message
	// waits for its turn within Timeout. Nil: forty of this Queue.
	Running chan struct{}

	// Log gets one event for each message that was not taken. Nil: discarded.
	Log *slog.Logger

	once    sync.Once
	running chan struct{}
}

const (
	queueTimeout = 5 * time.Minute
	queueDir     = "/var/qmail"
	queueRunning = 40

	// maxAddress is the longest address that qmail-queue takes.
	maxAddress = 1002
)

// Receive hands a message to the program. Errors are those of
// sqmail.Receiver, with the replies of qmail-queue's exit codes.
func (q *Queue) Receive(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	envelope, err := appendEnvelope(nil, env)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	file, err := spool.CreateNameless(q.TempDir)
	if err != nil {
		return sqmail.Receipt{}, q.failed(ctx, env, exitWrite, err)
	}
	defer file.Close()
	if n, err := io.Copy(file, body); err != nil {
		// A body that fails is the client's end, or the verdict of a filter.
		return sqmail.Receipt{}, fmt.Errorf("message after %d octets: %w", n, err)
	}
	// Header is complete when the body is at its end.
	message := io.MultiReader(bytes.NewReader(env.Header), file.Reader())
	pid, code, err := q.run(ctx, env, message, envelope)
	if code != 0 || err != nil {
		return sqmail.Receipt{}, q.failed(ctx, env, code, err)
	}
	return sqmail.Receipt{ID: strconv.Itoa(pid), Time: time.Now()}, nil
}

// failed makes an error of an exit code.
func (q *Queue) failed(ctx context.Context, env *sqmail.Envelope, code int, cause error) error {
	if cause == nil {
		cause = fmt.Errorf("exit code %d", code)
	}
	reply := replyFor(code)
	err := &sqmail.Error{Op: opFor(code), Class: reply.Class(), Reply: reply, Err: cause}
	if q.Log != nil {
		q.Log.WarnContext(ctx, "queue program failed", "program", q.Program, "from", env.ReversePath.String(), "code", code, "err", cause)
	}
	return err
}

// run runs the program. With an error, code says as which exit code the error
// counts.
func (q *Queue) run(ctx context.Context, env *sqmail.Envelope, message io.Reader, envelope []byte) (pid, code int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(q.Timeout, queueTimeout), errTookTooLong)
	defer cancel()
	end, err := q.turn(ctx)
	if err != nil {
		return 0, exitTimeout, err
	}
	defer end()
	dir, path := cmp.Or(q.Dir, queueDir), q.Program
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	var p pipes
	if err := p.open(); err != nil {
		return 0, exitTemporary, err
	}
	defer p.close()
	var said head
	cmd := prepare(ctx, q.Grace, path, q.Args...)
	cmd.Dir, cmd.Env = dir, slices.Concat(environ(q.Env), Variables(env))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.message[0], p.envelope[0], &said
	if err := cmd.Start(); err != nil {
		return 0, exitNoExec, err
	}
	p.message[0].Close()
	p.envelope[0].Close()
	written := make(chan error, 1)
	go func() { written <- p.write(message, envelope) }()
	code, err = wait(ctx, cmd)
	p.close() // nobody has to read on
	unread := <-written
	switch {
	case err != nil:
		code = exitCrash
		if errors.Is(err, errTookTooLong) {
			code = exitTimeout
		}
		return 0, code, fmt.Errorf("%w (it said %q)", err, said.b)
	case code == 0 && unread != nil:
		return 0, exitRead, fmt.Errorf("it ended well without having read everything: %w", unread)
	}
	return cmd.Process.Pid, code, nil
}

// turn waits until another program may run; end is called when it has.
func (q *Queue) turn(ctx context.Context) (end func(), _ error) {
	q.once.Do(func() {
		if q.running = q.Running; q.running == nil {
			q.running = make(chan struct{}, queueRunning)
		}
	})
	select {
	case q.running <- struct{}{}:
		return func() { <-q.running }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("too many are running: %w", context.Cause(ctx))
	}
}

// pipes are the two ways to the program; [0] is its end.
type pipes struct{ message, envelope [2]*os.File }

func (p *pipes) open() (err error) {
	if p.message[0], p.message[1], err = os.Pipe(); err == nil {
		p.envelope[0], p.envelope[1], err = os.Pipe()
	}
	if err != nil {
		p.close()
	}
	return err
}

func (p *pipes) close() {
	for _, f := range []*os.File{p.message[0], p.message[1], p.envelope[0], p.envelope[1]} {
		if f != nil {
			f.Close()
		}
	}
}

// write writes both. The NUL at the end of the envelope is written only behind
// everything else: without it the program must take nothing.
func (p *pipes) write(message io.Reader, envelope []byte) error {
	defer p.envelope[1].Close()
	_, err := io.Copy(p.message[1], message)
	if closed := p.message[1].Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	_, err = p.envelope[1].Write(envelope)
	return err
}
