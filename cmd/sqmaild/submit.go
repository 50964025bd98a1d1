package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

var submitCommands = []command{{
	name: "submit", args: "-home DIR [-from PATH] PATH… <message",
	short: "put a message into the queue, whether the daemon runs or not",
	long: `The message is read from standard input and goes out as it is, behind a Received
field. When the exit code is 0 it is on the disk; a daemon that runs takes it in
at once, another one when it starts. Every user may submit who can reach the
directory queue/store/drop of the home; nobody but the daemon's user and group
can read what others have submitted.`,
	run: submit,
}}

func submit(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	var from paths
	fs.Var(&from, "from", "the reverse-`PATH`; \"\" is the null path (default the user's name at control/me)")
	args, err := parse(fs, args, 1, 1<<20)
	if err != nil {
		return err
	}
	env, err := submission(args)
	if err != nil {
		return err
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return err
	}
	if len(from) == 0 {
		if from, err = defaultSender(home); err != nil {
			return err
		}
	}
	env.ReversePath = from[len(from)-1]
	env.SMTPUTF8 = env.SMTPUTF8 || env.ReversePath.NeedsUTF8()
	return submitError(home, segstore.Submit(ctx, queueDir(home), queue.Submission{Envelope: env}, std.in))
}

// submission makes the envelope of a message for recipients, with the field that
// tells who has submitted it (RFC 5321, 4.4, in the manner of qmail-queue).
func submission(recipients []string) (*sqmail.Envelope, error) {
	env := &sqmail.Envelope{Header: fmt.Appendf(nil, "Received: (sqmaild %d invoked by uid %d); %s\n",
		os.Getpid(), os.Getuid(), time.Now().UTC().Format("2 Jan 2006 15:04:05 -0000"))}
	for _, arg := range recipients {
		path, err := sqmail.ParsePath(strings.Trim(arg, "<>"))
		if err == nil && path.IsNull() {
			err = errors.New("it is empty")
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("%q is no address: %w", arg, err)}
		}
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: path})
		env.SMTPUTF8 = env.SMTPUTF8 || path.NeedsUTF8()
	}
	return env, nil
}

// defaultSender is the user who submits, at this host.
func defaultSender(home string) (paths, error) {
	me, err := os.ReadFile(filepath.Join(home, "control", "me"))
	if err != nil {
		return nil, fmt.Errorf("-from is needed where control/me cannot be read: %w", err)
	}
	host, _, _ := strings.Cut(string(me), "\n")
	name := "anonymous" // as qmail-inject has it
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return paths{{Local: name, Domain: strings.TrimSpace(host)}}, nil
}

// submitError says what a user can do about it.
func submitError(home string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return permanentError{fmt.Errorf("%s has no queue yet: start sqmaild serve once", home)}
	case errors.Is(err, fs.ErrPermission):
		return permanentError{fmt.Errorf("you may not submit here: %w", err)}
	case sqmail.ClassOf(err) == sqmail.Rejection:
		return permanentError{err}
	}
	return err
}
