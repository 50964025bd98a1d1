package remote

import (
	"context"
	"slices"
	"strings"

	"github.com/sqmail/sqmail"
)

// delivery is one attempt for one message.
type delivery struct {
	agent    *Agent
	message  *sqmail.Message // its paths are ours, and fit for SMTP
	content  content
	source   Source
	outcomes []sqmail.Outcome
	decided  []bool // before anybody was called
}

func newDelivery(a *Agent, m *sqmail.Message) *delivery {
	own := *m
	own.Envelope.Recipients = slices.Clone(m.Envelope.Recipients)
	n := len(own.Envelope.Recipients)
	d := &delivery{agent: a, message: &own, outcomes: make([]sqmail.Outcome, n), decided: make([]bool, n)}
	for i := range d.outcomes {
		d.outcomes[i].Recipient = i
	}
	return d
}

func (d *delivery) all() []int {
	all := make([]int, len(d.outcomes))
	for i := range all {
		all[i] = i
	}
	return all
}

// prepare finds out all that can be known without the network. A failure is
// that of every recipient.
func (d *delivery) prepare() *failure {
	m := d.message
	switch m.Route.Relay.Protocol {
	case "", "smtp", "smtps", "lmtp":
	default:
		return deferral("Unable to speak " + visible(m.Route.Relay.Protocol) + ". (#4.3.0)")
	}
	var err error
	if d.content, err = examine(m); err != nil {
		return unreadable(err)
	}
	if d.content.partialLine {
		return rejection("SMTP cannot transfer messages with partial final lines. (#5.6.2)")
	}
	if d.agent.Source != nil {
		if d.source, err = d.agent.Source(m.Envelope.ReversePath); err != nil {
			return misconfigured(err)
		}
	}
	from, ok := sendable(m.Envelope.ReversePath)
	if from == doubleBounce {
		from, ok = sqmail.Path{}, true
	}
	if !ok {
		return rejection("SMTP cannot carry the sender's address. (#5.1.7)")
	}
	m.Envelope.ReversePath = from
	for i := range m.Envelope.Recipients {
		d.prepareRecipient(i, &m.Envelope.Recipients[i])
	}
	return nil
}

func (d *delivery) prepareRecipient(i int, to *sqmail.Recipient) {
	path, ok := sendable(to.Path)
	if !ok || path.IsNull() {
		d.giveUp([]int{i}, rejection("SMTP cannot carry the recipient's address. (#5.1.3)"))
		d.decided[i] = true
		return
	}
	to.Path = path
}

// giveUp gives recipients the outcome of a failure.
func (d *delivery) giveUp(to []int, f *failure) {
	for _, i := range to {
		d.outcomes[i] = f.outcome(i)
	}
}

// A group is recipients that the same hosts take.
type group struct {
	host  string
	relay bool
	to    []int
}

// groups sorts the recipients by where they go.
func (d *delivery) groups() []*group {
	var all []*group
	byDomain := make(map[string]*group)
	for i, to := range d.message.Envelope.Recipients {
		if d.decided[i] {
			continue
		}
		g := group{host: to.Path.Domain}
		if relay := d.message.Route.Relay.Host; relay != "" {
			g = group{host: relay, relay: true}
		}
		key := strings.ToLower(g.host)
		if byDomain[key] == nil {
			byDomain[key] = &g
			all = append(all, &g)
		}
		byDomain[key].to = append(byDomain[key].to, i)
	}
	return all
}

// search is the state of looking for a host that takes a group's mail.
type search struct {
	first    *failure // what the first peer had to say that is no rejection
	rejected *failure // the first greeting of 5yz
	others   bool     // some address failed in another way
	found    bool     // there was an address
}

// deliver offers a group to one host after the other, until one gives a
// session.
func (d *delivery) deliver(ctx context.Context, g *group) {
	w, f := d.agent.toward(ctx, g.host, g.relay)
	if f != nil {
		d.giveUp(g.to, f)
		return
	}
	var s search
	for hops := w.next(ctx); hops != nil && len(g.to) > 0; hops = w.next(ctx) {
		s.found = true
		for _, c := range d.calls(ctx, g, hops, &s) {
			if f := d.offer(ctx, g, c); f == nil {
				return
			} else if !s.goOn(ctx, f) {
				d.giveUp(g.to, f)
				return
			}
		}
	}
	if !s.found && ctx.Err() == nil {
		d.giveUp(g.to, w.verdict())
		return
	}
	s.others = s.others || w.soft || ctx.Err() != nil
	d.giveUp(g.to, s.verdict())
}

// goOn takes note of a failure, and reports whether another address is worth a
// call.
func (s *search) goOn(ctx context.Context, f *failure) bool {
	switch {
	case f.greeting && s.rejected == nil:
		s.rejected = f
	case !f.greeting:
		s.others = true
	}
	if s.first == nil && !f.greeting && !f.dead {
		s.first = f
	}
	return f.next && ctx.Err() == nil
}

// verdict is what to say when nobody gave a session. It is a rejection only if
// everybody was asked, and refused to talk to us for good.
func (s *search) verdict() *failure {
	switch {
	case s.rejected != nil && !s.others:
		return s.rejected
	case s.first != nil:
		return s.first
	}
	return noConnection()
}

// offer gives a group to one host, in as many transactions as it takes. A
// failure means that there was no session.
func (d *delivery) offer(ctx context.Context, g *group, c call) *failure {
	fresh := false
	for len(g.to) > 0 {
		s := d.agent.pool.take(c.key())
		if s == nil || fresh {
			if s != nil {
				s.quit()
			}
			var f *failure
			if s, f = d.agent.open(ctx, c, d.message.Progress); f != nil {
				return f
			}
		}
		s.progress = d.message.Progress
		fresh = d.transact(ctx, g, s)
	}
	return nil
}

// transact does transactions in s until nobody is left, or another session is
// needed. It reports whether that must be a new one.
func (d *delivery) transact(ctx context.Context, g *group, s *session) (fresh bool) {
	limit := or(d.agent.MaxRecipients, defaultMaxRecipients)
	utf8 := d.unicode(g, s)
	for len(g.to) > 0 {
		if s.served >= or(d.agent.MaxMessages, defaultMaxMessages) {
			s.quit()
			return true
		}
		n := min(len(g.to), limit)
		t := &transaction{session: s, message: d.message, content: d.content, utf8: utf8, to: g.to[:n:n]}
		t.run(ctx)
		again := d.settle(t)
		g.to = append(again, g.to[n:]...)
		d.logged(ctx, t)
		if s.broken {
			s.quit()
			if t.final == nil || t.final.retry {
				return true
			}
			t.final.where = s.call.where()
			d.giveUp(g.to, t.final)
			g.to = nil
		}
	}
	d.agent.release(s)
	return false
}

// unicode decides whether SMTPUTF8 is needed, and fails those whose addresses
// cannot do without where the peer does not offer it (RFC 6531, 3.2).
func (d *delivery) unicode(g *group, s *session) bool {
	e := &d.message.Envelope
	needed := func(to int) bool { return e.ReversePath.NeedsUTF8() || e.Recipients[to].Path.NeedsUTF8() }
	if s.ext.smtpUTF8 {
		return d.content.utf8Header || slices.ContainsFunc(g.to, needed)
	}
	f := rejection(s.connected("it does not take internationalized addresses. (#5.6.7)"))
	f.where = s.call.where()
	g.to = slices.DeleteFunc(g.to, func(to int) bool {
		if needed(to) {
			d.outcomes[to] = f.outcome(to)
			return true
		}
		return false
	})
	return false
}

func (d *delivery) logged(ctx context.Context, t *transaction) {
	s := t.session
	result, err := "accepted", error(nil)
	if t.final != nil {
		result, err = t.final.class.String(), t.final.err
	}
	d.agent.log().DebugContext(ctx, "transaction", "message", d.message.ID, "host", s.call.host, "addr", s.call.addr.String(),
		"result", result, "recipients", len(t.to), "tls", s.secure, "reused", s.reused, "err", err)
}
