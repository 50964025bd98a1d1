package delivery

import (
	"context"
	"strings"
	"sync"

	"github.com/sqmail/sqmail"
)

// Router says how each recipient is reached. The zero Router sends everything
// to the mail exchangers of its domain. Its fields, and what they hold, must
// not change after the first call; then any number of goroutines may use it.
// A changed configuration is a new Router.
type Router struct {
	// EnvNoAtHost completes recipients without a domain (control/envnoathost).
	// "" means: they are rejected.
	EnvNoAtHost string

	// PercentHack holds the domains for which user%host@domain means
	// user@host (control/percenthack).
	PercentHack []string

	// Locals holds the domains whose mail goes to the channel "local"
	// (control/locals). Each entry is one domain; subdomains are not meant.
	Locals []string

	// VirtualDomains maps an address, a domain, ".domain" for every name
	// below it, or "" for everything, to the user who controls it
	// (control/virtualdomains): mail for info@domain goes to
	// user-info@domain on the channel "local". An empty user is an
	// exception: remote after all. Locals come first.
	VirtualDomains map[string]string

	// Routes says through which relays remote mail goes.
	Routes Routes

	// Origin tells where an entry of a table was written, for Explain; table
	// is the name of its file in control, key as it stands in the map or
	// list. Nil: not known.
	Origin func(table, key string) (file string, line int)

	once   sync.Once
	tables tables
}

// tables are the Router's, with keys in lower case.
type tables struct {
	locals, percentHack map[string]string // to the entry as it was written
	virtual             map[string]entry[string]
	senders, qmtp, smtp map[string]entry[sqmail.Relay]
}

// entry is a value with its key as it was written.
type entry[V any] struct {
	key   string
	value V
}

func (r *Router) compile() {
	r.tables = tables{
		locals:      set(r.Locals),
		percentHack: set(r.PercentHack),
		virtual:     fold(r.VirtualDomains),
		senders:     fold(r.Routes.Senders),
		qmtp:        fold(r.Routes.QMTP),
		smtp:        fold(r.Routes.SMTP),
	}
}

func set(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, s := range list {
		m[lower(s)] = s
	}
	return m
}

// fold returns m with keys in lower case. Of keys that differ only in case the
// one that is greatest as a string wins, so that the result never depends on
// chance; whoever reads a file keeps only the last line.
func fold[V any](m map[string]V) map[string]entry[V] {
	folded := make(map[string]entry[V], len(m))
	for key, value := range m {
		if have, found := folded[lower(key)]; !found || have.key < key {
			folded[lower(key)] = entry[V]{key, value}
		}
	}
	return folded
}

// Route returns how the recipient to of the message env is reached. It is
// called before each attempt, costs a few look-ups in tables, and fails only
// by rejecting an address without a domain when there is no EnvNoAtHost
// (5.1.3).
func (r *Router) Route(_ context.Context, env *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	return r.route(env, to, nil)
}

// route decides, and notes in p, if there is one, what decided.
func (r *Router) route(env *sqmail.Envelope, to sqmail.Path, p *Plan) (sqmail.Routing, error) {
	r.once.Do(r.compile)
	address, err := r.complete(to, p)
	if err != nil {
		return sqmail.Routing{}, err
	}
	address = r.percentHacked(address, p)
	routing := sqmail.Routing{Display: sqmail.PathOf(address), Deliver: sqmail.PathOf(address)}
	if address, local := r.local(address, p); local {
		routing.Deliver = sqmail.PathOf(address)
		routing.Route = sqmail.Route{Channel: sqmail.ChannelLocal, Destination: lower(address)}
		return routing, nil
	}
	routing.Route = r.remote(env.ReversePath, routing.Deliver, p)
	return routing, nil
}

// complete returns the address in unquoted form, with a domain.
func (r *Router) complete(to sqmail.Path, p *Plan) (string, error) {
	if to.Domain != "" {
		return to.Unquoted(), nil
	}
	if to.Local == "" || r.EnvNoAtHost == "" {
		return "", &sqmail.Error{
			Op:    "route",
			Class: sqmail.Rejection,
			Reply: sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 3}, Text: "sorry, address must include host name"},
		}
	}
	address := to.LocalPart() + "@" + r.EnvNoAtHost
	p.note(r, Step{Table: "envnoathost", Input: to.LocalPart(), Value: r.EnvNoAtHost})
	return address, nil
}

// percentHacked turns user%host@domain into user@host while domain is in the
// table.
func (r *Router) percentHacked(address string, p *Plan) string {
	for {
		local, domain := split(address)
		key, found := r.tables.percentHack[lower(domain)]
		percent := strings.LastIndexByte(local, '%')
		if !found || percent < 0 {
			return address
		}
		p.note(r, Step{Table: "percenthack", Key: key, Input: address})
		address = local[:percent] + "@" + local[percent+1:]
	}
}

// local reports whether an address is local, and what it is then.
func (r *Router) local(address string, p *Plan) (string, bool) {
	_, domain := split(address)
	if key, found := r.tables.locals[lower(domain)]; found {
		p.note(r, Step{Table: "locals", Key: key, Input: domain})
		return address, true
	}
	hit, found := r.tables.virtual[lower(address)]
	if !found {
		hit, found = walk(domain, func(key string) (entry[string], bool) {
			e, found := r.tables.virtual[key]
			return e, found
		})
	}
	if !found {
		return address, false
	}
	p.note(r, Step{Table: "virtualdomains", Key: hit.key, Input: address, Value: hit.value})
	if hit.value == "" {
		return address, false
	}
	return hit.value + "-" + address, true
}

// split cuts an unquoted address at its last "@".
func split(address string) (local, domain string) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address, ""
	}
	return address[:at], address[at+1:]
}

// walk asks for a domain, then for each of its suffixes that begins with a
// dot, the longest first, then for "", until it is told that there is an
// answer.
func walk[V any](domain string, look func(key string) (V, bool)) (V, bool) {
	domain = lower(domain)
	if v, found := look(domain); found {
		return v, true
	}
	for i := 1; i < len(domain); i++ {
		if domain[i] != '.' {
			continue
		}
		if v, found := look(domain[i:]); found {
			return v, true
		}
	}
	return look("")
}
