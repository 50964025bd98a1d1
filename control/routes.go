package control

import (
	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
)

// routes reads the tables of relays. A line that cannot be parsed is fatal:
// without it, mail would go another way.
func (s *source) routes(c *Config) {
	c.SMTPRoutes, c.QMTPRoutes, c.AuthSenders = s.table("smtproutes"), s.table("qmtproutes"), s.table("authsenders")
	c.routes = delivery.Routes{
		SMTP:    s.relays(c.SMTPRoutes, delivery.ParseRelay),
		QMTP:    s.relays(c.QMTPRoutes, delivery.ParseQMTPRelay),
		Senders: s.relays(c.AuthSenders, delivery.ParseRelay),
	}
}

func (s *source) relays(entries []Entry, parse func(string) (sqmail.Relay, error)) map[string]sqmail.Relay {
	relays := make(map[string]sqmail.Relay, len(entries))
	for _, e := range entries {
		relay, err := parse(e.Value)
		if err != nil {
			s.fatal(e.File, e.Line, "%v", err)
			continue
		}
		relays[e.Key] = relay
	}
	return relays
}

// Router returns a new Router with the tables of c, whose Explain names their
// files and lines.
func (c *Config) Router() *delivery.Router {
	virtual := make(map[string]string, len(c.VirtualDomains))
	for _, e := range c.VirtualDomains {
		virtual[e.Key] = e.Value
	}
	return &delivery.Router{
		EnvNoAtHost:    c.EnvNoAtHost,
		PercentHack:    Keys(c.PercentHack),
		Locals:         Keys(c.Locals),
		VirtualDomains: virtual,
		Routes:         c.routes,
		Origin:         c.Origin,
	}
}

// Origin returns where an entry of a table stands: table is the name of its
// file in control, key the entry's in any case. Line 0 means that it is the
// default.
func (c *Config) Origin(table, key string) (file string, line int) {
	for _, e := range c.table(table) {
		if lower(e.Key) == lower(key) {
			return e.File, e.Line
		}
	}
	return "control/" + table, 0
}

// table returns the entries of a file in control.
func (c *Config) table(name string) []Entry {
	switch name {
	case "locals":
		return c.Locals
	case "virtualdomains":
		return c.VirtualDomains
	case "percenthack":
		return c.PercentHack
	case "rcpthosts":
		return c.RcptHosts
	case "morercpthosts":
		return c.MoreRcptHosts
	case "smtproutes":
		return c.SMTPRoutes
	case "qmtproutes":
		return c.QMTPRoutes
	case "authsenders":
		return c.AuthSenders
	}
	return nil
}

// IsLocal reports whether mail for a domain is delivered here, to users by
// their local parts.
func (c *Config) IsLocal(domain string) bool {
	return c.locals[lower(domain)]
}
