package milter

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/internal/field"
)

// Filter asks one milter. It keeps a connection for each session until the
// context of its calls ends, which therefore must be that of the session. A
// Filter is used by its pointer. In a dry run of the session it says whom it
// would ask, and asks nobody.
type Filter struct {
	// Label names the filter in the trace. "": "milter".
	Label string

	// Address is the path of a Unix socket, or host:port.
	Address string

	// Dial opens connections. Nil: that of a zero net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeout is for connecting, and for each answer but the last. 0: 30
	// seconds.
	Timeout time.Duration

	// EndTimeout is for the answer to the end of the message. 0: five minutes.
	EndTimeout time.Duration

	// HostName is who we are: the macro j.
	HostName string

	// IgnoreChanges leaves undone what cannot be done, and lets the message
	// pass; the verdict tells. Quarantine is never ignored.
	IgnoreChanges bool

	// MaxHeader is how long the header of a message may be, in octets; one
	// that is longer is refused. 0: 256 KiB.
	MaxHeader int

	// Strangers asks only about sessions of those who are not relay clients.
	Strangers bool

	// Pass lets sessions and messages pass if the milter cannot be asked; by
	// default they are deferred.
	Pass bool

	// Log hears of what passes so. Nil: discarded.
	Log *slog.Logger

	links sync.Map // of *filter.Session to *link
}

// Name returns the label.
func (f *Filter) Name() string { return cmp.Or(f.Label, "milter") }

// Asks names the milter.
func (f *Filter) Asks(s *filter.Session) string {
	if f.Strangers && s.RelayClient() {
		return ""
	}
	return "the milter " + f.Address
}

// Connect tells the milter of a connection. A milter that cannot be reached
// is tried again at MAIL.
func (f *Filter) Connect(ctx context.Context, s *filter.Session) (sqmail.Verdict, error) {
	return f.early(ctx, s, connected)
}

// Hello tells the milter the hello name.
func (f *Filter) Hello(ctx context.Context, s *filter.Session) (sqmail.Verdict, error) {
	if s.DryRun() {
		return f.early(ctx, s, greeted)
	}
	l := f.link(ctx, s)
	l.told = min(l.told, connected)
	if l.refusedAt == greeted {
		l.refusedAt = nothing // that was another hello name
	}
	return f.early(ctx, s, greeted)
}

// early asks before there is a transaction.
func (f *Filter) early(ctx context.Context, s *filter.Session, stage stage) (sqmail.Verdict, error) {
	if f.Strangers && s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	if s.DryRun() {
		return filter.WouldAsk(f.Asks(s)), nil
	}
	l := f.link(ctx, s)
	v, err := l.reach(ctx, stage)
	if err != nil {
		return sqmail.Verdict{Rule: "not asked", Input: field.ASCII(err.Error(), 200)}, nil
	}
	return v, nil
}

// ReversePath tells the milter of a reverse-path.
func (f *Filter) ReversePath(ctx context.Context, s *filter.Session) (sqmail.Verdict, error) {
	if s.DryRun() {
		return f.early(ctx, s, mailed)
	}
	l := f.link(ctx, s)
	l.told = min(l.told, greeted)
	l.pass, l.failed = false, nil
	return f.ask(ctx, s, func(l *link) (sqmail.Verdict, error) { return l.reach(ctx, mailed) })
}

// Recipient tells the milter of a recipient.
func (f *Filter) Recipient(ctx context.Context, s *filter.Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	return f.ask(ctx, s, func(l *link) (sqmail.Verdict, error) {
		v, err := l.reach(ctx, mailed)
		if err != nil || v.Action >= sqmail.ActionDefer || l.pass {
			return v, err
		}
		return l.recipient(ctx, to)
	})
}

// ask asks about a transaction, unless that is settled.
func (f *Filter) ask(ctx context.Context, s *filter.Session, question func(*link) (sqmail.Verdict, error)) (sqmail.Verdict, error) {
	if f.Strangers && s.RelayClient() {
		return sqmail.Verdict{}, nil
	}
	if s.DryRun() {
		return filter.WouldAsk(f.Asks(s)), nil
	}
	l := f.link(ctx, s)
	switch {
	case l.accepted || l.pass:
		return sqmail.Verdict{}, nil
	case l.failed != nil:
		return sqmail.Verdict{}, l.failed
	}
	v, err := question(l)
	if err != nil {
		return l.unasked(ctx, err)
	}
	return v, nil
}

// Body returns a scanner for a message.
func (f *Filter) Body(ctx context.Context, s *filter.Session) (filter.Scanner, error) {
	if f.Strangers && s.RelayClient() || s.DryRun() {
		return nil, nil
	}
	l := f.link(ctx, s)
	if l.accepted || l.pass {
		return nil, nil
	}
	m := &scanner{l: l, ctx: ctx, err: l.failed, mods: modifications{counts: map[string]uint32{}}}
	if m.err == nil {
		m.verdict, m.err = l.reach(ctx, mailed)
	}
	return m, nil
}
