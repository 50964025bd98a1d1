package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
)

// job is the delivery of one message to one recipient, at work on one line
// after the other.
type job struct {
	agent   *Agent
	message *sqmail.Message
	to      sqmail.Recipient
	now     time.Time
	plan    *Plan // nil until it is made

	line    int    // of the instruction at work, 0: none
	done    tally  // what this attempt did, or an earlier one
	where   string // the first file that was delivered to
	output  output // of programs
	receipt string // of the forward
	content *os.File
}

// run carries out the recipient's instructions.
func (j *job) run(ctx context.Context) error {
	if err := j.checkLoop(); err != nil {
		return err
	}
	plan, err := j.agent.plan(ctx, j.message.Envelope.ReversePath, j.to.Path)
	if err != nil {
		return err
	}
	j.plan = plan
	key := j.key()
	done := j.agent.progress.take(key)
	err = j.carryOut(ctx, done)
	if f, ok := errors.AsType[*failure](err); err != nil && !(ok && f.class == sqmail.Rejection) {
		j.agent.progress.put(key, done)
	}
	return err
}

// carryOut does what is not done yet, and notes in done what then is.
func (j *job) carryOut(ctx context.Context, done finished) error {
	var forwards []Instruction
	for _, in := range j.plan.Instructions {
		j.line = in.Line
		if in.Kind == KindForward {
			forwards = append(forwards, in)
			continue
		}
		enough, before := done[in]
		if !before {
			err := j.do(ctx, in)
			if enough = errors.Is(err, errEnough); err != nil && !enough {
				return err
			}
			done[in] = enough
		}
		j.done.add(in.Kind)
		if enough {
			break
		}
	}
	j.line = 0
	return j.forward(ctx, forwards)
}

// errEnough is the word of a program that no further line is to be read.
var errEnough = errors.New("program wants no further instructions")

// do carries out one instruction.
func (j *job) do(ctx context.Context, in Instruction) error {
	switch in.Kind {
	case KindMaildir:
		return j.toMaildir(ctx, j.path(in.Arg))
	case KindMbox:
		return j.toMbox(ctx, in.Arg)
	case KindProgram:
		return j.toProgram(ctx, in.Arg)
	}
	j.agent.log().WarnContext(ctx, "unknown instruction", "home", j.plan.User.Home, "file", j.plan.File, "line", in.Line, "text", in.Arg)
	return nil
}

// path returns the path of a file that an instruction names.
func (j *job) path(arg string) string {
	if filepath.IsAbs(arg) {
		return arg
	}
	return filepath.Join(j.plan.User.Home, arg)
}

// wrote remembers where the message went.
func (j *job) wrote(path string) {
	if j.where == "" {
		j.where = path
	}
}

// address is the recipient as Delivered-To shows it.
func (j *job) address() string { return j.to.Path.Unquoted() }

// deliveredTo is the field by which a loop is known, ended by LF.
func (j *job) deliveredTo() string { return "Delivered-To: " + oneLine(j.address()) + "\n" }

// returnPath is the field that holds the reverse-path, ended by LF.
func (j *job) returnPath() string {
	return "Return-Path: <" + oneLine(j.message.Envelope.ReversePath.String()) + ">\n"
}

// fromLine is the line before a message in an mbox, ended by LF.
func (j *job) fromLine() string {
	sender := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return '-'
		}
		return r
	}, j.message.Envelope.ReversePath.Unquoted())
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	return "From " + sender + " " + j.now.UTC().Format("Mon Jan 02 15:04:05 2006") + "\n"
}

var lineEnds = strings.NewReplacer("\n", "_", "\r", "_", "\x00", "_")

func oneLine(s string) string { return lineEnds.Replace(s) }

// body reads the message, and tells its own trouble from that of whoever
// writes it down.
func (j *job) body() io.Reader { return &sourceReader{r: j.message.Reader()} }

// sourceReader marks the errors of reading the message.
type sourceReader struct{ r io.Reader }

type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = sourceError{err}
	}
	return n, err
}

// report is what bounces and logs say of the attempt.
func (j *job) report(err error) string {
	var b strings.Builder
	b.WriteString(j.output.String())
	if err != nil {
		text := "Temporary trouble in local delivery. (#4.3.0)"
		if f, ok := errors.AsType[*failure](err); ok {
			text = f.text
		}
		if text != "" {
			b.WriteString(text + "\n")
		}
	}
	if err == nil || j.done.files+j.done.programs > 0 {
		b.WriteString(j.done.String())
	}
	if j.receipt != "" {
		fmt.Fprintf(&b, "qp %s\n", clean(j.receipt))
	}
	return truncate(b.String())
}

// maxReport bounds a report.
const maxReport = 3000

// truncate cuts a report at its first NUL, and where it is too long.
func truncate(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	if len(s) > maxReport {
		s = s[:maxReport] + "\nError report too long, sorry.\n"
	}
	return s
}

// close frees what the attempt held.
func (j *job) close() {
	if j.content != nil {
		j.content.Close()
	}
}
