package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/resolver"
)

var explainCommands = []command{
	{
		name: "explain", args: "-home DIR -ip ADDRESS [-helo NAME] [-host NAME] [-user NAME] -from PATH -to PATH… [-service NAME] [-json] [MESSAGE] | -replay LOG -home DIR [-service NAME] [-json]",
		short: "tell what would become of a message, and which rule decides",
		long: `The filters of the service are run as for a client, without sending anything
and without leaving a trace where they look; what they ask the DNS and scanners
they do ask. -to may be given several times. MESSAGE is a file with the
message, "-" for standard input.

With -replay the transactions in a log of sqmaild ("-": standard input) are
decided again by the rules of the home, and those are printed of which clients
would hear something else. Nobody is asked: answers of others are those of
then. It exits 0 if there is no difference, 1 if there is, else 100 or 111.`,
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
	var q question
	homeDir := homeFlag(fs)
	q.flags(fs)
	log := fs.String("replay", "", "decide the transactions in a `LOG` again")
	asJSON := fs.Bool("json", false, "print JSON: one object, with -replay one in each line")
	args, err := parse(fs, args, 0, 1)
	switch {
	case err != nil:
		return err
	case *log != "":
		return replayCommand(ctx, std, &replay{home: *homeDir, log: *log, service: q.service, asJSON: *asJSON}, len(args) > 0 || q.asked())
	}
	if err := q.check(); err != nil {
		return usageError{err}
	}
	if len(args) > 0 {
		message, err := openInput(std, args[0])
		if err != nil {
			return err
		}
		defer message.Close()
		q.message = message
	}
	e, err := q.answer(ctx, *homeDir)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(std.out).Encode(e)
	}
	e.print(std.out)
	return nil
}

// question is what explain is asked.
type question struct {
	ip, service string
	peer        sqmail.Peer
	cleartext   bool
	from, to    paths
	message     io.Reader
}

func (q *question) flags(fs *flag.FlagSet) {
	q.peer.Session = "explain"
	fs.StringVar(&q.ip, "ip", "127.0.0.1", "the client's `ADDRESS`")
	fs.StringVar(&q.peer.Hello, "helo", "", "the hello `NAME` that the client gives")
	fs.StringVar(&q.peer.Name, "host", "", "the client's reverse `NAME`; it is not looked up")
	fs.StringVar(&q.peer.User, "user", "", "the authenticated user's `NAME`")
	fs.BoolVar(&q.cleartext, "cleartext", false, "the client does not use TLS, even if the service demands it")
	fs.StringVar(&q.service, "service", "", "the `NAME` of the service in control/services (default the first that speaks SMTP; with -replay that of the transaction)")
	fs.Var(&q.from, "from", "the reverse-`PATH`")
	fs.Var(&q.to, "to", "a recipient's `PATH`")
}

// asked reports whether there is a client to ask about.
func (q *question) asked() bool { return len(q.from)+len(q.to) > 0 }

// check completes the client.
func (q *question) check() error {
	addr, err := netip.ParseAddr(q.ip)
	if err != nil {
		return fmt.Errorf("-ip %q is no IP address", q.ip)
	}
	if len(q.to) == 0 || len(q.from) != 1 {
		return errors.New("-from is needed once, and -to at least once")
	}
	if from := q.from[0]; from.Domain == "" && !from.IsNull() {
		return fmt.Errorf("-from %s has no domain: the server answers 501", from)
	}
	for _, to := range q.to {
		if to.Domain == "" && !strings.EqualFold(to.Local, "postmaster") {
			return fmt.Errorf("-to %s has no domain: the server answers 501", to)
		}
	}
	q.peer.Remote = netip.AddrPortFrom(addr.Unmap(), 0)
	return nil
}

// answer runs the filters of a home.
func (q *question) answer(ctx context.Context, home string) (*explanation, error) {
	config, svc, err := serviceOf(home, q.service)
	if err != nil {
		return nil, err
	}
	home = config.Home
	profile := svc.For(control.Client{Addr: q.peer.Remote.Addr(), Host: q.peer.Name})
	if limits := limitsOf(profile); !q.cleartext && (limits.NeedTLS || svc.ImplicitTLS()) {
		q.peer.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	}
	grey := lookAtGreylist(ctx, home)
	defer grey.Close()
	filters := config.Filters(control.Parts{Resolver: &resolver.Client{}, IsOwn: remote.OwnAddrs(), Greylist: grey, TempDir: tempDir(home)})
	defer filters.Close()
	e := &explanation{Service: svc.Name, Allowed: profile.Allow, Queue: profile.QueueProgram}
	if profile.Rule != nil {
		e.Rule = fmt.Sprintf("%s:%d", profile.Rule.File, profile.Rule.Line)
	}
	e.Steps, err = explainedChain(filters, profile).Explain(ctx, &filter.Facts{
		Peer: &q.peer, From: q.from[0], To: q.to, Message: q.message, Limits: limitsOf(profile),
	})
	if err != nil {
		return nil, err
	}
	for _, t := range q.to {
		e.Routes = append(e.Routes, planOf(config.Router(), q.from[0], t))
	}
	return e, nil
}

// explainedChain is the policy for the clients of a profile, with the rule by
// which the profile is theirs.
func explainedChain(filters *control.Filters, p *control.Profile) *filter.Chain {
	chain := newChain(filters, p, nil)
	chain.Filters = append([]filter.Filter{connectionRule(p)}, chain.Filters...)
	return chain
}

// limitsOf is what the server of a profile refuses by itself; see smtpServer.
func limitsOf(p *control.Profile) filter.Limits {
	return filter.Limits{
		MaxRecipients: cmp.Or(p.MaxRecipients, 1000), MaxBytes: p.DataBytes,
		NeedTLS: p.STARTTLS == control.Required, NeedAuth: p.Auth == control.Required,
	}
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
	Steps   []sqmail.Step `json:"steps"`
	Queue   string        `json:"queueProgram,omitempty"` // in place of the queue
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
		fmt.Fprintln(w, printable(strings.TrimSuffix(s.Stage+" "+s.Input, " ")+": "+s.Reply.String()))
		for _, v := range s.Verdicts {
			fmt.Fprintf(w, "    %s\n", printable(describe(v)))
		}
		if s.Cause != "" {
			fmt.Fprintf(w, "    because: %s\n", printable(s.Cause))
		}
	}
	if e.Queue != "" {
		fmt.Fprintf(w, "what is accepted would be handed to %s\n", printable(e.Queue))
	}
	for _, r := range e.Routes {
		r.print(w)
	}
}

// describe puts a verdict into a line.
func describe(v sqmail.Verdict) string {
	line := fmt.Sprintf("%s: %s", v.Filter, v.Action)
	if v.Action == sqmail.ActionDelay {
		line += " of " + v.Delay.String()
	}
	if v.Rule != "" {
		line += fmt.Sprintf(", rule %q", v.Rule)
	}
	if v.Input != "" {
		line += fmt.Sprintf(" on %q", v.Input)
	}
	switch {
	case v.Line > 0:
		line += fmt.Sprintf(" (%s:%d)", v.File, v.Line)
	case v.File != "":
		line += fmt.Sprintf(" (%s)", v.File)
	}
	if took := v.Took.Round(time.Microsecond); took > 0 {
		line += ", took " + took.String()
	}
	return line
}
