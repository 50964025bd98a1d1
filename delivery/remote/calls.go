package remote

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	portSMTP  = 25
	portSMTPS = 465
	portLMTP  = 24
)

func portText(port uint16) string { return strconv.Itoa(int(port)) }

// calls turns hops of one preference into calls, those that an idle
// connection answers first. Dead hosts are left out.
func (d *delivery) calls(ctx context.Context, g *group, hops []hop, s *search) []call {
	calls := make([]call, 0, len(hops))
	rules := make(map[string]*TLSRule)
	for _, h := range hops {
		rule, asked := rules[h.host]
		if !asked {
			var err error
			if rule, err = d.rule(ctx, g, h.host); err != nil {
				d.agent.log().InfoContext(ctx, "host not called: no TLS policy", "host", h.host, "err", err)
				s.refusedByPolicy(err)
				continue
			}
			rules[h.host] = rule
		}
		c, ok := d.call(g, h, rule)
		if !ok || d.agent.dead.isDead(c.addr, time.Now()) {
			s.others = true
			continue
		}
		calls = append(calls, c)
	}
	idle := func(c call) bool { return d.agent.pool.has(c.key()) }
	if i := slices.IndexFunc(calls, idle); i > 0 {
		calls[0], calls[i] = calls[i], calls[0]
	}
	return calls
}

func (d *delivery) rule(ctx context.Context, g *group, host string) (*TLSRule, error) {
	var rule *TLSRule
	if d.agent.TLS != nil {
		var err error
		rule, err = d.agent.TLS.TLSRule(ctx, TLSTarget{
			Name:        g.name(),
			Relay:       g.relay,
			Host:        host,
			Port:        d.port(nil),
			ReversePath: d.message.Envelope.ReversePath,
		})
		if err != nil {
			return nil, err
		}
	}
	if d.message.Envelope.RequireTLS {
		rule = rule.required()
	}
	return rule, nil
}

// refusedByPolicy takes note of a host that must not be called.
func (s *search) refusedByPolicy(err error) {
	s.others = true
	if f := said(err, noConnection()); s.first == nil {
		s.first = f
	}
}

// name returns the group's host in the form that rules know.
func (g *group) name() string {
	if name, err := lookupName(g.host); err == nil {
		return name
	}
	return g.host
}

func (d *delivery) port(rule *TLSRule) uint16 {
	relay := &d.message.Route.Relay
	switch {
	case rule != nil && rule.Port != 0:
		return rule.Port
	case relay.Port != 0:
		return relay.Port
	case relay.Protocol == "smtps":
		return portSMTPS
	case relay.Protocol == "lmtp":
		return portLMTP
	}
	return portSMTP
}

// call returns what is needed to call a hop; false: we have no address to call
// it from.
func (d *delivery) call(g *group, h hop, rule *TLSRule) (call, bool) {
	relay := &d.message.Route.Relay
	c := call{
		addr:     netip.AddrPortFrom(h.addr, d.port(rule)),
		host:     h.host,
		name:     g.name(),
		rule:     rule,
		lmtp:     relay.Protocol == "lmtp",
		user:     relay.User,
		password: relay.Password,
		hello:    d.agent.HelloName,
	}
	c.implicit = relay.Protocol == "smtps" || c.addr.Port() == portSMTPS || c.tls().Implicit
	if d.source.HelloName != "" {
		c.hello = d.source.HelloName
	}
	if d.source.IPv4.IsValid() || d.source.IPv6.IsValid() {
		c.local = d.source.IPv4
		if h.addr.Is6() {
			c.local = d.source.IPv6
		}
		return c, c.local.IsValid()
	}
	return c, true
}
