package filter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

// GreyStore remembers who has tried before. Package greylist has one in a file.
// It is used concurrently.
type GreyStore interface {
	// Update puts what f makes of the record of key in its place, in one step:
	// no two Updates of a key overlap. f gets the zero GreyRecord if there is
	// none. It may be called more than once, and is not called after Update
	// has returned. If it returns what it got there is nothing to write. When
	// Update has returned nil the record need not be on stable storage: what
	// a crash forgets is asked again.
	//
	// A record may be forgotten when it has expired.
	Update(ctx context.Context, key string, f func(GreyRecord) GreyRecord) error
}

// GreyRecord is what is known of a client's network, a sender and a recipient.
// A [GreyStore] keeps it to the second.
type GreyRecord struct {
	// First is when they were first seen.
	First time.Time

	// Passed says that the client came back when it was time.
	Passed bool

	// Expires is when the record counts no more.
	Expires time.Time
}

// Greylist defers mail from strangers that have not written to the recipient
// before, until they come back: a mail server does, much that sends spam does
// not. A client is known by its network, /24 or /64, so that a sender may use
// several hosts; digits in the local part of the sender, which lists and relays
// number their mail with, do not count.
//
// It comes last, behind all filters that look at recipients: what is rejected
// leaves no record. If the store fails mail is let in, and the log told:
// greylisting is no reason to lose mail. Spec: filter.md, 8.
type Greylist struct {
	// Store remembers. Nil: the filter does nothing.
	Store GreyStore

	// Delay is how long a client is to wait. 0: 5 minutes.
	Delay time.Duration

	// Window is how long it may take to come back. 0: 48 hours.
	Window time.Duration

	// Lifetime is how long a client that came back is known without writing.
	// 0: 35 days.
	Lifetime time.Duration

	// Timeout bounds the wait for the store. 0: 10 s.
	Timeout time.Duration

	// Text is added to the reply.
	Text string

	// Log gets the errors of the store. Nil: discarded.
	Log *slog.Logger
}

// The defaults of a Greylist.
const (
	greyDelay    = 5 * time.Minute
	greyWindow   = 48 * time.Hour
	greyLifetime = 35 * 24 * time.Hour
	greyTimeout  = 10 * time.Second
)

// Name returns "greylist".
func (f *Greylist) Name() string { return "greylist" }

// Asks names the store, for strangers.
func (f *Greylist) Asks(s *Session) string {
	if f.Store == nil || s.RelayClient() || !s.Peer.Remote.Addr().IsValid() {
		return ""
	}
	return "the greylist"
}

var greylisted = sqmail.Reply{
	Code: 450, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "greylisted, please try again later",
}

// Recipient defers what has not been seen before. In a dry run it looks, and
// enters nothing.
func (f *Greylist) Recipient(ctx context.Context, s *Session, to *sqmail.Recipient) (sqmail.Verdict, error) {
	addr := s.Peer.Remote.Addr()
	if f.Store == nil || s.RelayClient() || !addr.IsValid() {
		return sqmail.Verdict{}, nil
	}
	limited := &lazyTimeout{Context: ctx, timeout: cmp.Or(f.Timeout, greyTimeout)}
	defer limited.end()
	var buf [256]byte
	now, known, from := time.Now(), false, network(addr).AppendTo(buf[:0])
	err := f.Store.Update(limited, greyKey(from, s.Envelope.ReversePath, to.Path), func(r GreyRecord) GreyRecord {
		next, pass := f.next(r, now)
		if known = pass; s.DryRun() {
			return r
		}
		return next
	})
	v := sqmail.Verdict{Input: greyInput(from, s.Envelope.ReversePath, to.Path)}
	switch {
	case ctx.Err() != nil:
		return sqmail.Verdict{}, ctx.Err()
	case err != nil && s.DryRun():
		return WouldAsk(f.Asks(s)), nil
	case err != nil:
		if f.Log != nil {
			f.Log.WarnContext(ctx, "greylisting is out of order", "session", s.Peer.Session, "err", err)
		}
		v.Rule = "out of order"
	case known:
		v.Rule = "known"
	default:
		v.Rule, v.Action, v.Reply = "too soon", sqmail.ActionDefer, greylisted
		v.Reply.Text = withText(greylisted.Text, f.Text)
	}
	return v, nil
}

// next returns the record after an attempt, and whether it may pass.
func (f *Greylist) next(r GreyRecord, now time.Time) (GreyRecord, bool) {
	lifetime := cmp.Or(f.Lifetime, greyLifetime)
	switch {
	case r.First.IsZero() || now.After(r.Expires) || now.Before(r.First): // the last: a clock was wrong
		return GreyRecord{First: now, Expires: now.Add(cmp.Or(f.Window, greyWindow))}, false
	case r.Passed:
		if r.Expires.Sub(now) < lifetime-lifetime/8 { // not for each mail
			r.Expires = now.Add(lifetime)
		}
		return r, true
	case now.Sub(r.First) < cmp.Or(f.Delay, greyDelay):
		return r, false
	}
	r.Passed, r.Expires = true, now.Add(lifetime)
	return r, true
}

// lazyTimeout is a context that gets its timer when somebody waits for it, which
// a [GreyStore] seldom needs.
type lazyTimeout struct {
	context.Context
	timeout time.Duration
	once    sync.Once
	limited context.Context
	cancel  context.CancelFunc
}

func (t *lazyTimeout) start() context.Context {
	t.once.Do(func() { t.limited, t.cancel = context.WithTimeout(t.Context, t.timeout) })
	return t.limited
}

func (t *lazyTimeout) Done() <-chan struct{}       { return t.start().Done() }
func (t *lazyTimeout) Deadline() (time.Time, bool) { return t.start().Deadline() }
func (t *lazyTimeout) Err() error                  { return t.start().Err() }

func (t *lazyTimeout) end() {
	if t.once.Do(func() { t.limited = over }); t.cancel != nil { // it has begun
		t.cancel()
	}
}

// over is what a lazyTimeout is that ended before anybody waited, for a store
// that goes on with it.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// network returns the network that a client is known by.
func network(addr netip.Addr) netip.Prefix {
	addr, bits := addr.Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 24
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// greyKey returns the key of a triple, as short for long addresses as for
// others.
func greyKey(network []byte, from, to sqmail.Path) string {
	var buf [256]byte
	b := append(append(buf[:0], network...), 0)
	b = appendNumberless(b, lower(from.LocalPart()))
	b = append(append(b, '@'), lower(from.Domain)...)
	b = append(append(b, 0), lower(to.Unquoted())...)
	sum := sha256.Sum256(b)
	return string(sum[:16])
}

// greyInput tells a triple.
func greyInput(network []byte, from, to sqmail.Path) string {
	var buf [256]byte
	b := append(append(buf[:0], network...), " <"...)
	b = append(appendPath(b, from), "> <"...)
	return string(append(appendPath(b, to), '>'))
}

// appendPath appends what p.String returns.
func appendPath(b []byte, p sqmail.Path) []byte {
	b = append(b, p.Local...)
	if p.Domain != "" {
		b = append(append(b, '@'), p.Domain...)
	}
	return b
}

// appendNumberless appends s with one "#" in the place of digits that follow
// each other.
func appendNumberless(b []byte, s string) []byte {
	for i := range len(s) {
		switch digit := '0' <= s[i] && s[i] <= '9'; {
		case !digit:
			b = append(b, s[i])
		case i == 0 || s[i-1] < '0' || s[i-1] > '9':
			b = append(b, '#')
		}
	}
	return b
}
