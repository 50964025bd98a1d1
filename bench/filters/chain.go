package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
	"github.com/sqmail/sqmail/filter/greylist"
	"github.com/sqmail/sqmail/filter/mimefilter"
	"github.com/sqmail/sqmail/internal/cdb"
)

// lists are everything that the filters look things up in.
type lists struct {
	entries, records int
	dir              string

	badHello      *filter.BadHello
	badMailFrom   *filter.BadMailFrom
	badRcptTo     *filter.BadRcptTo
	rcptHosts     *filter.List
	more, users   *filter.CDB
	mailFromRules *filter.CDB
	mime, loader  filter.Keys
	names         *filter.Patterns
	rules         *control.Rules
	greylist      *greylist.Store
}

// newLists makes the lists in memory, and the databases and the greylist in a
// directory. It prints what each takes.
func newLists(dir string, entries, records int) (l *lists, err error) {
	l = &lists{entries: entries, records: records, dir: dir}
	fmt.Printf("%-34s %10s %12s\n", "lists", "made in", "memory")
	for _, step := range []struct {
		name string
		n    int
		make func() error
	}{
		{"badhelo, 30 % patterns", entries, func() error { l.badHello = filter.NewBadHello(rules(badHello(entries))); return nil }},
		{fmt.Sprintf("badmailfrom, %d %% patterns", patterns()), entries, func() error { l.badMailFrom = filter.NewBadMailFrom(rules(badMailFrom(entries)), ""); return nil }},
		{"badrcptto, 40 % patterns", entries, func() error { l.badRcptTo = filter.NewBadRcptTo(rules(badRcptTo(entries)), ""); return nil }},
		{"rcpthosts", entries, func() error { l.rcptHosts = filter.NewList(rules(domains(entries))); return nil }},
		{"rules by address", entries, l.makeRules},
		{"badmimetypes", entries, func() error { l.mime = filter.Keys{}; return keys(l.mime, signatures(entries, 9)) }},
		{"badloadertypes", entries, func() error { l.loader = filter.Keys{}; return keys(l.loader, signatures(entries, 5)) }},
		{"names of attachments, all patterns", entries, func() error { l.names = mimefilter.NewPatterns(rules(badNames(entries))); return nil }},
		{"mailfromrules.cdb", entries, func() error {
			return l.database(&l.mailFromRules, "mailfromrules", lines(mailFromRules(entries)), compile.MailFromRules)
		}},
		{"morercpthosts.cdb", records, func() error {
			return l.database(&l.more, "morercpthosts", lines(moreDomains(records)), compile.MoreRcptHosts)
		}},
		{"recipients.cdb", records, func() error { return l.database(&l.users, "recipients", lines(users(records)), compile.Recipients) }},
		{"greylist of known triplets", networks * pairs, l.makeGreylist},
	} {
		before, start := meter.Heap(), time.Now()
		if err := step.make(); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		took := time.Since(start)
		fmt.Printf("  %-32s %8.0f ms %8.1f MiB  %d\n", step.name, ms(took), float64(meter.Heap()-before)/(1<<20), step.n)
	}
	return l, nil
}

func (l *lists) close() {
	l.greylist.Close()
	for _, db := range []*filter.CDB{l.more, l.users, l.mailFromRules} {
		db.Close()
	}
}

func keys(to filter.Keys, entries func(func(string) bool)) error {
	for text := range entries {
		to[text] = nil
	}
	return nil
}

func (l *lists) makeRules() error {
	var problems []control.Problem
	l.rules, problems = control.ParseRules("control/rules", []byte(lines(addresses(l.entries))))
	for _, p := range problems {
		if p.Fatal {
			return fmt.Errorf("line %d: %s", p.Line, p.Text)
		}
	}
	return nil
}

// database makes a cdb of a text.
func (l *lists) database(to **filter.CDB, name, text string, read func(text io.Reader, put func(key, value []byte) error) error) error {
	path := filepath.Join(l.dir, name+".cdb")
	*to = &filter.CDB{Path: path}
	return cdb.Create(path, func(w *cdb.Writer) error { return read(strings.NewReader(text), w.Put) })
}

// all returns a chain with every filter. A relay client has its sender checked
// in place of what strangers are asked for.
func (l *lists) all(relayed bool) *filter.Chain {
	return &filter.Chain{
		NewSession: func(_ context.Context, s *filter.Session) error {
			if rule := l.rules.Match(control.Client{Addr: s.Peer.Remote.Addr()}); rule == nil || !rule.Allow {
				return fmt.Errorf("client %v is denied", s.Peer.Remote)
			}
			s.Relayed = relayed
			return nil
		},
		Filters: []filter.Filter{
			&filter.DNSLists{Lists: []filter.DNSList{{Base: "allow.test", Allow: true}, {Base: "a.test"}, {Base: "b.test"}}, Resolver: zone{}},
			l.hello(), &filter.SenderDomain{Resolver: zone{}, Exempt: l.badMailFrom.Exempt},
			&filter.RcptHosts{Domains: l.rcptHosts, Listed: filter.Listed(l.more)},
			&filter.Tarpit{Count: 1000, Delay: time.Second},
			&filter.Recipients{Rules: []filter.RecipientRule{{Rule: filter.Rule{Text: "*:users/recipients.cdb"}, Source: &filter.UserDatabase{Users: l.users}}}},
			&filter.SPF{Checker: zone{}, Mode: 3, Receiver: "mx.bench.test", Own: []netip.Addr{}},
			&filter.LocalSender{Check: filter.SenderByRules, Rules: l.mailFromRules, Hosts: &filter.RcptHosts{Domains: l.rcptHosts, Listed: filter.Listed(l.more)}},
			filter.RelaySuffix(""), l.badMailFrom, l.badRcptTo, filter.MaxRecipients(100),
			&filter.Greylist{Store: l.greylist},
			&filter.BadMIMEType{Types: l.mime, Blanks: true}, &filter.BadLoaderType{Types: l.loader, First: 'M'},
			&mimefilter.Filter{Names: l.names},
		},
	}
}

func (l *lists) hello() *filter.BadHello {
	l.badHello.Mode, l.badHello.Resolver = filter.HelloMode{Required: true, NotEmpty: true, Address: true}, zone{}
	return l.badHello
}

// zone is a DNS that answers at once: every domain takes mail, nobody is
// listed, and every SPF record passes.
type zone struct{}

func (zone) LookupMX(_ context.Context, name string) ([]*net.MX, error) { return exchangers, nil }

func (zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if strings.HasSuffix(host, ".allow.test") {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// The answers are made once: what the DNS costs is not measured.
var (
	exchangers = []*net.MX{{Host: "mx.bench.test", Pref: 10}}
	addrs      = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})}
)

func (zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (zone) Check(context.Context, netip.Addr, string, sqmail.Path) (result, explanation string, err error) {
	return "pass", "", nil
}

// emptyChain is a chain with few filters, or with none but anybody.
func emptyChain(few ...filter.Filter) *filter.Chain {
	return &filter.Chain{Filters: append(few, anybody{})}
}

// anybody is the least that a chain must have: it says for whom to relay.
type anybody struct{}

func (anybody) Name() string  { return "anybody" }
func (anybody) DecidesRelay() {}
func (anybody) Recipient(context.Context, *filter.Session, *sqmail.Recipient) (sqmail.Verdict, error) {
	return sqmail.Verdict{}, nil
}
