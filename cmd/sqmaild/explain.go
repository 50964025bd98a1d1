package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/resolver"
)

var explainCommands = []command{
	{
		name: "explain", args: "-home DIR -ip ADDRESS [-helo NAME] [-host NAME] [-user NAME] -from PATH -to PATH… [-service NAME] [-json] [MESSAGE]",
		short: "tell what would become of a message, and which rule decides",
		long: `The filters of the service are run as for a client, without sending anything;
what they ask the DNS and other daemons they do ask. -to may be given several
times. MESSAGE is a file with the message, "-" for standard input.`,
		run: explainCommand,
	},
	{
		name: "route", args: "-home DIR [-from PATH] [-json] PATH…",
		short: "tell where mail for addresses would go, and which rule decides",
		run:   routeCommand,
	},
}

// paths is a flag that may be given several times.
type paths []sqmail.Path

func (p *paths) String() string { return fmt.Sprint([]sqmail.Path(*p)) }

func (p *paths) Set(s string) error {
	path, err := sqmail.ParsePath(strings.Trim(s, "<>"))
	if errors.Is(err, sqmail.ErrPathNoDomain) {
		path, err = sqmail.PathOf(s), nil
	}
	*p = append(*p, path)
	return err
}

func explainCommand(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := homeFlag(fs)
	ip := fs.String("ip", "127.0.0.1", "the client's `ADDRESS`")
	peer := &sqmail.Peer{Session: "explain"}
	fs.StringVar(&peer.Hello, "helo", "", "the hello `NAME` that the client gives")
	fs.StringVar(&peer.Name, "host", "", "the client's reverse `NAME`; it is not looked up")
	fs.StringVar(&peer.User, "user", "", "the authenticated user's `NAME`")
	service := fs.String("service", "", "the `NAME` of the service in control/services (default the first that speaks SMTP)")
	asJSON := fs.Bool("json", false, "print one JSON object")
	var from, to paths
	fs.Var(&from, "from", "the reverse-`PATH`")
	fs.Var(&to, "to", "a recipient's `PATH`")
	args, err := parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddr(*ip)
	if err != nil {
		return usageError{err}
	}
	if len(to) == 0 || len(from) != 1 {
		return usageError{errors.New("-from is needed once, and -to at least once")}
	}
	peer.Remote = netip.AddrPortFrom(addr, 0)
	config, svc, err := serviceOf(*homeDir, *service)
	if err != nil {
		return err
	}
	profile := svc.For(control.Client{Addr: addr, Host: peer.Name})
	facts := &filter.Facts{Peer: peer, From: from[0], To: to}
	if len(args) > 0 {
		message, err := openInput(std, args[0])
		if err != nil {
			return err
		}
		defer message.Close()
		facts.Message = message
	}
	e := explanation{Service: svc.Name, Allowed: profile.Allow}
	if profile.Rule != nil {
		e.Rule = fmt.Sprintf("%s:%d", profile.Rule.File, profile.Rule.Line)
	}
	if profile.Allow {
		filters := config.Filters(control.Parts{Resolver: &resolver.Client{}})
		defer filters.Close()
		chain := newChain(filters, profile, slog.New(slog.DiscardHandler))
		if e.Steps, err = chain.Explain(ctx, facts); err != nil {
			return err
		}
	}
	for _, t := range to {
		e.Routes = append(e.Routes, planOf(config.Router(), facts.From, t))
	}
	if *asJSON {
		return json.NewEncoder(std.out).Encode(e)
	}
	e.print(std.out)
	return nil
}

// serviceOf loads a home and returns one of its SMTP services.
func serviceOf(home, name string) (*control.Config, *control.Service, error) {
	home, err := absolute(home)
	if err != nil {
		return nil, nil, err
	}
	config, err := control.Load(home)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range config.Services {
		if s.Name == name || name == "" && strings.HasPrefix(s.Protocol, "s") {
			return config, s, nil
		}
	}
	return nil, nil, permanentError{fmt.Errorf("control/services has no SMTP service %q", name)}
}

func openInput(std stdio, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(std.in), nil
	}
	return os.Open(name)
}

// explanation is the answer of explain.
type explanation struct {
	Service string        `json:"service"`
	Allowed bool          `json:"allowed"`
	Rule    string        `json:"rule,omitempty"` // of the connection
	Steps   []filter.Step `json:"steps"`
	Routes  []plan        `json:"routes"`
}

func (e *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "service %s: ", e.Service)
	if e.Allowed {
		fmt.Fprint(w, "the client may connect")
	} else {
		fmt.Fprint(w, "the client is turned away")
	}
	if e.Rule != "" {
		fmt.Fprintf(w, ", by %s", e.Rule)
	}
	fmt.Fprintln(w)
	for _, s := range e.Steps {
		fmt.Fprintf(w, "%s %s: %s\n", s.Stage, printable(s.Input), printable(s.Reply.String()))
		for _, v := range s.Verdicts {
			fmt.Fprintf(w, "    %s\n", printable(describe(v)))
		}
	}
	for _, r := range e.Routes {
		r.print(w)
	}
}

// describe puts a verdict into a line.
func describe(v sqmail.Verdict) string {
	line := fmt.Sprintf("%s: %s", v.Filter, v.Action)
	if v.Rule != "" {
		line += fmt.Sprintf(", rule %q", v.Rule)
	}
	if v.Input != "" {
		line += fmt.Sprintf(" on %q", v.Input)
	}
	if v.File != "" {
		line += fmt.Sprintf(" (%s:%d)", v.File, v.Line)
	}
	return line
}

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
