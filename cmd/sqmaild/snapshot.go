package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/pop3"
	"github.com/sqmail/sqmail/smtpd"
)

// snapshot is what a configuration makes of the parts. It does not change, but
// that settings of servers are made when the first client needs them: a rules
// file may have any number of rules.
type snapshot struct {
	holders
	config   *control.Config
	services map[string]*control.Service // by name
	router   *delivery.Router
	agents   delivery.Agents
	remote   *remote.Agent
	filters  *control.Filters
	smtp     sync.Map // of *smtpd.Server by *control.Settings
	pop3     sync.Map // of *pop3.Server, likewise
}

func newSnapshot(d *daemon, c *control.Config) *snapshot {
	s := &snapshot{
		config:   c,
		services: map[string]*control.Service{},
		router:   c.Router(),
		filters:  c.Filters(control.Parts{Resolver: d.dns, IsOwn: remote.OwnAddrs(), Greylist: d.grey, TempDir: scanDir(d.home), Log: d.log}),
	}
	c.Users.File.Log = d.log // nobody uses it yet
	s.remote = &remote.Agent{
		HelloName: c.HeloHost, Resolver: d.dns, ConnectTimeout: c.TimeoutConnect, Timeout: c.TimeoutRemote, Log: d.log,
	}
	s.agents = delivery.Agents{
		sqmail.ChannelRemote: s.remote,
		sqmail.ChannelLocal: &local.Agent{
			Users: c.Users, Alias: c.Users.Alias, Default: c.DefaultDelivery,
			Receiver: d.queue, Programs: d.programs, Log: d.log,
		},
	}
	for _, service := range c.Services {
		s.services[service.Name] = service
	}
	s.release = func() {
		err := s.let(context.Background())
		d.log.Debug("configuration let go", "home", d.home, "err", err)
	}
	return s
}

// profile returns what holds for a client of a service now. The service may
// have gone from the configuration: then there is none.
func (s *snapshot) profile(service string, peer *sqmail.Peer) *control.Profile {
	svc := s.services[service]
	if svc == nil {
		return nil
	}
	return svc.For(control.Client{Addr: peer.Remote.Addr(), Host: peer.Name})
}

// made returns the server of all profiles that have the same settings. The
// first who asks makes it.
func made[S any](servers *sync.Map, p *control.Profile, server func() S) S {
	if s, ok := servers.Load(p.Settings); ok {
		return s.(S)
	}
	s, _ := servers.LoadOrStore(p.Settings, server())
	return s.(S)
}

// modes of the parts that offer something.
var smtpModes = map[control.Mode]smtpd.Mode{control.Off: smtpd.Off, control.Offered: smtpd.Offered, control.Required: smtpd.Required}

// smtpServer makes the settings of an SMTP server for the clients of a profile.
func (s *snapshot) smtpServer(d *daemon, service *control.Service, p *control.Profile) *smtpd.Server {
	c := s.config
	host, greeting := c.Greeting()
	server := &smtpd.Server{
		HelloName:       host,
		Greeting:        greeting,
		Receiver:        s.filters.Receiver(p, d.queue),
		Policy:          heldChain{newChain(s.filters, p, d.log), s},
		TLSConfig:       service.TLS,
		StartTLS:        smtpModes[p.STARTTLS],
		Verifier:        c.Verifier(),
		Authentication:  smtpModes[p.Auth],
		Mechanisms:      p.Mechanisms,
		CleartextAuth:   p.CleartextAuth,
		MaxMessageBytes: unlimited(p.DataBytes),
		TooBigText:      p.Texts["MAXSIZE"],
		MaxRecipients:   p.MaxRecipients,
		MaxTransactions: p.MaxTransactions,
		XCLIENTFrom:     p.XCLIENTFrom,
		Hide:            hidden(p),
		IdleTimeout:     c.TimeoutSMTPD,
		GreetDelay:      greetDelay(p),
		LMTP:            service.Protocol == "lmtp",
	}
	if p.CertRelay || p.CertUser {
		server.Certificate = func(state *tls.ConnectionState) string { user, _ := service.VerifyClient(state); return user }
	}
	return server
}

// hidden are the extensions that a profile does not offer.
func hidden(p *control.Profile) []string {
	if p.UTF8 {
		return nil
	}
	return []string{"SMTPUTF8"}
}

// greetDelay holds the greeting back from strangers alone.
func greetDelay(p *control.Profile) time.Duration {
	if p.RelayClient {
		return 0
	}
	return p.GreetDelay
}

// unlimited turns control's "0 is no limit" into that of the servers.
func unlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// newChain makes the policy for the clients of a profile.
func newChain(filters *control.Filters, p *control.Profile, log *slog.Logger) *filter.Chain {
	return &filter.Chain{
		Filters: filters.For(p),
		NewSession: func(_ context.Context, session *filter.Session) error {
			session.Relayed, session.CertRelayed, session.Vars = p.RelayClient, p.CertRelay, p.Vars
			return nil
		},
		Log: log,
	}
}

var pop3Modes = map[control.Mode]pop3.Mode{control.Off: pop3.Off, control.Offered: pop3.Offered, control.Required: pop3.Required}

// pop3Server makes the settings of a POP3 server for the clients of a profile.
func (s *snapshot) pop3Server(d *daemon, service *control.Service, p *control.Profile) *pop3.Server {
	return &pop3.Server{
		HostName: s.config.Me, Verifier: heldVerifier{d, s},
		TLSConfig: service.TLS, STLS: pop3Modes[p.STARTTLS],
		APOP: p.APOP, NoPassword: !p.UserPass, CleartextAuth: p.CleartextAuth,
	}
}

// smtpForPeer is smtpd's question for the settings of one client. The session
// holds the snapshot that they belong to.
func (d *daemon) smtpForPeer(service string) func(context.Context, *sqmail.Peer) (*smtpd.Server, error) {
	return func(ctx context.Context, peer *sqmail.Peer) (*smtpd.Server, error) {
		now, p, err := d.admit(ctx, service, peer)
		if err != nil {
			return nil, err
		}
		return made(&now.smtp, p, func() *smtpd.Server { return now.smtpServer(d, now.services[service], p) }), nil
	}
}

// pop3ForPeer is pop3's.
func (d *daemon) pop3ForPeer(service string) func(context.Context, *sqmail.Peer) (*pop3.Server, error) {
	return func(ctx context.Context, peer *sqmail.Peer) (*pop3.Server, error) {
		now, p, err := d.admit(ctx, service, peer)
		if err != nil {
			return nil, err
		}
		defer now.done()
		return made(&now.pop3, p, func() *pop3.Server { return now.pop3Server(d, now.services[service], p) }), nil
	}
}

// admit finds out who a client is, and what holds for it: the one behind a
// proxy, if a trusted one has told of it. The snapshot is held. A name that
// XCLIENT has told stays.
func (d *daemon) admit(ctx context.Context, service string, peer *sqmail.Peer) (*snapshot, *control.Profile, error) {
	if peer.Name == "" {
		peer.Name = d.reverseName(ctx, peer.Remote.Addr())
	}
	now := d.current()
	p, err := now.admit(service, peer)
	if err != nil {
		now.done()
		return nil, nil, err
	}
	return now, p, nil
}

// errServiceGone turns away, for now, who came to a listener that is about to
// be closed.
var errServiceGone = errors.New("the service has gone from the configuration")

// admit finds out what holds for a client, and tells its story by which rule.
func (s *snapshot) admit(service string, peer *sqmail.Peer) (*control.Profile, error) {
	p := s.profile(service, peer)
	if p == nil {
		return nil, errServiceGone
	}
	if v := connectionRule(p).Verdict(peer); v.Rule != "" || v.Action != sqmail.ActionPass {
		peer.Trace.Add(v)
	}
	if !p.Allow {
		return nil, denied(p)
	}
	return p, nil
}

// connectionRule is the rule by which a profile was chosen.
func connectionRule(p *control.Profile) *filter.ConnectionRule {
	r := &filter.ConnectionRule{Deny: !p.Allow}
	if p.Rule != nil {
		r.Rule = filter.Rule{Text: p.Rule.Address, File: p.Rule.File, Line: p.Rule.Line}
	}
	return r
}

// denied is the refusal of a client that a rule shuts out.
func denied(p *control.Profile) error {
	v := connectionRule(p).Verdict(new(sqmail.Peer))
	err := &sqmail.Error{Op: v.Filter, Class: v.Reply.Class(), Close: true, Reply: v.Reply}
	if p.Rule != nil {
		err.Err = fmt.Errorf("%s:%d: the rule for %q", p.Rule.File, p.Rule.Line, p.Rule.Address)
	}
	return err
}

// lookupTime is how long a client waits for its reverse name at most.
const lookupTime = 5 * time.Second

// reverseName returns the name of an address if that name has the address;
// "" if it has none, or the DNS does not tell in time.
func (d *daemon) reverseName(ctx context.Context, addr netip.Addr) string {
	switch {
	case !addr.IsValid(): // a proxy does not tell for whom it speaks
		return ""
	case addr.Unmap().IsLoopback():
		return "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	names, err := d.dns.LookupAddr(ctx, addr.String())
	if err != nil {
		return ""
	}
	for _, name := range names[:min(len(names), 3)] {
		addrs, err := d.dns.LookupNetIP(ctx, "ip", name)
		for _, a := range addrs {
			if err == nil && a.Unmap() == addr.Unmap() {
				return strings.ToLower(strings.TrimSuffix(name, "."))
			}
		}
	}
	return ""
}
