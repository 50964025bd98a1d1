package delivery

import (
	"github.com/sqmail/sqmail"
)

// Routes says through which relay mail leaves, by sender and by recipient. The
// zero Routes sends everything to the mail exchangers.
//
// The keys of SMTP and QMTP are a domain, ".domain" for every name below it, ""
// for everything, and "!@" for mail with a null reverse-path. They are asked
// for from the longest to the shortest; of equal keys that of QMTP wins. A
// relay without Host means the mail exchangers, for "!@" that the domain
// decides.
type Routes struct {
	// Senders maps the reverse-path, one of its suffixes that begins with "@"
	// or ".", or "", to a relay (control/authsenders; values from
	// [ParseRelay]). It is asked before the others, and ends the matter, but
	// for a relay without Host: that exempts the sender.
	Senders map[string]sqmail.Relay

	// QMTP is control/qmtproutes, with values from [ParseQMTPRelay].
	QMTP map[string]sqmail.Relay

	// SMTP is control/smtproutes, with values from [ParseRelay].
	SMTP map[string]sqmail.Relay
}

// anyBounce is the key of mail with a null reverse-path.
const anyBounce = "!@"

// remote returns the route of a recipient that is not local.
func (r *Router) remote(reverse, to sqmail.Path, p *Plan) sqmail.Route {
	route := sqmail.Route{Channel: sqmail.ChannelRemote, Destination: lower(to.Domain)}
	relay, found := r.bySender(reverse, to, p)
	if !found && reverse.IsNull() {
		relay, found = r.byKey(anyBounce, anyBounce, p)
		found = found && relay.Host != ""
	}
	if !found {
		relay, found = walk(to.Domain, func(key string) (sqmail.Relay, bool) { return r.byKey(key, to.Domain, p) })
	}
	if !found {
		return route
	}
	route.Relay = relay
	if relay.Host != "" {
		route.Destination = destinationOf(relay)
	}
	return route
}

// bySender looks the reverse-path of a recipient's copy up in Senders.
func (r *Router) bySender(reverse, to sqmail.Path, p *Plan) (sqmail.Relay, bool) {
	if len(r.tables.senders) == 0 {
		return sqmail.Relay{}, false
	}
	reverse, _ = reverse.VERP(to)
	address := lower(reverse.Unquoted())
	for i := 0; i <= len(address); i++ {
		if i > 0 && i < len(address) && address[i] != '@' && address[i] != '.' {
			continue
		}
		if hit, found := r.tables.senders[address[i:]]; found {
			p.noteRelay(r, "authsenders", address, hit)
			return hit.value, hit.value.Host != ""
		}
	}
	return sqmail.Relay{}, false
}

// byKey looks a key up in QMTP, then in SMTP.
func (r *Router) byKey(key, input string, p *Plan) (sqmail.Relay, bool) {
	if hit, found := r.tables.qmtp[key]; found {
		p.noteRelay(r, "qmtproutes", input, hit)
		return hit.value, true
	}
	if hit, found := r.tables.smtp[key]; found {
		p.noteRelay(r, "smtproutes", input, hit)
		return hit.value, true
	}
	return sqmail.Relay{}, false
}
