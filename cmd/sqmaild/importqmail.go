package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/queue/qmailspool"
	"github.com/sqmail/sqmail/queue/transfer"
)

var importQmailCommand = command{
	name: "queue import-qmail", args: "-home DIR [-n] [-control DIR] QUEUEDIR",
	short: "put the messages of a stopped qmail's queue into this one, each of them once",
	long: `QUEUEDIR is the queue directory of qmail, notqmail or s/qmail. Its qmail-send must
not be running, and cannot be started meanwhile; nothing is changed in it. Who
has the mail already does not get it again, bounces are sent with the reports
that they have, and messages keep their age and their next attempt.

Local recipients lose the prefix that the virtualdomains of the old
installation gave them: its control directory is the one beside QUEUEDIR, or
-control. Where they go then is for this home to say: a message with a local
recipient whose domain this home does not deliver is reported and left out.

What is left out, or damaged, stays where it is. The command can be repeated:
what was imported is not imported again.`,
	run: queueImportQmail,
}

func queueImportQmail(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	dryRun := fs.Bool("n", false, "only say what would be imported")
	controlDir := fs.String("control", "", "the control `DIR`ectory of the old installation")
	args, err := parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return err
	}
	config, err := control.Load(home)
	if err != nil {
		return err
	}
	rewriting, err := oldRewriting(*controlDir, args[0], config)
	if err != nil {
		return err
	}
	spool, err := qmailspool.Open(args[0], rewriting)
	if errors.Is(err, qmailspool.ErrNoSpool) {
		return permanentError{err}
	}
	if err != nil {
		return err
	}
	defer spool.Close()
	old := &oldQueue{spool: spool, router: config.Router()}
	if *dryRun {
		return old.list(ctx, std)
	}
	return importInto(ctx, std, home, false, "queue import-qmail", old.items(ctx))
}

// oldQueue is the queue of a qmail.
type oldQueue struct {
	spool  *qmailspool.Spool
	router *delivery.Router
}

// messages yields what is to be imported, and errors for what cannot be.
func (o *oldQueue) messages(ctx context.Context) iter.Seq2[*qmailspool.Message, error] {
	return func(yield func(*qmailspool.Message, error) bool) {
		for m, err := range o.spool.Messages(ctx) {
			switch {
			case err != nil:
			case m.Finished() && m.Stray == "":
				continue
			case m.Finished():
				err = &qmailspool.EntryError{ID: m.ID, File: fmt.Sprint("bounce/", m.ID), Err: errStray}
			default:
				err = o.check(ctx, m)
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// errStray is for a bounce that is due, and cannot be sent.
var errStray = errors.New("it does not say who failed: the sender has not heard of that")

// check refuses a message that would go astray: qmail was to deliver it, and
// we would send it elsewhere.
func (o *oldQueue) check(ctx context.Context, m *qmailspool.Message) error {
	for i, r := range m.Submission(time.Now()).Envelope.Recipients {
		if old := m.Recipients[i]; old.Channel != sqmail.ChannelLocal || old.Status != qmailspool.Pending {
			continue
		}
		routing, err := o.router.Route(ctx, &sqmail.Envelope{}, r.Path)
		if err == nil && routing.Route.Channel != sqmail.ChannelLocal {
			err = errors.New("this home does not deliver that domain: add it to control/locals or control/virtualdomains, and import again")
		}
		if err != nil {
			return &qmailspool.EntryError{ID: m.ID, File: fmt.Sprint("qmail message ", m.ID), Err: fmt.Errorf("local recipient %s: %w", r.Path, err)}
		}
	}
	return nil
}

// items yields them for an import.
func (o *oldQueue) items(ctx context.Context) iter.Seq2[*transfer.Item, error] {
	return func(yield func(*transfer.Item, error) bool) {
		for m, err := range o.messages(ctx) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			item, body, err := itemOf(m)
			more := yield(item, err)
			if body != nil {
				body.Close()
			}
			if !more {
				return
			}
		}
	}
}

func itemOf(m *qmailspool.Message) (*transfer.Item, io.Closer, error) {
	identity, err := m.Identity()
	if err != nil {
		return nil, nil, err
	}
	body, err := m.Open()
	if err != nil {
		return nil, nil, err
	}
	return &transfer.Item{
		Name:       fmt.Sprint("qmail message ", m.ID),
		Key:        transfer.KeyOf(identity),
		Submission: m.Submission(time.Now()),
		Content:    body,
	}, body, nil
}

// list says what would be imported.
func (o *oldQueue) list(ctx context.Context, std stdio) error {
	n, bad := 0, 0
	for m, err := range o.messages(ctx) {
		if err != nil {
			bad++
			fmt.Fprintf(std.err, "sqmaild queue import-qmail: %s\n", printable(err.Error()))
			continue
		}
		n++
		fmt.Fprintf(std.out, "%s  #%d  %d  <%s>\n", m.Born.UTC().Format("2 Jan 2006 15:04:05 GMT"), m.ID, m.Size, printable(m.Sender))
		for _, r := range m.Recipients {
			status := []string{"pending", "delivered", "failed"}[r.Status]
			fmt.Fprintf(std.out, "\t%-9s  %-6s  %s\n", status, r.Channel, printable(r.Address))
		}
	}
	fmt.Fprintf(std.out, "%d messages to import", n)
	if bad > 0 {
		fmt.Fprintf(std.out, ", %d that cannot be", bad)
	}
	fmt.Fprintln(std.out)
	if bad > 0 {
		return permanentError{errors.New("not all messages can be imported")}
	}
	return ctx.Err()
}

// oldRewriting returns how the old installation has rewritten recipients: as
// its control files say, or else those of this home.
func oldRewriting(controlDir, queueDir string, config *control.Config) (r qmailspool.Rewriting, err error) {
	wanted := controlDir != ""
	if !wanted {
		controlDir = filepath.Join(filepath.Dir(filepath.Clean(queueDir)), "control")
	}
	locals, err := controlLines(controlDir, "locals")
	if errors.Is(err, fs.ErrNotExist) {
		locals, err = controlLines(controlDir, "me")
	}
	if errors.Is(err, fs.ErrNotExist) && !wanted {
		return ownRewriting(config), nil
	}
	if err != nil {
		return r, permanentError{err}
	}
	virtual, err := controlLines(controlDir, "virtualdomains")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, permanentError{err}
	}
	r = qmailspool.Rewriting{Locals: locals, VirtualDomains: map[string]string{}}
	for _, line := range virtual {
		if key, prefix, found := strings.Cut(line, ":"); found {
			r.VirtualDomains[strings.ToLower(key)] = prefix // of equal keys the last one counts
		}
	}
	return r, nil
}

func ownRewriting(config *control.Config) qmailspool.Rewriting {
	r := qmailspool.Rewriting{Locals: control.Keys(config.Locals), VirtualDomains: map[string]string{}}
	for _, e := range config.VirtualDomains {
		r.VirtualDomains[e.Key] = e.Value
	}
	return r
}

// controlLines reads a list as qmail does.
func controlLines(dir, name string) (lines []string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		if s := strings.TrimRight(string(line), " \t\r\n"); s != "" && s[0] != '#' {
			lines = append(lines, s)
		}
	}
	return lines, nil
}
