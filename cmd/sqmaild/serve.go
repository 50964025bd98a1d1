package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/sqmail/sqmail/control"
)

var daemonCommands = []command{
	{
		name: "quickstart", args: "[-home DIR]",
		short: "try it: make a home with a demo user if needed, and serve it on loopback",
		run:   quickstart,
	},
	{
		name: "init", args: "-home DIR -me FQDN",
		short: "make a home directory",
		run:   initHome,
	},
	{
		name: "serve", args: "-home DIR [-log text|json] [-debug] [-classic FILE]",
		short: "run the daemon in the foreground",
		long: `Standard output tells of each listener, and then says ready; the log is on
standard error. SIGHUP reads the configuration again; if it is wrong the old
one stays in force. SIGTERM and SIGINT let sessions and deliveries end, for 20
seconds each at most; a second one does not wait.

-classic appends the lines that qmail-smtpd writes, which log analysers read, to
a file that SIGHUP opens again.`,
		run: serve,
	},
	{
		name: "check", args: "-home DIR [-json]",
		short: "check the configuration, and say what is wrong or doubtful",
		long:  "It exits 0 if the daemon could use it, whatever the warnings, else 100.",
		run:   check,
	},
}

// logFlags registers the flags of the log and returns what makes it.
func logFlags(fs *flag.FlagSet, std stdio) func() (*slog.Logger, error) {
	format := fs.String("log", "text", "the `format` of the log: text or json")
	debug := fs.Bool("debug", false, "log more")
	return func() (*slog.Logger, error) {
		options := &slog.HandlerOptions{Level: slog.LevelInfo}
		if *debug {
			options.Level = slog.LevelDebug
		}
		switch *format {
		case "text":
			return slog.New(slog.NewTextHandler(std.err, options)), nil
		case "json":
			return slog.New(slog.NewJSONHandler(std.err, options)), nil
		}
		return nil, usageError{fmt.Errorf("-log %s: it is text or json", *format)}
	}
}

func serve(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	logger := logFlags(fs, std)
	classic := fs.String("classic", "", "append classic lines to a `FILE`, or with - to standard output")
	if _, err := parse(fs, args, 0, 0); err != nil {
		return err
	}
	log, err := logger()
	if err != nil {
		return err
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return err
	}
	d := &daemon{home: home, out: std.out, log: log}
	if *classic != "" {
		if d.classic, err = openAppend(*classic, std.out); err != nil {
			return fmt.Errorf("-classic: %w", err)
		}
		defer d.classic.Close()
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return serveHome(ctx, d, hup)
}

func initHome(_ context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	me := fs.String("me", "", "the full name of this host, a `FQDN`")
	if _, err := parse(fs, args, 0, 0); err != nil {
		return err
	}
	if *me == "" {
		return usageError{errors.New("-me is missing: the full name of this host")}
	}
	if err := control.Init(*homeDir, *me, control.InitOptions{}); err != nil {
		return permanentError{err}
	}
	if err := makeStore(*homeDir); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s is ready for mail to NAME@%s\n", *homeDir, *me)
	fmt.Fprintf(std.out, "next: printf PASSWORD | sqmaild user add -home %s NAME; sqmaild serve -home %s\n", *homeDir, *homeDir)
	return nil
}

func check(_ context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	asJSON := fs.Bool("json", false, "print a JSON array of problems")
	if _, err := parse(fs, args, 0, 0); err != nil {
		return err
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return err
	}
	problems := control.Check(home)
	fatal := 0
	for _, p := range problems {
		if p.Fatal {
			fatal++
		}
		if !*asJSON {
			fmt.Fprintln(std.out, p)
		}
	}
	if *asJSON {
		json.NewEncoder(std.out).Encode(append([]control.Problem{}, problems...))
	}
	if fatal > 0 {
		return permanentError{fmt.Errorf("the daemon cannot use this home: %s, %s", count(fatal, "error"), count(len(problems)-fatal, "warning"))}
	}
	if !*asJSON {
		fmt.Fprintf(std.out, "the daemon can use this home; %s\n", count(len(problems), "warning"))
	}
	return nil
}

// count says how many there are of something.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}
