package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery"
)

func routeCommand(_ context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	asJSON := fs.Bool("json", false, "print a JSON array")
	var from paths
	fs.Var(&from, "from", "the reverse-`PATH` (default the null path)")
	args, err := parse(fs, args, 1, 1<<20)
	if err != nil {
		return err
	}
	var to paths
	for _, arg := range args {
		if err := to.Set(arg); err != nil {
			return usageError{fmt.Errorf("%s: %w", arg, err)}
		}
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return err
	}
	config, err := control.Load(home)
	if err != nil {
		return err
	}
	var sender sqmail.Path
	if len(from) > 0 {
		sender = from[0]
	}
	var plans []plan
	for _, t := range to {
		plans = append(plans, planOf(config.Router(), sender, t))
	}
	if *asJSON {
		return json.NewEncoder(std.out).Encode(plans)
	}
	for _, p := range plans {
		p.print(std.out)
	}
	return nil
}

// plan is where one recipient's mail goes.
type plan struct {
	Recipient string         `json:"recipient"`
	Plan      *delivery.Plan `json:"plan,omitempty"`
	Error     string         `json:"error,omitempty"`
}

func planOf(r *delivery.Router, from, to sqmail.Path) plan {
	p, err := r.Explain(&sqmail.Envelope{ReversePath: from}, to)
	if err != nil {
		return plan{Recipient: to.String(), Error: err.Error()}
	}
	return plan{Recipient: to.String(), Plan: &p}
}

func (p *plan) print(w io.Writer) {
	if p.Error != "" {
		fmt.Fprintf(w, "route %s: %s\n", printable(p.Recipient), printable(p.Error))
		return
	}
	route := p.Plan.Route
	fmt.Fprintf(w, "route %s: %s, %s, to %s\n", printable(p.Recipient), route.Channel, printable(route.Destination), printable(p.Plan.Deliver.String()))
	for _, s := range p.Plan.Steps {
		fmt.Fprintf(w, "    %s: %q", s.Table, s.Key)
		if s.Value != "" {
			fmt.Fprintf(w, " is %q", s.Value)
		}
		if s.File != "" {
			fmt.Fprintf(w, " (%s:%d)", s.File, s.Line)
		}
		fmt.Fprintln(w)
	}
}
