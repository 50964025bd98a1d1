package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/filter"
)

// exitDifferences is the exit code of a replay that has found differences.
const exitDifferences = 1

// replay decides transactions again.
type replay struct {
	home, log, service string
	asJSON             bool

	config  *control.Config
	filters *control.Filters
	chains  map[chainKey]*filter.Chain
	summary replaySummary
}

// chainKey is what chains of different profiles differ by.
type chainKey struct {
	settings *control.Settings
	rule     *control.Rule
	allow    bool
}

// replaySummary counts.
type replaySummary struct {
	Transactions int64 `json:"transactions"`
	Differences  int64 `json:"differences"`   // transactions of which a client would hear something else
	Refused      int64 `json:"nowRefused"`    // of these: a recipient or the message was taken and is refused now
	Accepted     int64 `json:"nowAccepted"`   // the other way
	Moved        int64 `json:"otherRule"`     // the same refusal by another rule
	Unknown      int64 `json:"notRecorded"`   // transactions with a question to which there is no answer
	NoService    int64 `json:"noService"`     // the service is not in this home
	Foreign      int64 `json:"foreignLines"`  // other lines
	Damaged      int64 `json:"damagedEvents"` // transactions that cannot be read
}

func replayCommand(ctx context.Context, std stdio, r *replay, more bool) error {
	if more {
		return usageError{errors.New("-replay goes with -home, -service and -json alone")}
	}
	home, err := absolute(r.home)
	if err != nil {
		return err
	}
	if r.config, err = control.Load(home); err != nil {
		return err
	}
	log, err := openInput(std, r.log)
	if err != nil {
		return permanentError{err}
	}
	defer log.Close()
	r.filters = r.config.Filters(control.Parts{Resolver: noNetwork{}, IsOwn: remote.OwnAddrs(), Greylist: noNetwork{}, TempDir: tempDir(home)})
	defer r.filters.Close()
	r.chains = map[chainKey]*filter.Chain{}
	if err := r.run(ctx, std.out, filter.NewLogReader(log)); err != nil {
		return err
	}
	if r.summary.Transactions == 0 {
		return permanentError{fmt.Errorf("%s: no transaction in it; is it sqmaild's log, at level INFO?", r.log)}
	}
	if r.summary.Differences > 0 {
		return exitStatus(exitDifferences)
	}
	return nil
}

// run reads the log to its end.
func (r *replay) run(ctx context.Context, out io.Writer, log *filter.LogReader) error {
	for ctx.Err() == nil {
		t, err := log.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := r.transaction(ctx, out, t); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.summary.Foreign, r.summary.Damaged = log.Foreign, log.Damaged
	return r.finish(out)
}

func (r *replay) transaction(ctx context.Context, out io.Writer, t *sqmail.Trace) error {
	r.summary.Transactions++
	svc := r.serviceOf(t)
	if svc == nil {
		r.summary.NoService++
		return nil
	}
	p := svc.For(control.Client{Addr: t.Remote.Addr(), Host: t.Name})
	done, err := r.chain(p).Replay(ctx, t, limitsOf(p))
	if err != nil {
		return err
	}
	r.count(done)
	if len(done.Changes) == 0 {
		return nil
	}
	return r.print(out, t, done)
}

// serviceOf returns the service that a transaction came to.
func (r *replay) serviceOf(t *sqmail.Trace) *control.Service {
	name := t.Listener
	if r.service != "" {
		name = r.service
	}
	i := slices.IndexFunc(r.config.Services, func(s *control.Service) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return r.config.Services[i]
}

// chain returns the policy for a profile.
func (r *replay) chain(p *control.Profile) *filter.Chain {
	key := chainKey{p.Settings, p.Rule, p.Allow}
	if r.chains[key] == nil {
		r.chains[key] = explainedChain(r.filters, p)
	}
	return r.chains[key]
}

func (r *replay) count(done *filter.Replayed) {
	s := &r.summary
	add := func(n *int64, yes bool) {
		if yes {
			*n++
		}
	}
	add(&s.Differences, len(done.Changes) > 0)
	add(&s.Refused, slices.ContainsFunc(done.Changes, func(c filter.Change) bool { return !c.Old.Refused() && c.New.Refused() }))
	add(&s.Accepted, slices.ContainsFunc(done.Changes, func(c filter.Change) bool { return c.Old.Refused() && !c.New.Refused() }))
	add(&s.Moved, len(done.Changes) == 0 && len(done.Moved) > 0)
	add(&s.Unknown, len(done.Unknown) > 0)
}

// print tells of a transaction that has changed.
func (r *replay) print(out io.Writer, t *sqmail.Trace, done *filter.Replayed) error {
	if r.asJSON {
		return json.NewEncoder(out).Encode(struct {
			Session string          `json:"session"`
			Time    time.Time       `json:"time"`
			Remote  netip.AddrPort  `json:"remote"`
			ID      string          `json:"id,omitempty"`
			Changes []filter.Change `json:"changes"`
			Unknown []string        `json:"notRecorded,omitempty"`
			WhatWas sqmail.Ending   `json:"outcome"`
		}{t.Session, t.Time, t.Remote, t.ID, done.Changes, done.Unknown, t.Outcome})
	}
	line := fmt.Sprintf("%s session %s, client %s, %s", t.Time.UTC().Format(time.RFC3339), t.Session, t.Remote.Addr(), t.Outcome)
	if t.ID != "" {
		line += ", message " + t.ID
	}
	fmt.Fprintln(out, printable(line))
	for _, c := range done.Changes {
		fmt.Fprintln(out, printable("    "+c.New.Stage+" "+c.New.Input))
		fmt.Fprintln(out, printable("        was "+decision(&c.Old)))
		fmt.Fprintln(out, printable("        now "+decision(&c.New)))
	}
	for _, question := range done.Unknown {
		fmt.Fprintln(out, printable("    not recorded: "+question))
	}
	return nil
}

// decision puts a step into a line.
func decision(s *sqmail.Step) string {
	line := s.Reply.String()
	v := s.Decided()
	if v.Filter == "" || !s.Refused() && v.Rule == "" {
		return line
	}
	v.Took = 0
	return line + "; " + describe(v)
}

// finish prints the summary.
func (r *replay) finish(out io.Writer) error {
	s := r.summary
	if r.asJSON {
		return json.NewEncoder(out).Encode(map[string]replaySummary{"summary": s})
	}
	fmt.Fprintf(out, "%d transactions: %d differ (%d would be refused, %d accepted), %d refused by another rule\n",
		s.Transactions, s.Differences, s.Refused, s.Accepted, s.Moved)
	fmt.Fprintf(out, "%d with answers that are not recorded, %d of services that are not here; %d other lines, %d damaged\n",
		s.Unknown, s.NoService, s.Foreign, s.Damaged)
	return nil
}

// noNetwork is who would be asked, where answers are those of the record. It is
// never asked.
type noNetwork struct{}

// LookupMX and its like fail.
func (noNetwork) LookupMX(context.Context, string) ([]*net.MX, error) {
	return nil, filter.ErrNotRecorded
}

// LookupNetIP fails.
func (noNetwork) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, filter.ErrNotRecorded
}

// LookupTXT fails.
func (noNetwork) LookupTXT(context.Context, string) ([]string, error) {
	return nil, filter.ErrNotRecorded
}

// Update fails.
func (noNetwork) Update(context.Context, string, func(filter.GreyRecord) filter.GreyRecord) error {
	return filter.ErrNotRecorded
}
