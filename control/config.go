package control

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/filter"
)

// Config is a home that was read and checked as a whole. It does not change,
// and may be used concurrently; what its fields hold belongs to it.
type Config struct {
	// Home is the home directory.
	Home string

	// Me is the name of this host (control/me).
	Me string

	// SMTPGreeting is the host name and the text of the greeting
	// (control/smtpgreeting, me); see Greeting. HeloHost is the name that we
	// give when we are the client (control/helohost, me).
	SMTPGreeting, HeloHost string

	// LocalIPHost is the domain that stands for our own addresses in address
	// literals (control/localiphost, me).
	LocalIPHost string

	// EnvNoAtHost completes addresses without a domain (control/envnoathost,
	// me). "": they are refused.
	EnvNoAtHost string

	// BounceFrom is the local part and BounceHost the domain of our own bounces
	// (control/bouncefrom, MAILER-DAEMON; control/bouncehost, me).
	BounceFrom, BounceHost string

	// DoubleBounceTo and DoubleBounceHost are who gets double bounces
	// (control/doublebounceto, postmaster; control/doublebouncehost, me). A
	// DoubleBounceTo of "" discards them.
	DoubleBounceTo, DoubleBounceHost string

	// BounceMaxBytes is how much of a message a bounce holds, in octets. 0: all
	// of it (control/bouncemaxbytes).
	BounceMaxBytes int64

	// DefaultDelivery is what is done with mail that no .qmail file tells about
	// (control/defaultdelivery, ./Maildir/).
	DefaultDelivery string

	// Locals are the domains whose mail is delivered here (control/locals, me).
	Locals []Entry

	// VirtualDomains maps addresses and domains to who controls them
	// (control/virtualdomains).
	VirtualDomains []Entry

	// PercentHack are the domains for which user%host@domain means user@host
	// (control/percenthack).
	PercentHack []Entry

	// RcptHosts are the domains that mail from strangers is taken for
	// (control/rcpthosts), MoreRcptHosts further ones (control/morercpthosts).
	// Without a file rcpthosts they are the Locals and the domains of
	// VirtualDomains, and there are no further ones. Where there is a
	// morercpthosts.cdb without its text its domains are not in MoreRcptHosts,
	// but Accepts and RcptFilter know them.
	RcptHosts, MoreRcptHosts []Entry

	// BadMailFrom and BadRcptTo are addresses that mail is refused from, and
	// for (control/badmailfrom, control/badrcptto), BadHello hello names
	// (control/badhelo), all unparsed.
	BadMailFrom, BadRcptTo, BadHello []Entry

	// BadMIMETypes and BadLoaderTypes are what base64 parts may not begin with,
	// and not hold (control/badmimetypes, control/badloadertypes). Nil: there
	// is no such file.
	BadMIMETypes, BadLoaderTypes filter.Database

	// SMTPRoutes, QMTPRoutes and AuthSenders say where remote mail goes
	// (control/smtproutes, qmtproutes, authsenders). They hold passwords.
	SMTPRoutes, QMTPRoutes, AuthSenders []Entry

	// QueueLifetime is how long a message is tried (control/queuelifetime, 7
	// days).
	QueueLifetime time.Duration

	// ConcurrencyLocal and ConcurrencyRemote are how many deliveries may run at
	// a time (control/concurrencylocal, 10; control/concurrencyremote, 20). 0
	// stops them.
	ConcurrencyLocal, ConcurrencyRemote int

	// DataBytes is the greatest message in octets, 0 for any
	// (control/databytes). A Profile has what holds for a client.
	DataBytes int64

	// TimeoutSMTPD is how long our server waits for a client, TimeoutConnect
	// and TimeoutRemote how long our client waits for a connection, and on one
	// (control/timeoutsmtpd, 1200 s; timeoutconnect, 60 s; timeoutremote, 1200
	// s).
	TimeoutSMTPD, TimeoutConnect, TimeoutRemote time.Duration

	// Services are the listeners (control/services).
	Services []*Service

	// Users is who has mail here (users/accounts, users/assign, alias).
	Users *Users

	// Problems are the warnings: what is doubtful but can be used.
	Problems []Problem

	verifier *verifier
	routes   delivery.Routes
	locals   map[string]bool // in lower case
	rcptList *filter.List
	moreRcpt *database // nil: there is no cdb, or its text counts

	databases []*database // all that are open

	dnsLists             map[string][]filter.DNSList // by the name of their file
	mimeNames, mimeTypes *filter.Patterns

	badHello      *filter.BadHello
	badMailFrom   *filter.BadMailFrom
	badRcptTo     *filter.BadRcptTo
	recipients    []filter.RecipientRule // nil: all exist
	mailFromRules filter.Database        // nil: there are none
}

// Load reads a home, and checks it as a whole. The error is an [*Error] that
// holds everything that is wrong with it: a Config either is complete, or is
// not used. Nothing that is there and cannot be read is ever taken for its
// default.
//
// Databases (.cdb) are found whole, and stay open until Close.
func Load(home string) (*Config, error) {
	home, err := filepath.Abs(home)
	if err != nil {
		return nil, err
	}
	return LoadFS(os.DirFS(home), home)
}

// LoadFS is Load for a home in a file system of any kind. home is its absolute
// path as far as it has one: for Users, and for certificates that are not given
// by names below the home.
func LoadFS(fsys fs.FS, home string) (*Config, error) {
	s := newSource(fsys)
	c := s.config(home)
	if err := failure(s.problems); err != nil {
		s.close()
		return nil, err
	}
	c.Problems = s.problems
	return c, nil
}

// The limits of numbers.
const maxConcurrency = 100_000

// config reads everything. The Config is to be used only if there are no fatal
// problems then.
func (s *source) config(home string) *Config {
	c := &Config{Home: home}
	s.names(c)
	s.lists(c)
	s.numbers(c)
	s.routes(c)
	c.Services = s.services(c)
	c.Users = s.users(c)
	c.verifier = s.verifier(c)
	for _, d := range s.open {
		c.databases = append(c.databases, d)
	}
	return c
}

// names reads what has one line.
func (s *source) names(c *Config) {
	c.Me = s.host("me", "")
	c.SMTPGreeting = s.greeting(c.Me)
	c.HeloHost = s.host("helohost", c.Me)
	if s.missing("control/me") {
		if s.origin["smtpgreeting"] == "" || s.origin["helohost"] == "" {
			s.fatal("control/me", 0, "does not exist: write the full name of this host into it")
		} else {
			s.warn("control/me", 0, "does not exist: names that it stands in for are guessed")
		}
	}
	me := func(name string) string { // the original's last resort is a name that shows what is missing
		if c.Me == "" {
			return name
		}
		return c.Me
	}
	c.LocalIPHost = s.host("localiphost", c.Me)
	c.EnvNoAtHost = s.line("envnoathost", me("envnoathost"))
	if s.origin["envnoathost"] != "" && c.EnvNoAtHost != "" && !validHost(c.EnvNoAtHost) {
		s.fatal("control/envnoathost", 1, "%.80q is no host name", c.EnvNoAtHost)
	}
	c.BounceFrom = s.localPart("bouncefrom", "MAILER-DAEMON")
	c.BounceHost = s.host("bouncehost", me("bouncehost"))
	c.DoubleBounceTo = s.line("doublebounceto", "postmaster")
	c.DoubleBounceHost = s.host("doublebouncehost", me("doublebouncehost"))
	c.DefaultDelivery = s.line("defaultdelivery", "./Maildir/")
	if c.DefaultDelivery == "" {
		s.fatal("control/defaultdelivery", 1, "is empty: mail would be delivered nowhere")
	}
}

// greeting reads the greeting, whose first word is the name of the host.
func (s *source) greeting(me string) string {
	greeting := s.line("smtpgreeting", me)
	if s.origin["smtpgreeting"] == "" {
		return greeting
	}
	host, _ := cutWord(greeting)
	switch {
	case !validHost(host):
		s.fatal("control/smtpgreeting", 1, "its first word, %.80q, is no host name", host)
	case len(greeting) > 400 || !printable(greeting):
		s.fatal("control/smtpgreeting", 1, "is longer than 400 octets, or not printable ASCII")
	}
	return greeting
}

func (s *source) localPart(name, def string) string {
	value := s.line(name, def)
	if value == "" || len(value) > 64 || !printable(value) {
		s.fatal("control/"+name, 1, "%.80q is no local part", value)
	}
	return value
}

// lists reads the lists of domains and addresses.
func (s *source) lists(c *Config) {
	var found bool
	if c.Locals, found = s.list("locals"); !found && c.Me != "" {
		c.Locals = []Entry{{Key: c.Me, File: "control/me", Line: 1}}
	}
	s.checkDomains(c.Locals, false)
	c.locals = map[string]bool{}
	for _, e := range c.Locals {
		c.locals[lower(e.Key)] = true
	}
	c.VirtualDomains = s.table("virtualdomains")
	c.PercentHack, _ = s.list("percenthack")
	s.checkDomains(c.PercentHack, false)
	s.rcptHosts(c)
	c.BadMailFrom, _ = s.list("badmailfrom")
	c.BadRcptTo, _ = s.list("badrcptto")
	s.filterFiles(c)
}

// checkDomains warns of entries that can match nothing.
func (s *source) checkDomains(entries []Entry, suffixes bool) {
	for _, e := range entries {
		name := e.Key
		if suffixes && len(name) > 1 && name[0] == '.' {
			name = name[1:]
		}
		if !plausibleDomain(name) {
			s.warn(e.File, e.Line, "%.80q is no domain, and matches nothing", e.Key)
		}
	}
}

// plausibleDomain takes names, U-labels included, and address literals.
func plausibleDomain(name string) bool {
	if name == "" || len(name) > 255 || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == 0x7f || c == '@' || c == '*' || c == '?' || c == ',' || c == ';' {
			return false
		}
	}
	return true
}

// numbers reads sizes, times and concurrencies.
func (s *source) numbers(c *Config) {
	c.DataBytes = s.number("databytes", 0)
	c.BounceMaxBytes = s.number("bouncemaxbytes", 0)
	c.QueueLifetime = s.seconds("queuelifetime", 604800)
	c.TimeoutSMTPD = max(s.seconds("timeoutsmtpd", 1200), time.Second)
	c.TimeoutConnect = max(s.seconds("timeoutconnect", 60), time.Second)
	c.TimeoutRemote = max(s.seconds("timeoutremote", 1200), time.Second)
	c.ConcurrencyLocal = s.concurrency("concurrencylocal", 10)
	c.ConcurrencyRemote = s.concurrency("concurrencyremote", 20)
	if c.ConcurrencyLocal == 0 || c.ConcurrencyRemote == 0 {
		s.warn("control", 0, "a concurrency of 0 stops deliveries")
	}
}

func (s *source) seconds(name string, def int64) time.Duration {
	return time.Duration(s.number(name, def)) * time.Second
}

func (s *source) concurrency(name string, def int64) int {
	n := s.number(name, def)
	if n > maxConcurrency {
		s.fatal("control/"+name, 1, "%d is more than %d", n, maxConcurrency)
	}
	return int(n)
}
