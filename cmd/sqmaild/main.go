// Command sqmaild is the reference daemon of package sqmail: a mail server
// whose home directory has the layout of a qmail installation. It only joins
// the parts; all that it can do, a Go program can do with the packages.
//
//	sqmaild quickstart                  try it, on loopback high ports
//	sqmaild init -home DIR -me FQDN     make a home
//	sqmaild serve -home DIR             run
//	sqmaild help                        everything else
//
// It exits 0 when done, 100 when trying again is of no use, and 111 when it
// may work later.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// The exit codes of qmail's programs.
const (
	exitDone      = 0
	exitPermanent = 100
	exitTemporary = 111
)

// stdio is where a command reads and writes, so that tests can run commands.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// command is one subcommand, or a group of them.
type command struct {
	name  string // as typed, with the group's name: "queue list"
	args  string // its arguments, for the usage line
	short string // what it does, in a line
	long  string // more for -help, optional
	run   func(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error
}

// commands in the order in which help shows them. Each registers its flags on
// fs, and then parses args.
var commands = slices.Concat(daemonCommands, submitCommands, queueCommands, transferCommands, userCommands, explainCommands, cdbCommands)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait
	os.Exit(run(ctx, stdio{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, std stdio, args []string) int {
	if len(args) == 0 {
		usage(std.err, commands)
		return exitPermanent
	}
	if slices.Contains([]string{"help", "-help", "--help", "-h"}, args[0]) {
		usage(std.out, commands)
		return exitDone
	}
	cmd, rest := find(args)
	if cmd == nil {
		return unknown(std, args)
	}
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	err := cmd.run(ctx, std, fs, rest)
	if errors.Is(err, flag.ErrHelp) {
		cmd.help(std.out, fs)
		return exitDone
	}
	if err == nil {
		return exitDone
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	fmt.Fprintf(std.err, "sqmaild %s: %v\n", cmd.name, err)
	if isUsage(err) {
		fmt.Fprintf(std.err, "usage: sqmaild %s %s\n", cmd.name, cmd.args)
	}
	return exitCode(err)
}

// find returns the command that args begin with, and the rest of args.
func find(args []string) (*command, []string) {
	for i := range commands {
		words := strings.Fields(commands[i].name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return &commands[i], args[len(words):]
		}
	}
	return nil, nil
}

// unknown answers a command line that names no command: with the group's
// commands if it names a group.
func unknown(std stdio, args []string) int {
	var group []command
	for _, c := range commands {
		if strings.HasPrefix(c.name, args[0]+" ") {
			group = append(group, c)
		}
	}
	asked := len(args) > 1 && strings.TrimLeft(args[1], "-") == "help"
	switch {
	case len(group) > 0 && asked:
		usage(std.out, group)
		return exitDone
	case len(group) > 0:
		if len(args) > 1 {
			fmt.Fprintf(std.err, "sqmaild: no command %q\n", args[0]+" "+args[1])
		}
		usage(std.err, group)
	default:
		fmt.Fprintf(std.err, "sqmaild: no command %q; sqmaild help lists them\n", args[0])
	}
	return exitPermanent
}

func usage(w io.Writer, list []command) {
	fmt.Fprintln(w, "usage: sqmaild COMMAND [-flags] [arguments]; sqmaild COMMAND -help tells more")
	fmt.Fprintln(w)
	for _, c := range list {
		fmt.Fprintf(w, "  %-18s %s\n", c.name, c.short)
	}
}

func (c *command) help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "usage: sqmaild %s %s\n\n%s\n", c.name, c.args, c.short)
	if c.long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.long))
	}
	fmt.Fprintln(w)
	fs.SetOutput(w)
	fs.PrintDefaults()
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// parse parses the flags of a command that takes between least and most
// further arguments, and returns those. Flags may stand behind arguments too,
// unless "--" stands between.
func parse(fs *flag.FlagSet, args []string, least, most int) (rest []string, err error) {
	for len(args) > 0 {
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, usageError{err}
		}
		parsed := args[:len(args)-fs.NArg()]
		if args = fs.Args(); len(parsed) > 0 && parsed[len(parsed)-1] == "--" {
			rest, args = append(rest, args...), nil
		} else if len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	if n := len(rest); n < least {
		return nil, usageError{errors.New("arguments are missing")}
	} else if n > most {
		return nil, usageError{fmt.Errorf("too many arguments: %q", rest[most])}
	}
	return rest, nil
}

// exitStatus is an answer that is told by the exit code alone.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// permanent marks an error that will not go away by itself.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// exitCode tells permanent trouble from temporary: a wrong command line or
// configuration, and what does not exist, stays so; all else may pass.
func exitCode(err error) int {
	if isUsage(err) || isPermanent(err) {
		return exitPermanent
	}
	return exitTemporary
}
