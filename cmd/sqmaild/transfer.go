package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/queueadmin"
	"github.com/sqmail/sqmail/queue/transfer"
)

var transferCommands = []command{
	{
		name: "queue verify", args: "-home DIR [-json]",
		short: "read every message in the queue and say what is damaged",
		long: `It reads envelopes, journals and messages with their checksums, on a running
home through the daemon. What was put aside as damaged earlier is damage too.
It exits 0 if there is none, else 100.`,
		run: queueVerify,
	},
	{
		name: "queue export", args: "-home DIR [-o FILE] [-hold] ID… | -all | -to TEXT | -from TEXT",
		short: "write messages, with all that is known of them, to a file",
		long: `The messages stay in the queue. Those that a running daemon goes on delivering
will be delivered twice if they are imported elsewhere: -hold holds them first.
The format is described in docs/operators.md; queue import reads it.`,
		run: queueExport,
	},
	{
		name: "queue import", args: "-home DIR [-again] [FILE]",
		short: "put the messages of an export into the queue, each of them once",
		long: `Without FILE, or with "-", it reads standard input. Messages go on where they
were: with their age, their attempts and their next attempt; what was held stays
held. What was imported before, from this file or another, is not imported
again, so that an import can be repeated after an error; -again forgets that.
It exits 100 if messages were refused, 111 if it broke off.`,
		run: queueImport,
	},
	importQmailCommand,
}

func queueVerify(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	asJSON := fs.Bool("json", false, "print one JSON object")
	q, _, err := withQueue(ctx, fs, args, 0, 0)
	if err != nil {
		return err
	}
	defer q.Close()
	report, err := verifyQueue(ctx, q)
	if err != nil {
		return err
	}
	if *asJSON {
		if err := json.NewEncoder(std.out).Encode(report); err != nil {
			return err
		}
	} else {
		for _, d := range report.Damaged {
			fmt.Fprintln(std.out, printable(d))
		}
		fmt.Fprintf(std.out, "%d messages, %d octets; %d damaged\n", report.Messages, report.Octets, len(report.Damaged))
	}
	if n := len(report.Damaged); n > 0 {
		return permanentError{fmt.Errorf("damage was found in %d places", n)}
	}
	return nil
}

// verification is what queue verify finds.
type verification struct {
	Messages int      `json:"messages"` // that are sound
	Octets   int64    `json:"octets"`
	Damaged  []string `json:"damaged"`
}

// maxDamaged bounds what is listed.
const maxDamaged = 10_000

func verifyQueue(ctx context.Context, q queueadmin.Admin) (*verification, error) {
	v := &verification{Damaged: []string{}}
	for e, err := range q.Scan(ctx) {
		if errors.Is(err, queueadmin.ErrLost) || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		var size int64
		if err == nil {
			size, err = verifyMessage(ctx, q, e.ID)
		}
		switch {
		case errors.Is(err, queue.ErrNotFound): // it has gone meanwhile
		case err == nil:
			v.Messages++
			v.Octets += size
		case len(v.Damaged) < maxDamaged:
			v.Damaged = append(v.Damaged, err.Error())
		}
	}
	return v, nil
}

// verifyMessage reads a message to its end.
func verifyMessage(ctx context.Context, q queueadmin.Admin, id queue.ID) (size int64, err error) {
	m, err := q.Open(ctx, id)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	n := len(m.Envelope.Recipients)
	if n == 0 {
		return 0, fmt.Errorf("message %v: there are no recipients", id)
	}
	for _, a := range m.Journal {
		if a.Recipient < 0 || a.Recipient >= n {
			return 0, fmt.Errorf("message %v: an attempt at recipient %d of %d", id, a.Recipient, n)
		}
	}
	read, err := io.Copy(io.Discard, io.NewSectionReader(m.Content, 0, m.Size))
	if err == nil && read != m.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		err = fmt.Errorf("message %v: %w", id, err)
	}
	return m.Size, err
}

func queueExport(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	var sel selection
	sel.flags(fs)
	fs.BoolVar(&sel.all, "all", false, "all messages")
	to := fs.String("o", "-", "the `FILE` to write, which must not exist; - is standard output")
	hold := fs.Bool("hold", false, "hold each message before it is written")
	q, ids, err := withQueue(ctx, fs, args, 0, 1<<20)
	if err != nil {
		return err
	}
	defer q.Close()
	if len(ids) == 0 == sel.empty() {
		return errChoose
	}
	x := &exporter{q: q, std: std, hold: *hold}
	chosen := func(yield func(queue.ID) bool) {
		for _, id := range ids {
			if !yield(id) {
				return
			}
		}
	}
	if len(ids) == 0 {
		chosen = x.matching(ctx, &sel)
	}
	out, err := createOutput(*to, std.out)
	if err != nil {
		return err
	}
	defer out.abort()
	x.w = transfer.NewWriter(out)
	if err := x.all(ctx, chosen); err != nil {
		return err
	}
	if err := errors.Join(x.w.Close(), out.commit()); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%d messages exported\n", x.done)
	if x.busy > 0 {
		fmt.Fprintf(std.err, "%d of them were being delivered: import them elsewhere only if they are still in this queue\n", x.busy)
	}
	return x.failed
}

var errChoose = usageError{errors.New("name messages by their numbers, or choose them with a flag")}

// exporter writes messages to a stream.
type exporter struct {
	q          queueadmin.Admin
	std        stdio
	w          *transfer.Writer
	hold       bool
	done, busy int
	failed     error // that some could not be written
}

func (x *exporter) matching(ctx context.Context, sel *selection) iter.Seq[queue.ID] {
	return func(yield func(queue.ID) bool) {
		for e, err := range x.q.Scan(ctx) {
			if err != nil {
				x.fail(err)
				continue
			}
			if (sel.all || sel.matches(e)) && !yield(e.ID) {
				return
			}
		}
	}
}

func (x *exporter) fail(err error) {
	fmt.Fprintf(x.std.err, "sqmaild queue export: %v\n", err)
	x.failed = permanentError{errors.New("not all messages could be exported")}
}

func (x *exporter) all(ctx context.Context, ids iter.Seq[queue.ID]) error {
	for id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.one(ctx, id); x.w.Err() != nil {
			return err
		} else if err != nil {
			x.fail(fmt.Errorf("message %v: %w", id, err))
		}
	}
	return ctx.Err()
}

func (x *exporter) one(ctx context.Context, id queue.ID) error {
	if x.hold {
		if err := x.q.Hold(ctx, id); err != nil {
			return err
		}
	}
	m, err := x.q.Open(ctx, id)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := x.w.Write(m.Entry, m.Content); err != nil {
		return err
	}
	x.done++
	if m.Leased {
		x.busy++
	}
	return nil
}

// output is a file that gets its name when it is whole, or standard output.
type output struct {
	io.Writer
	f    *os.File // nil: standard output
	name string
}

func createOutput(name string, stdout io.Writer) (*output, error) {
	if name == "-" {
		return &output{Writer: stdout}, nil
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, permanentError{fmt.Errorf("%s: %w", name, fs.ErrExist)}
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.part")
	if err != nil {
		return nil, err
	}
	return &output{f, f, name}, nil
}

// commit makes the file durable under its name.
func (o *output) commit() error {
	if o.f == nil {
		return nil
	}
	if err := errors.Join(o.f.Sync(), o.f.Close()); err != nil {
		return err
	}
	if err := os.Link(o.f.Name(), o.name); err != nil { // which replaces nothing
		return err
	}
	if err := os.Remove(o.f.Name()); err != nil {
		return err
	}
	o.f = nil
	dir, err := os.Open(filepath.Dir(o.name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (o *output) abort() {
	if o.f != nil {
		o.f.Close()
		os.Remove(o.f.Name())
	}
}

func queueImport(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	again := fs.Bool("again", false, "import also what was imported before")
	args, err := parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return err
	}
	in := std.in
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return permanentError{err}
		}
		defer f.Close()
		in = f
	}
	return importInto(ctx, std, home, *again, "queue import", transfer.Read(in))
}

// ledgerPath is where a home keeps in mind what was imported.
func ledgerPath(home string) string { return filepath.Join(home, "queue", "imported") }

// importInto imports messages into the queue of a home, running or not.
func importInto(ctx context.Context, std stdio, home string, again bool, command string, items iter.Seq2[*transfer.Item, error]) (err error) {
	q, err := openQueue(ctx, home)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(), giveQueueToOwner(home)) }()
	ledger, err := transfer.OpenLedger(ledgerPath(home))
	if err != nil {
		return err
	}
	defer ledger.Close()
	if again {
		items = renewed(items)
	}
	im := &transfer.Importer{Target: q, Ledger: ledger}
	im.Report = func(name string, what transfer.What, _ queue.ID, err error) {
		if what == transfer.Failed {
			fmt.Fprintf(std.err, "sqmaild %s: %s\n", command, failureOf(name, err))
		}
	}
	result, err := im.Import(ctx, items)
	fmt.Fprintf(std.out, "%d messages imported", result[transfer.Imported]+result[transfer.Resumed])
	if n := result[transfer.Known]; n > 0 {
		fmt.Fprintf(std.out, ", %d known from before", n)
	}
	if n := result[transfer.Failed]; n > 0 {
		fmt.Fprintf(std.out, ", %d not", n)
	}
	fmt.Fprintln(std.out)
	switch {
	case err != nil:
		return fmt.Errorf("%w; what was imported stays so, and the same command goes on from there", err)
	case result[transfer.Failed] > 0:
		return permanentError{errors.New("not all messages could be imported")}
	}
	return nil
}

func failureOf(name string, err error) string {
	if name == "" {
		return printable(err.Error())
	}
	return printable(fmt.Sprintf("%s: %v", name, err))
}

// renewed gives messages keys that they never had.
func renewed(items iter.Seq2[*transfer.Item, error]) iter.Seq2[*transfer.Item, error] {
	return func(yield func(*transfer.Item, error) bool) {
		run := transfer.KeyOf(rand.Text())
		for item, err := range items {
			if item != nil {
				item.Key = transfer.KeyOf(run.String() + item.Key.String())
			}
			if !yield(item, err) {
				return
			}
		}
	}
}
