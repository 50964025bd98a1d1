package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/queueadmin"
)

var queueCommands = []command{
	{
		name: "queue list", args: "-home DIR [-json] [-to TEXT] [-from TEXT]",
		short: "list the messages in the queue",
		long:  "With -json a message is one line with one JSON object.",
		run:   queueList,
	},
	{
		name: "queue show", args: "-home DIR [-json] ID",
		short: "show a message's envelope, its attempts and why it was accepted",
		run:   queueShow,
	},
	{
		name: "queue cat", args: "-home DIR ID",
		short: "print a message",
		run:   queueCat,
	},
	{
		name: "queue retry", args: "-home DIR ID… | -all | -to TEXT | -from TEXT",
		short: "attempt messages at once",
		run: change(func(ctx context.Context, q queueadmin.Admin, id queue.ID) error {
			return q.Retry(ctx, id, time.Time{})
		}),
	},
	{
		name: "queue hold", args: "-home DIR ID… | -all | -to TEXT | -from TEXT",
		short: "keep messages from being attempted, and from growing too old",
		run:   change(func(ctx context.Context, q queueadmin.Admin, id queue.ID) error { return q.Hold(ctx, id) }),
	},
	{
		name: "queue release", args: "-home DIR ID… | -all | -to TEXT | -from TEXT",
		short: "undo hold",
		run:   change(func(ctx context.Context, q queueadmin.Admin, id queue.ID) error { return q.Release(ctx, id) }),
	},
	{
		name: "queue remove", args: "-home DIR ID… | -all | -to TEXT | -from TEXT",
		short: "delete messages, without telling anybody",
		run:   change(func(ctx context.Context, q queueadmin.Admin, id queue.ID) error { return q.Remove(ctx, id) }),
	},
	{
		name: "queue stats", args: "-home DIR",
		short: "count the messages in the queue",
		run:   queueStats,
	},
}

// selection is which messages a command is about.
type selection struct {
	all      bool
	to, from string
}

func (s *selection) flags(fs *flag.FlagSet) {
	fs.StringVar(&s.to, "to", "", "only messages with a pending recipient whose address contains `TEXT`")
	fs.StringVar(&s.from, "from", "", "only messages whose reverse-path contains `TEXT`")
}

func (s *selection) empty() bool { return !s.all && s.to == "" && s.from == "" }

// matches reports whether a message is meant.
func (s *selection) matches(e *queue.Entry) bool {
	if !containsFold(e.Envelope.ReversePath.String(), s.from) {
		return false
	}
	if s.to == "" {
		return true
	}
	settled := states(e)
	for i, r := range e.Envelope.Recipients {
		if settled[i].Status == queue.Pending && containsFold(r.Path.String(), s.to) {
			return true
		}
	}
	return false
}

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// states returns the last attempt for each recipient; the zero Attempt for one
// that has had none.
func states(e *queue.Entry) []queue.Attempt {
	last := make([]queue.Attempt, len(e.Envelope.Recipients))
	for _, a := range e.Journal {
		if a.Recipient < len(last) {
			last[a.Recipient] = a
		}
	}
	return last
}

func queueList(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	var sel selection
	sel.flags(fs)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	q, _, err := withQueue(ctx, fs, args, 0, 0)
	if err != nil {
		return err
	}
	defer q.Close()
	out := bufio.NewWriter(std.out)
	var damaged error
	for e, err := range q.Scan(ctx) {
		switch {
		case err != nil:
			damaged = errors.New("not everything in the queue can be read")
			fmt.Fprintf(std.err, "sqmaild queue list: %v\n", err)
		case !sel.matches(e):
		case *asJSON:
			json.NewEncoder(out).Encode(e)
		default:
			printEntry(out, e)
		}
	}
	return errors.Join(out.Flush(), damaged)
}

// printEntry prints a message in the manner of qmail-qread.
func printEntry(w io.Writer, e *queue.Entry) {
	fmt.Fprintf(w, "%s  #%s  %d  <%s>  %s\n", e.Arrived.UTC().Format("2 Jan 2006 15:04:05 GMT"), e.ID, e.Size,
		printable(e.Envelope.ReversePath.String()), condition(e))
	for i, last := range states(e) {
		fmt.Fprintf(w, "\t%-9s  %s", last.Status, printable(e.Envelope.Recipients[i].Path.String()))
		if last.Number > 0 {
			fmt.Fprintf(w, "  (attempt %d: %s)", last.Number, printable(firstLine(last.Outcome.Text)))
		}
		fmt.Fprintln(w)
	}
}

// condition says what a message is waiting for.
func condition(e *queue.Entry) string {
	switch {
	case e.Held:
		return "held"
	case e.Leased:
		return "being delivered"
	case e.Parked != "":
		return "waiting for " + printable(e.Parked)
	}
	return "due " + e.Due.UTC().Format("2 Jan 15:04:05")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// printable replaces what could upset a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '_'
		}
		return r
	}, s)
}

func queueShow(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	asJSON := fs.Bool("json", false, "print one JSON object")
	q, ids, err := withQueue(ctx, fs, args, 1, 1)
	if err != nil {
		return err
	}
	defer q.Close()
	m, err := q.Open(ctx, ids[0])
	if err != nil {
		return err
	}
	defer m.Close()
	if *asJSON {
		return json.NewEncoder(std.out).Encode(m.Entry)
	}
	printEntry(std.out, m.Entry)
	for _, v := range m.Envelope.Verdicts {
		fmt.Fprintln(std.out, printable("verdict: "+v.Stage+" "+describe(v)))
	}
	for _, a := range m.Journal {
		to := "?"
		if a.Recipient < len(m.Envelope.Recipients) {
			to = m.Envelope.Recipients[a.Recipient].Path.String()
		}
		line := fmt.Sprintf("attempt %d: %s  %s  %s", a.Number, a.At.UTC().Format(time.RFC3339), to, a.Status)
		if a.Outcome.Where != "" { // there may be none: nobody was reached
			line += "  " + a.Outcome.Where
		}
		fmt.Fprintln(std.out, printable(line+": "+strings.ReplaceAll(strings.TrimSpace(a.Outcome.Text), "\n", "/")))
	}
	return nil
}

func queueCat(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	q, ids, err := withQueue(ctx, fs, args, 1, 1)
	if err != nil {
		return err
	}
	defer q.Close()
	m, err := q.Open(ctx, ids[0])
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = io.Copy(std.out, bufio.NewReaderSize(io.NewSectionReader(m.Content, 0, m.Size), 1<<18))
	return err
}

func queueStats(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	q, _, err := withQueue(ctx, fs, args, 0, 0)
	if err != nil {
		return err
	}
	defer q.Close()
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", "  ")
	return enc.Encode(q.Stats())
}

// change makes a command of what is to be done to one message.
func change(act func(context.Context, queueadmin.Admin, queue.ID) error) func(context.Context, stdio, *flag.FlagSet, []string) error {
	return func(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
		var sel selection
		sel.flags(fs)
		fs.BoolVar(&sel.all, "all", false, "all messages")
		q, ids, err := withQueue(ctx, fs, args, 0, 1<<20)
		if err != nil {
			return err
		}
		defer q.Close()
		if len(ids) == 0 == sel.empty() {
			return usageError{errors.New("name messages by their numbers, or choose them with a flag")}
		}
		if len(ids) == 0 {
			if ids, err = sel.pick(ctx, std, q); err != nil {
				return err
			}
		}
		done, missing := 0, []error(nil)
		for _, id := range ids {
			switch err := act(ctx, q, id); {
			case err == nil:
				done++
			case !errors.Is(err, queue.ErrNotFound):
				return errors.Join(append(missing, fmt.Errorf("message %s: %w", id, err))...)
			case sel.empty(): // else it has gone meanwhile
				missing = append(missing, fmt.Errorf("message %s: %w", id, err))
			}
		}
		fmt.Fprintln(std.out, count(done, "message"))
		return errors.Join(missing...)
	}
}

// pick returns the numbers of the messages that are selected. They are taken
// down before the first is touched: an action may change what a scan sees.
func (s *selection) pick(ctx context.Context, std stdio, q queueadmin.Admin) (ids []queue.ID, err error) {
	for e, err := range q.Scan(ctx) {
		if err != nil {
			fmt.Fprintf(std.err, "sqmaild: %v\n", err)
			continue
		}
		if s.matches(e) {
			ids = append(ids, e.ID)
		}
	}
	return ids, ctx.Err()
}
