package qmailspool

import (
	"fmt"
	"strings"
)

// Rewriting is how a qmail has rewritten the recipients that it delivers
// itself: with the prefix of whoever controls a virtual domain (queue.md, 6).
// Its keys are compared without regard to ASCII case.
type Rewriting struct {
	// Locals are the domains of control/locals.
	Locals []string

	// VirtualDomains maps addresses, domains, ".domain" and "" to the prefix,
	// "" being an exception (control/virtualdomains).
	VirtualDomains map[string]string
}

// rewriter is a Rewriting with its keys in lower case.
type rewriter struct {
	locals  map[string]bool
	virtual map[string]string
	people  []string // keys that are addresses
}

func (r *Rewriting) compile() *rewriter {
	c := &rewriter{locals: make(map[string]bool), virtual: make(map[string]string)}
	for _, domain := range r.Locals {
		c.locals[lower(domain)] = true
	}
	for key, prefix := range r.VirtualDomains {
		key = lower(key)
		c.virtual[key] = prefix
		if strings.Contains(key, "@") {
			c.people = append(c.people, key)
		}
	}
	return c
}

// apply rewrites an address, and reports whether it is local.
func (c *rewriter) apply(address string) (string, bool) {
	_, domain := split(address)
	if c.locals[lower(domain)] {
		return address, true
	}
	if !strings.Contains(address, "@") {
		return address, false // qmail has no such address: it completes them first
	}
	prefix, found := c.virtual[lower(address)]
	if !found {
		prefix, found = c.ofDomain(domain)
	}
	if !found || prefix == "" {
		return address, false
	}
	return prefix + "-" + address, true
}

// ofDomain looks for a domain, its suffixes that begin with a dot, and "".
func (c *rewriter) ofDomain(domain string) (prefix string, found bool) {
	domain = lower(domain)
	if prefix, found = c.virtual[domain]; found {
		return prefix, true
	}
	for i := 1; i < len(domain); i++ {
		if domain[i] == '.' {
			if prefix, found = c.virtual[domain[i:]]; found {
				return prefix, true
			}
		}
	}
	prefix, found = c.virtual[""]
	return prefix, found
}

// undo returns the address of which apply makes the given one. There may be
// none: the control files have changed since.
func (c *rewriter) undo(address string) (string, error) {
	if _, domain := split(address); c.locals[lower(domain)] {
		return address, nil
	}
	for _, candidate := range c.candidates(address) {
		if again, isLocal := c.apply(candidate); isLocal && again == address {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%q is a local recipient, and neither locals nor virtualdomains tell why", address)
}

// candidates are what may have stood in the place of an address, the likely
// ones first.
func (c *rewriter) candidates(address string) (all []string) {
	for _, key := range c.people {
		if rest, found := strings.CutPrefix(address, c.virtual[key]+"-"); found && lower(rest) == key {
			all = append(all, rest)
		}
	}
	_, domain := split(address)
	if prefix, found := c.ofDomain(domain); found {
		if rest, found := strings.CutPrefix(address, prefix+"-"); found {
			all = append(all, rest)
		}
	}
	return all
}

// display returns an address as qmail-send writes it in a bounce: without the
// prefix that its domain has, whatever it was rewritten for, and on one line.
func (c *rewriter) display(address string) string {
	_, domain := split(address)
	if prefix, found := c.ofDomain(domain); found && prefix != "" {
		address = strings.TrimPrefix(address, prefix+"-")
	}
	return oneLine(address)
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "_") }

// split cuts an address at its last "@".
func split(address string) (box, domain string) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address, ""
	}
	return address[:at], address[at+1:]
}

// lower folds ASCII case, the only one that domains have.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
