package control

import (
	"context"
	"strings"

	"github.com/sqmail/sqmail/filter"
)

// rcptHosts reads which domains mail from strangers is taken for. Whatever
// goes wrong, we relay for nobody: without a file only what is delivered
// here is taken, an empty file takes nothing, and one that cannot be read is
// fatal.
func (s *source) rcptHosts(c *Config) {
	var found, more bool
	c.RcptHosts, found = s.list("rcpthosts")
	c.MoreRcptHosts, c.moreRcpt, more = s.pair("morercpthosts")
	s.checkDomains(c.RcptHosts, true)
	s.checkDomains(c.MoreRcptHosts, true)
	switch {
	case !found && !s.missing("control/rcpthosts"): // was told
	case !found && more:
		s.fatal("control/rcpthosts", 0, "does not exist, and without it control/morercpthosts would be ignored: make it, it may be empty")
	case !found:
		s.warn("control/rcpthosts", 0, "does not exist: mail is taken for the domains in control/locals and control/virtualdomains alone")
		c.RcptHosts = deliveredHere(c)
	case len(c.RcptHosts)+len(c.MoreRcptHosts) == 0 && c.moreRcpt == nil:
		s.warn("control/rcpthosts", 0, "is empty: mail from other hosts is refused")
	}
	c.rcptList = filter.NewList(rules(c.RcptHosts, c.MoreRcptHosts))
}

// deliveredHere are the domains of Locals and VirtualDomains. An entry for all
// domains names none, and an exception is not delivered here.
func deliveredHere(c *Config) []Entry {
	entries := append([]Entry(nil), c.Locals...)
	for _, e := range c.VirtualDomains {
		domain := e.Key[strings.LastIndexByte(e.Key, '@')+1:]
		if domain == "" || domain == "." || e.Value == "" {
			continue
		}
		entries = append(entries, Entry{Key: domain, File: e.File, Line: e.Line})
	}
	return entries
}

// RcptFilter returns the filter that refuses mail from strangers for domains
// that are not in RcptHosts and MoreRcptHosts.
func (c *Config) RcptFilter() *filter.RcptHosts {
	f := &filter.RcptHosts{Domains: c.rcptList}
	if c.moreRcpt != nil {
		f.Listed = func(_ context.Context, name string) (bool, error) {
			_, found, err := c.moreRcpt.Get([]byte(name))
			return found && err == nil, err
		}
	}
	return f
}

// rules turns entries into the rules of a filter.
func rules(lists ...[]Entry) []filter.Rule {
	var all []filter.Rule
	for _, entries := range lists {
		for _, e := range entries {
			all = append(all, filter.Rule{Text: e.Key, File: e.File, Line: e.Line})
		}
	}
	return all
}

// BadMailFromRules and BadRcptToRules return BadMailFrom and BadRcptTo as the
// rules of filters.
func (c *Config) BadMailFromRules() []filter.Rule { return rules(c.BadMailFrom) }

// BadRcptToRules: see BadMailFromRules.
func (c *Config) BadRcptToRules() []filter.Rule { return rules(c.BadRcptTo) }

// Accepts reports whether mail from strangers is taken for a domain, and by
// which entry: the domain itself, or else the longest ".suffix" of it. What a
// database cannot tell is not taken; the filter defers it.
func (c *Config) Accepts(domain string) (Entry, bool) {
	domain = lower(domain)
	for name := domain; name != ""; name = parentOf(name) {
		if rule, found := c.rcptList.Lookup(name); found {
			return Entry{Key: rule.Text, File: rule.File, Line: rule.Line}, true
		}
	}
	for name := domain; name != "" && c.moreRcpt != nil; name = parentOf(name) {
		if _, found, err := c.moreRcpt.Get([]byte(name)); err != nil || found {
			return Entry{Key: name, File: c.moreRcpt.name}, err == nil
		}
	}
	return Entry{}, false
}

// parentOf returns a name from its next dot on.
func parentOf(name string) string {
	if dot := strings.IndexByte(name[1:], '.'); dot >= 0 {
		return name[1+dot:]
	}
	return ""
}
